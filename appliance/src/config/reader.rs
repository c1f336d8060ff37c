//! Reads sections and values out of parsed TOML, and reports what is not as it should be with its line.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use toml::de::{DeTable, DeValue};

use super::choice::{Choice, quoted};
use super::keys::{self, State};
use super::report::Report;

/// One section of the file, as written.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    /// The line of its header.
    pub(super) line: usize,
    section: &'static keys::Section,
    table: &'a DeTable<'a>,
    report: &'a Report,
}

/// The value of a key, or an element of the list that is its value.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    /// The line on which it begins.
    pub(super) line: usize,
    key: &'a str,
    element: bool,
    value: &'a DeValue<'a>,
    report: &'a Report,
}

impl<'a> Table<'a> {
    /// The section's key, if it is there.
    pub(super) fn value(&self, key: &'static str) -> Option<Value<'a>> {
        let value = self.table.get(key)?;
        Some(Value {
            line: self.report.line(value.span().start),
            key,
            element: false,
            value: value.get_ref(),
            report: self.report,
        })
    }

    /// The section's key; its absence is a problem.
    pub(super) fn required(&self, key: &'static str) -> Option<Value<'a>> {
        let value = self.value(key);
        if value.is_none() {
            let example = self
                .section
                .keys
                .iter()
                .find_map(|known| match known.state {
                    State::Required(example) if known.name == key => Some(example),
                    _ => None,
                });
            let title = self.section.title();
            self.problem(
                self.line,
                format!(
                    "{title} has no `{key}`; add {key} = {}",
                    example.unwrap_or_default()
                ),
            );
        }
        value
    }

    /// Whether the key is there with the value false or true.
    pub(super) fn boolean(&self, key: &'static str) -> Option<bool> {
        self.value(key)?.boolean()
    }

    /// The key's number; `default` if it is absent or wrong.
    pub(super) fn number_or(
        &self,
        key: &'static str,
        range: RangeInclusive<u64>,
        default: u64,
    ) -> u64 {
        self.value(key)
            .and_then(|value| value.number(range))
            .unwrap_or(default)
    }

    /// The key's word; `default` if it is absent or wrong.
    pub(super) fn choice_or<C: Choice>(&self, key: &'static str, default: C) -> C {
        self.value(key)
            .and_then(|value| value.choice())
            .unwrap_or(default)
    }

    /// Reports something about this section.
    pub(super) fn problem(&self, line: usize, what: impl Into<String>) {
        self.report.problem(line, what);
    }

    /// Reports every key that is unknown or not available yet.
    fn refuse_strange_keys(&self) {
        for name in self.table.keys() {
            let line = self.report.line(name.span().start);
            let name = name.get_ref().as_ref();
            match self.section.keys.iter().find(|key| key.name == name) {
                None => self.problem(line, unknown_key(self.section, name)),
                Some(keys::Key {
                    state: State::NotYet,
                    ..
                }) => {
                    self.problem(line, format!("`{name}` is not available yet; remove it"));
                }
                Some(_) => {}
            }
        }
    }
}

impl<'a> Value<'a> {
    /// Reports that this is not what it should be; `cure` says what would be right.
    pub(super) fn wrong(&self, cure: &str) {
        let verb = if self.element { "holds" } else { "is" };
        self.problem(format!("`{}` {verb} {}; {cure}", self.key, self.shown()));
    }

    /// Reports something about this value.
    pub(super) fn problem(&self, what: impl Into<String>) {
        self.report.problem(self.line, what);
    }

    /// Reports that the list holds this element a second time.
    pub(super) fn twice(&self) {
        self.problem(format!(
            "`{}` holds {} twice; remove one",
            self.key,
            self.shown()
        ));
    }

    /// The text, if it is text.
    pub(super) fn as_text(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    /// The text; anything else is a problem, for which `cure` says what would be right.
    pub(super) fn text(&self, cure: &str) -> Option<&'a str> {
        let text = self.as_text();
        if text.is_none() {
            self.wrong(cure);
        }
        text
    }

    /// A whole number in `range`; anything else is a problem.
    pub(super) fn number(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let number = self
            .value
            .as_integer()
            .and_then(|digits| u64::from_str_radix(digits.as_str(), digits.radix()).ok())
            .filter(|number| range.contains(number));
        if number.is_none() {
            self.wrong(&format!(
                "use a whole number from {} to {}",
                range.start(),
                range.end()
            ));
        }
        number
    }

    /// One of a few words; anything else is a problem.
    pub(super) fn choice<C: Choice>(&self) -> Option<C> {
        let word = self.text(&format!("use {}", C::words()))?;
        C::parse(self.key, word)
            .map_err(|what| self.problem(what))
            .ok()
    }

    /// A list of at most `limit` elements; anything else is a problem.
    pub(super) fn list(&self, limit: usize, cure: &str) -> Option<Vec<Value<'a>>> {
        let Some(elements) = self.value.as_array() else {
            self.wrong(cure);
            return None;
        };
        if elements.len() > limit {
            self.problem(format!(
                "`{}` has {} elements; at most {limit} are possible",
                self.key,
                elements.len()
            ));
            return None;
        }
        let element = |value: &'a toml::Spanned<DeValue<'a>>| Value {
            line: self.report.line(value.span().start),
            key: self.key,
            element: true,
            value: value.get_ref(),
            report: self.report,
        };
        Some(elements.iter().map(element).collect())
    }

    /// Either `word`, which gives `Some(None)`, or a list of at least one and at most `limit` different numbers in
    /// `range`; anything else is a problem and gives `None`.
    pub(super) fn word_or_numbers<N: TryFrom<u64> + PartialEq + Copy>(
        &self,
        word: &str,
        range: RangeInclusive<u64>,
        limit: usize,
        cure: &str,
    ) -> Option<Option<Vec<N>>> {
        if self.as_text() == Some(word) {
            return Some(None);
        }
        let elements = self.list(limit, cure)?;
        if elements.is_empty() {
            self.problem(format!("`{}` is an empty list; {cure}", self.key));
            return None;
        }
        let mut numbers = Vec::with_capacity(elements.len());
        for element in &elements {
            let number = element
                .number(range.clone())
                .and_then(|number| N::try_from(number).ok());
            match number {
                Some(number) if numbers.contains(&number) => element.twice(),
                Some(number) => numbers.push(number),
                None => {}
            }
        }
        (numbers.len() == elements.len()).then_some(Some(numbers))
    }

    /// False or true; anything else is a problem.
    fn boolean(&self) -> Option<bool> {
        let boolean = self.value.as_bool();
        if boolean.is_none() {
            self.wrong("use true or false");
        }
        boolean
    }

    fn shown(&self) -> String {
        match self.value {
            DeValue::String(text) => quoted(text),
            DeValue::Integer(digits) if digits.radix() == 10 => {
                digits.as_str().chars().take(40).collect()
            }
            DeValue::Boolean(value) => value.to_string(),
            DeValue::Integer(_) => "a number".into(),
            DeValue::Float(_) => "a number with a fraction".into(),
            DeValue::Datetime(_) => "a date".into(),
            DeValue::Array(_) => "a list".into(),
            DeValue::Table(_) => "a table".into(),
        }
    }
}

/// The sections of a file, by name; each that is written once or not at all has at most one element.
pub(super) fn sections<'a>(
    root: &'a DeTable<'a>,
    report: &'a Report,
) -> HashMap<&'static str, Vec<Table<'a>>> {
    let mut found: HashMap<_, Vec<_>> = HashMap::new();
    for (name, value) in root {
        let line = report.line(name.span().start);
        let Some(section) = keys::SECTIONS
            .into_iter()
            .find(|section| section.name == name.get_ref())
        else {
            report.problem(line, unknown_section(name.get_ref()));
            continue;
        };
        let table = |value: &'a toml::Spanned<DeValue<'a>>| {
            let table = value.get_ref().as_table()?;
            Some(Table {
                line: report.line(value.span().start),
                section,
                table,
                report,
            })
        };
        let tables: Option<Vec<_>> = match value.get_ref() {
            DeValue::Array(tables) if section.many => tables.iter().map(table).collect(),
            DeValue::Table(_) if !section.many => table(value).map(|table| vec![table]),
            _ => None,
        };
        let Some(tables) = tables else {
            report.problem(
                line,
                format!(
                    "`{}` is not written as a section; write {}",
                    section.name,
                    section.title()
                ),
            );
            // Present, though not readable: so that its absence is not reported too.
            found.insert(section.name, Vec::new());
            continue;
        };
        tables.iter().for_each(Table::refuse_strange_keys);
        found.insert(section.name, tables);
    }
    found
}

