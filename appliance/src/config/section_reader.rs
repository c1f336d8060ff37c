//! Reads sections and values from parsed TOML, and reports every problem with its line.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use toml::de::{DeTable, DeValue};

use super::choice::{Choice, quoted};
use super::config_report::ConfigReport;
use super::known_keys::{self, State};
use super::suggestions::{unknown_key, unknown_section};
use crate::problem::{Fault, Problems};

/// One section of the file.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    /// The line of its header.
    pub(super) line: usize,
    section: &'static known_keys::Section,
    table: &'a DeTable<'a>,
    report: &'a ConfigReport,
}

/// The value of a key, or an element of the list that is its value.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    /// The line on which it starts.
    pub(super) line: usize,
    key: &'a str,
    element: bool,
    value: &'a DeValue<'a>,
    report: &'a ConfigReport,
}

impl<'a> Table<'a> {
    /// The value of a key, if the section has it.
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

    /// The value of a key. Its absence is a problem.
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

    /// The key's boolean; `None` if the key is absent or wrong.
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

    /// Reports a problem of this section.
    pub(super) fn problem(&self, line: usize, what: impl Into<Fault>) {
        self.report.problem(line, what);
    }

    /// Reports problems of another file that this section names.
    pub(super) fn foreign(&self, problems: Problems) {
        self.report.foreign(problems);
    }

    /// Reports every key that is unknown.
    fn refuse_unknown_keys(&self) {
        for name in self.table.keys() {
            let line = self.report.line(name.span().start);
            let name = name.get_ref().as_ref();
            if !self.section.keys.iter().any(|key| key.name == name) {
                self.problem(line, unknown_key(self.section, name));
            }
        }
    }
}

impl<'a> Value<'a> {
    /// Reports a wrong value. `cure` says what would be right.
    pub(super) fn wrong(&self, cure: &str) {
        let verb = if self.element { "holds" } else { "is" };
        self.problem(format!("`{}` {verb} {}; {cure}", self.key, self.shown()));
    }

    /// Reports a problem of this value.
    pub(super) fn problem(&self, what: impl Into<Fault>) {
        self.report.problem(self.line, what);
    }

    /// Reports that the list contains this element twice.
    pub(super) fn twice(&self) {
        self.problem(format!(
            "`{}` holds {} twice; remove one",
            self.key,
            self.shown()
        ));
    }

    /// The value, if it is a string.
    pub(super) fn as_text(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    /// The string. Anything else is a problem, and `cure` says what would be right.
    pub(super) fn text(&self, cure: &str) -> Option<&'a str> {
        let text = self.as_text();
        if text.is_none() {
            self.wrong(cure);
        }
        text
    }

    /// An integer in `range`. Anything else is a problem.
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

    /// One of the words of `C`. Anything else is a problem.
    pub(super) fn choice<C: Choice>(&self) -> Option<C> {
        let word = self.text(&format!("use {}", C::words()))?;
        C::parse(self.key, word)
            .map_err(|what| self.problem(what))
            .ok()
    }

    /// A list of at most `limit` elements. Anything else is a problem.
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

    /// Either `word`, which returns `Some(None)`, or a list of 1 to `limit` distinct numbers in `range`. Anything else is
    /// a problem and returns `None`.
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

    /// A boolean. Anything else is a problem.
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

/// The sections of a file, by name. A section that is no array of tables has at most one element.
pub(super) fn read_sections<'a>(
    root: &'a DeTable<'a>,
    report: &'a ConfigReport,
) -> HashMap<&'static str, Vec<Table<'a>>> {
    let mut found: HashMap<_, Vec<_>> = HashMap::new();
    for (name, value) in root {
        let line = report.line(name.span().start);
        let Some(section) = known_keys::SECTIONS
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
            // The section is present but unreadable. The empty entry keeps its absence from being reported as well.
            found.insert(section.name, Vec::new());
            continue;
        };
        tables.iter().for_each(Table::refuse_unknown_keys);
        found.insert(section.name, tables);
    }
    found
}
