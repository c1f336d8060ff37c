//! A configuration as plain facts, to compare two of them: what a reload changes, in words.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::prefix_text::format_prefix;
use super::{
    Activation, Appliance, Config, Cores, Flows, Interface, Offer, Ports, Queues, Service,
};

/// What a configuration says: section, key and value. Secrets are there as fingerprints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts(BTreeMap<String, Section>);

type Section = BTreeMap<String, Fact>;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Fact {
    /// One word, number or path.
    Word(String),
    /// Several, in an order that means something only for secrets.
    List(Vec<String>),
}

/// A difference between two configurations. Its text is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The section, such as `[flows]` or `[[service]] web`.
    pub section: String,
    /// What has become of it.
    pub change: Change,
}

/// What has become of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added(BTreeMap<String, Fact>),
    /// It is gone.
    Removed,
    /// This key has another value.
    Key {
        /// The key.
        key: String,
        /// What it was.
        before: Fact,
        /// What it is.
        after: Fact,
    },
}

/// The section of a service.
pub fn service_section(name: &str) -> String {
    format!("[[service]] {name}")
}

impl Facts {
    /// The facts of a configuration.
    pub fn of(config: &Config) -> Self {
        let mut facts = Self::default();
        facts.add("[appliance]".into(), appliance(&config.appliance));
        facts.add("[flows]".into(), flows(&config.flows));
        let fingerprints = config.cookie.content.fingerprints();
        facts.add("[cookie]".into(), [("secret", Fact::List(fingerprints))]);
        for one in &config.interfaces {
            facts.add(format!("[[interface]] {}", one.name), interface(one));
        }
        for one in config.services.iter().filter(|one| one.is_configured()) {
            facts.add(service_section(&one.name), service(one));
        }
        facts
    }

    fn add<'a>(&mut self, section: String, facts: impl IntoIterator<Item = (&'a str, Fact)>) {
        let facts = facts.into_iter();
        let facts = facts.map(|(key, fact)| (key.to_owned(), fact)).collect();
        self.0.insert(section, facts);
    }

    /// Removes a fact that must not be compared.
    pub fn forget(&mut self, section: &str, key: &str) {
        if let Some(section) = self.0.get_mut(section) {
            section.remove(key);
        }
    }

    /// The word that a key of a section has.
    pub fn word(&self, section: &str, key: &str) -> Option<&str> {
        match self.0.get(section)?.get(key)? {
            Fact::Word(word) => Some(word),
            Fact::List(_) => None,
        }
    }

    /// What changes from these facts to `next`.
    pub fn differences(&self, next: &Self) -> Vec<Difference> {
        let mut differences = Vec::new();
        let mut add = |section: &String, change| {
            let section = section.clone();
            differences.push(Difference { section, change });
        };
        for (section, facts) in &next.0 {
            let Some(known) = self.0.get(section) else {
                add(section, Change::Added(facts.clone()));
                continue;
            };
            for (key, after) in facts {
                if let Some(before) = known.get(key).filter(|before| *before != after) {
                    let (key, before, after) = (key.clone(), before.clone(), after.clone());
                    add(section, Change::Key { key, before, after });
                }
            }
        }
        for section in self.0.keys().filter(|name| !next.0.contains_key(*name)) {
            add(section, Change::Removed);
        }
        differences
    }
}