fn unknown_section(name: &str) -> String {
    if let Some(near) = nearest(name, keys::SECTIONS.iter().map(|section| section.name)) {
        let title = keys::SECTIONS
            .iter()
            .find(|section| section.name == near)
            .map(|section| section.title());
        return format!(
            "unknown section `{}`; did you mean {}?",
            plain(name),
            title.unwrap_or_default()
        );
    }
    let homes: Vec<_> = keys::SECTIONS
        .iter()
        .filter(|home| knows(home, name))
        .map(|home| home.title())
        .collect();
    if !homes.is_empty() {
        return format!(
            "key `{}` stands outside of any section; it belongs in {}",
            plain(name),
            homes.join(" or ")
        );
    }
    let all: Vec<_> = keys::SECTIONS
        .iter()
        .map(|section| section.title())
        .collect();
    format!(
        "unknown section `{}`; the sections are {}",
        plain(name),
        all.join(", ")
    )
}

fn unknown_key(section: &keys::Section, name: &str) -> String {
    let title = section.title();
    let lead = format!("unknown key `{}` in {title}", plain(name));
    let available = || {
        section
            .keys
            .iter()
            .filter(|key| !matches!(key.state, State::NotYet))
            .map(|key| key.name)
    };
    if let Some(near) = nearest(name, available()) {
        return format!("{lead}; did you mean `{near}`?");
    }
    let homes: Vec<_> = keys::SECTIONS
        .iter()
        .filter(|home| knows(home, name))
        .map(|home| home.title())
        .collect();
    if !homes.is_empty() {
        return format!("{lead}; it belongs in {}", homes.join(" or "));
    }
    format!(
        "{lead}; its keys are {}",
        available().collect::<Vec<_>>().join(", ")
    )
}

fn knows(section: &keys::Section, name: &str) -> bool {
    section.keys.iter().any(|key| key.name == name)
}

/// The candidate that differs from `name` by at most a third of its letters.
fn nearest<'k>(name: &str, candidates: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let name: String = name
        .chars()
        .take(64)
        .flat_map(char::to_lowercase)
        .map(|c| if c == '-' { '_' } else { c })
        .collect();
    candidates
        .map(|candidate| (strsim::osa_distance(&name, candidate), candidate))
        .filter(|(distance, candidate)| distance * 3 <= candidate.len().max(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A key as it can stand between backticks on one line.
fn plain(name: &str) -> String {
    name.chars().take(60).flat_map(char::escape_debug).collect()
}
