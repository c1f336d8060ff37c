//! Which differences of two configurations a running process cannot follow.

use serde::{Deserialize, Serialize};

use super::config_facts::{Change, Difference, Fact};

/// What the running process has that services may need.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abilities {
    /// Workers, which open the connections of spliced services.
    pub workers: bool,
    /// The programs for local services whose clients get synward's cookies if the kernel accepts them.
    pub local: bool,
    /// Those for local services with the kernel's cookies.
    pub local_kernel_cookies: bool,
    /// The programs of `on_event` that can be run, with their arguments.
    pub programs: Vec<Vec<String>>,
}

impl Difference {
    /// Why a running process cannot follow this difference; `None`: it can.
    pub fn restart_reason(&self, abilities: &Abilities) -> Option<&'static str> {
        let key = match &self.change {
            Change::Key { key, .. } => key.as_str(),
            Change::Added(_) | Change::Removed => "",
        };
        let of_process = match self.section.as_str() {
            "[appliance]" => key != "adopt_seconds",
            "[flows]" => key == "capacity",
            _ => self.section.starts_with("[[interface]]"),
        };
        if of_process {
            return Some("needs a restart");
        }
        match &self.change {
            Change::Added(facts) => {
                let word = |key| match facts.get(key) {
                    Some(Fact::Word(word)) => word.as_str(),
                    _ => "",
                };
                let of_handoff = missing(word("handoff"), word("cookies"), abilities);
                let program = facts.get("on_event");
                of_handoff.or_else(|| program.and_then(|program| unknown(program, abilities)))
            }
            Change::Key { key, .. } if key == "handoff" => {
                Some("needs a restart, which ends its connections; or another service")
            }
            Change::Key { key, after, .. } if key == "cookies" => {
                missing("local", &after.to_string(), abilities)
            }
            Change::Key { key, after, .. } if key == "on_event" => unknown(after, abilities),
            _ => None,
        }
    }
}

/// Why the running process cannot run a program.
fn unknown(program: &Fact, has: &Abilities) -> Option<&'static str> {
    match program {
        Fact::List(words) if !words.is_empty() && !has.programs.contains(words) => Some(
            "needs a restart: the process that runs programs knows those that on_event named at the start",
        ),
        _ => None,
    }
}

/// Why the running process cannot serve with a handoff.
fn missing(handoff: &str, cookies: &str, has: &Abilities) -> Option<&'static str> {
    match (handoff, cookies) {
        ("splice", _) if !has.workers => Some(
            "needs a restart: no spliced service was there at the start, and so there are no workers",
        ),
        ("local", "kernel") if has.local_kernel_cookies => None,
        ("local", _) if !has.local => Some(
            "needs a restart: no such local service was there at the start, and so its program is not attached",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(section: &str, key: &str, after: &str) -> Difference {
        Difference {
            section: section.into(),
            change: Change::Key {
                key: key.into(),
                before: Fact::Word("old".into()),
                after: Fact::Word(after.into()),
            },
        }
    }

    fn added(handoff: &str, cookies: &str) -> Difference {
        let words = [("handoff", handoff), ("cookies", cookies)];
        let words = words.map(|(key, word)| (key.to_owned(), Fact::Word(word.into())));
        Difference {
            section: "[[service]] new".into(),
            change: Change::Added(words.into()),
        }
    }

    #[test]
    fn what_belongs_to_the_process_needs_a_restart() {
        let has = Abilities {
            workers: true,
            local: true,
            local_kernel_cookies: true,
            programs: vec![],
        };
        for (section, name, needs) in [
            ("[appliance]", "cores", true),
            ("[appliance]", "pin", true),
            ("[appliance]", "adopt_seconds", false),
            ("[flows]", "capacity", true),
            ("[flows]", "idle_seconds", false),
            ("[[interface]] eth0", "side", true),
            ("[[service]] web", "handoff", true),
            ("[[service]] web", "mode", false),
            ("[[service]] web", "cookies", false),
            ("[cookie]", "secret", false),
        ] {
            let difference = key(section, name, "new");
            assert_eq!(
                difference.restart_reason(&has).is_some(),
                needs,
                "{section} {name}"
            );
        }
        let interface = |change| Difference {
            section: "[[interface]] eth1".into(),
            change,
        };
        for change in [Change::Removed, Change::Added([].into())] {
            assert!(interface(change).restart_reason(&has).is_some());
        }
    }

    #[test]
    fn a_service_needs_what_its_handoff_needs() {
        let nothing = Abilities::default();
        let workers = Abilities {
            workers: true,
            ..Abilities::default()
        };
        let kernel = Abilities {
            local_kernel_cookies: true,
            ..Abilities::default()
        };
        for (difference, has, needs) in [
            (added("splice", "auto"), &nothing, true),
            (added("splice", "auto"), &workers, false),
            (added("forward", "auto"), &nothing, false),
            (added("local", "auto"), &workers, true),
            (added("local", "auto"), &kernel, true),
            (added("local", "kernel"), &kernel, false),
            (key("[[service]] web", "cookies", "auto"), &kernel, true),
            (key("[[service]] web", "cookies", "kernel"), &kernel, false),
        ] {
            assert_eq!(
                difference.restart_reason(has).is_some(),
                needs,
                "{difference} {has:?}"
            );
        }
    }

    #[test]
    fn only_programs_that_were_known_at_the_start_are_run() {
        let program = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let has = Abilities {
            programs: vec![program(&["/bin/a", "x"])],
            ..Abilities::default()
        };
        for (words, needs) in [
            (&[][..], false),
            (&["/bin/a", "x"], false),
            (&["/bin/b"], true),
        ] {
            let difference = Difference {
                section: "[[service]] web".into(),
                change: Change::Key {
                    key: "on_event".into(),
                    before: Fact::List(vec!["/bin/z".into()]),
                    after: Fact::List(program(words)),
                },
            };
            assert_eq!(
                difference.restart_reason(&has).is_some(),
                needs,
                "{difference}"
            );
        }
    }
}