/// The value that a key of a section has. Every field is named, so that a new one is not forgotten.
fn appliance(of: &Appliance) -> [(&'static str, Fact); 7] {
    let Appliance {
        control,
        metrics,
        cores,
        polling,
        responder,
        pin,
        adopt,
    } = of;
    let pin = pin.as_deref().map(|pin| pin.display().to_string());
    [
        ("control", word(control.display())),
        ("metrics", word(optional(metrics.as_ref(), "none"))),
        (
            "cores",
            match cores {
                Cores::Auto => word("auto"),
                Cores::List(cores) => list(cores),
            },
        ),
        ("polling", word(polling)),
        ("responder", word(responder)),
        ("pin", word(optional(pin, "none"))),
        ("adopt_seconds", word(adopt.as_secs())),
    ]
}

fn flows(of: &Flows) -> [(&'static str, Fact); 3] {
    let Flows {
        capacity,
        idle,
        closing,
    } = of;
    [
        ("capacity", word(capacity)),
        ("idle_seconds", word(idle.as_secs())),
        ("closing_seconds", word(closing.as_secs())),
    ]
}

fn interface(of: &Interface) -> [(&'static str, Fact); 6] {
    let Interface {
        name: _,
        side,
        xdp,
        zero_copy,
        queues,
        attach,
        next,
        line: _,
    } = of;
    [
        ("side", word(side)),
        ("xdp", word(xdp)),
        ("zero_copy", word(zero_copy)),
        (
            "queues",
            match queues {
                Queues::All => word("all"),
                Queues::List(queues) => list(queues),
            },
        ),
        ("attach", word(attach)),
        (
            "next",
            word(optional(next.as_ref().map(|path| path.display()), "none")),
        ),
    ]
}

fn service(of: &Service) -> Vec<(&'static str, Fact)> {
    let Service {
        name: _,
        addresses,
        ports,
        handoff,
        mode,
        allow,
        deny,
        allow_file,
        deny_file,
        fragments,
        unknown,
        when_down,
        when_absent,
        rtt,
        hold_bytes,
        openings_per_source,
        openings_per_server,
        cookies,
        plain_cookies,
        replies_per_prefix,
        activation,
        on_event,
        offer,
        line: _,
        standing: _,
    } = of;
    let Offer {
        mss,
        wscale,
        sack,
        timestamps,
        ecn,
    } = offer;
    let Activation {
        activate_syn_rate,
        deactivate_syn_rate,
        hold,
    } = activation;
    let prefixes = |nets: &[ipnet::IpNet]| sorted(nets.iter().map(|net| format_prefix(*net)));
    vec![
        ("addresses", prefixes(addresses)),
        (
            "ports",
            match ports {
                Ports::Any => word("any"),
                Ports::List(ports) => {
                    let mut ports = ports.clone();
                    ports.sort_unstable();
                    list(&ports)
                }
            },
        ),
        ("handoff", word(handoff)),
        ("mode", word(mode)),
        ("allow", prefixes(allow)),
        ("deny", prefixes(deny)),
        ("allow_file", prefixes(allow_file.prefixes())),
        ("deny_file", prefixes(deny_file.prefixes())),
        ("fragments", word(fragments)),
        ("unknown", word(unknown)),
        ("when_down", word(when_down)),
        ("when_absent", word(when_absent)),
        ("rtt", word(rtt)),
        ("hold_bytes", word(hold_bytes)),
        ("openings_per_source", word(openings_per_source)),
        ("openings_per_server", word(openings_per_server)),
        ("cookies", word(cookies)),
        ("plain_cookies", word(plain_cookies)),
        ("replies_per_prefix", word(replies_per_prefix)),
        (
            "activate_syn_rate",
            word(optional(activate_syn_rate.as_ref(), "from the normal rate")),
        ),
        (
            "deactivate_syn_rate",
            word(optional(
                deactivate_syn_rate.as_ref(),
                "from the normal rate",
            )),
        ),
        ("hold_seconds", word(hold.as_secs())),
        ("on_event", list(on_event)),
        ("mss", word(optional(mss.as_ref(), LEARNED))),
        ("wscale", word(optional(wscale.as_ref(), LEARNED))),
        ("sack", word(optional(sack.as_ref(), LEARNED))),
        ("timestamps", word(optional(timestamps.as_ref(), LEARNED))),
        ("ecn", word(optional(ecn.as_ref(), LEARNED))),
    ]
}

/// A key that is not set.
const LEARNED: &str = "learned";

fn word(value: impl fmt::Display) -> Fact {
    Fact::Word(value.to_string())
}

fn list<T: fmt::Display>(values: &[T]) -> Fact {
    Fact::List(values.iter().map(T::to_string).collect())
}

fn sorted(values: impl Iterator<Item = String>) -> Fact {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable();
    Fact::List(values)
}

fn optional(value: Option<impl fmt::Display>, otherwise: &str) -> String {
    value.map_or_else(|| otherwise.to_owned(), |value| value.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::{Mode, Standing};

    const FILE: &str = r#"
        [[interface]]
        name = "eth0"
        side = "both"
        [[service]]
        name = "web"
        addresses = ["192.0.2.10"]
        ports = [80, 443]
        [[service]]
        name = "mail"
        addresses = ["192.0.2.11"]
        ports = [25]
    "#;

    fn lines(before: &Config, after: &Config) -> Vec<String> {
        let differences = Facts::of(before).differences(&Facts::of(after));
        differences.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_difference_is_a_line() {
        let after = FILE
            .replace("192.0.2.11", "192.0.2.12")
            .replace("mail", "smtp")
            .replace(
                "[80, 443]",
                "[8443, 80]\nmode = \"monitor\"\nmss = 1400\nallow = [\"10.0.0.0/8\"]",
            )
            + "[flows]\nidle_seconds = 600\n";
        assert_eq!(
            lines(&Config::of_text(FILE), &Config::of_text(&after)),
            [
                "[[service]] smtp: added, addresses [192.0.2.12], ports [25], handoff splice, mode always",
                "[[service]] web: allow +10.0.0.0/8",
                "[[service]] web: mode always -> monitor",
                "[[service]] web: mss learned -> 1400",
                "[[service]] web: ports +8443 -443",
                "[flows]: idle_seconds 7500 -> 600",
                "[[service]] mail: removed",
            ]
        );
    }

    #[test]
    fn order_comments_and_defaults_are_no_difference() {
        let other = FILE.replace("[80, 443]", "[443, 80] # ports\nmode = \"always\"");
        assert_eq!(
            lines(&Config::of_text(FILE), &Config::of_text(&other)),
            [""; 0]
        );
    }

    #[test]
    fn services_that_are_not_in_the_file_are_not_compared() {
        let mut running = Config::of_text(FILE);
        let mut gone = running.services[1].clone().removed();
        running.services.push(gone.clone());
        gone.vacate();
        running.services.push(gone);
        assert_eq!(running.services[2].standing, Standing::Removed);
        assert_eq!(running.services[2].mode, Mode::Off);
        assert_eq!(lines(&running, &Config::of_text(FILE)), [""; 0]);
    }
}
