//! The line that says what a reload changes.

use std::fmt;

use super::config_facts::{Change, Difference, Fact};

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => f.write_str(word),
            Self::List(words) => write!(f, "[{}]", few(words)),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let section = &self.section;
        match &self.change {
            Change::Added(facts) => {
                write!(f, "{section}: added")?;
                let shown = ["addresses", "ports", "handoff", "mode", "side"];
                for key in shown {
                    if let Some(fact) = facts.get(key) {
                        write!(f, ", {key} {fact}")?;
                    }
                }
                Ok(())
            }
            Change::Removed => write!(f, "{section}: removed"),
            Change::Key { key, before, after } => {
                write!(f, "{section}: {key} ")?;
                match (before, after) {
                    (Fact::List(before), Fact::List(after)) if key == "secret" => {
                        write_secret(f, before, after)
                    }
                    (Fact::List(before), Fact::List(after)) => write_lists(f, before, after),
                    _ => write!(f, "{before} -> {after}"),
                }
            }
        }
    }
}

/// The members of a list that the other has not.
fn only<'a>(of: &'a [String], other: &[String]) -> Vec<&'a String> {
    let other: std::collections::HashSet<_> = other.iter().collect();
    of.iter().filter(|word| !other.contains(word)).collect()
}

fn write_lists(f: &mut fmt::Formatter<'_>, before: &[String], after: &[String]) -> fmt::Result {
    let (new, gone) = (only(after, before), only(before, after));
    let part = |sign: char, words: &[&String]| match words.len() {
        0 => String::new(),
        1..=SHOWN => words.iter().map(|word| format!(" {sign}{word}")).collect(),
        count => format!(" {sign}{count} ({})", few(words)),
    };
    let text = part('+', &new) + &part('-', &gone);
    f.write_str(if text.is_empty() {
        "in another order"
    } else {
        text.trim_start()
    })
}

fn write_secret(f: &mut fmt::Formatter<'_>, before: &[String], after: &[String]) -> fmt::Result {
    let (new, gone) = (only(after, before).len(), only(before, after).len());
    let issues = if before.first() == after.first() {
        "the same one issues cookies"
    } else {
        "another one issues cookies"
    };
    write!(
        f,
        "{issues}, {} accepted ({new} new, {gone} gone)",
        after.len()
    )
}

/// Members of a list that are shown.
const SHOWN: usize = 4;

fn few(words: &[impl fmt::Display]) -> String {
    let shown: Vec<_> = words.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = if words.len() > SHOWN { ", …" } else { "" };
    shown.join(", ") + more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut() {
        let many: Vec<_> = (0..9).map(|n| format!("10.0.{n}.0/24")).collect();
        let change = Change::Key {
            key: "deny".into(),
            before: Fact::List(many[..1].to_vec()),
            after: Fact::List(many[1..].to_vec()),
        };
        let section = "[[service]] web".into();
        assert_eq!(
            Difference { section, change }.to_string(),
            "[[service]] web: deny +8 (10.0.1.0/24, 10.0.2.0/24, 10.0.3.0/24, 10.0.4.0/24, …) -10.0.0.0/24"
        );
    }

    #[test]
    fn a_rotation_says_what_issues_and_what_is_accepted() {
        let change = Change::Key {
            key: "secret".into(),
            before: Fact::List(vec!["a".into()]),
            after: Fact::List(vec!["b".into(), "a".into()]),
        };
        let section = "[cookie]".into();
        assert_eq!(
            Difference { section, change }.to_string(),
            "[cookie]: secret another one issues cookies, 2 accepted (1 new, 0 gone)"
        );
    }
}
