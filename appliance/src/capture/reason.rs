//! The words of `--reason`, and the counters that they stand for.

use synward_core::counters::{Counter, NAMES};

/// How the names of the counters of drops begin.
const DROP: &str = "drop_";

/// A reason to capture a frame: what the XDP program decided about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The word on the command line.
    pub word: &'static str,
    /// The counters that such a frame moves, a bit each.
    counters: u64,
}

/// A group, and its counters.
const CHALLENGED: Reason = reason(
    "challenged",
    &[Counter::AnsweredXdp, Counter::GivenToWorker],
);
const PROVEN: Reason = reason("proven", &[Counter::CookieValid]);
const DROPPED: &str = "dropped";

/// What else happens to frames, by the names that metrics give it.
const FATES: [Counter; 8] = [
    Counter::Waiting,
    Counter::Reset,
    Counter::Passed,
    Counter::Forwarded,
    Counter::ToServer,
    Counter::ToClient,
    Counter::Learned,
    Counter::IcmpTranslated,
];

const fn bit(counter: Counter) -> u64 {
    1 << counter as u8
}

const fn reason(word: &'static str, counters: &[Counter]) -> Reason {
    let mut bits = 0;
    let mut at = 0;
    while at < counters.len() {
        bits |= bit(counters[at]);
        at += 1;
    }
    Reason {
        word,
        counters: bits,
    }
}

impl Reason {
    /// Every reason: the groups, why frames are dropped, and what else happens to them.
    pub fn all() -> Vec<Self> {
        let drops: Vec<_> = drops().collect();
        let dropped = Self {
            word: DROPPED,
            counters: counters_of(&drops),
        };
        let fates = FATES.iter().map(|counter| Self {
            word: NAMES[*counter as usize],
            counters: bit(*counter),
        });
        let mut all = vec![CHALLENGED, PROVEN, dropped];
        all.extend(drops);
        all.extend(fates);
        all
    }

    /// The reasons of a capture for which none is given: challenged, proven and dropped.
    pub fn usual() -> Vec<Self> {
        Self::all()[..3].to_vec()
    }

    /// Whether a frame that moved these counters has this reason.
    pub(super) fn is_of(&self, counted: u64) -> bool {
        self.counters & counted != 0
    }
}

/// The reasons of drops, by the names that metrics give them.
fn drops() -> impl Iterator<Item = Reason> {
    let names = NAMES.iter().enumerate();
    names.filter_map(|(slot, name)| {
        Some(Reason {
            word: name.strip_prefix(DROP)?,
            counters: 1 << slot,
        })
    })
}

/// The counters of all reasons.
pub(super) fn counters_of(reasons: &[Reason]) -> u64 {
    reasons.iter().fold(0, |all, one| all | one.counters)
}

/// The words of reasons.
pub(super) fn words(reasons: &[Reason]) -> String {
    let words: Vec<_> = reasons.iter().map(|one| one.word).collect();
    words.join(", ")
}

/// What happened to a frame that moved these counters.
pub(super) fn describe(counted: u64) -> String {
    let mut parts: Vec<String> = Vec::new();
    if CHALLENGED.is_of(counted) {
        parts.push(if counted & bit(Counter::GivenToWorker) != 0 {
            "challenged: a worker answers this SYN".into()
        } else {
            "challenged: answered by XDP".into()
        });
    }
    if PROVEN.is_of(counted) {
        parts.push("proven: the cookie is valid".into());
    }
    let drops = drops().filter(|one| one.is_of(counted));
    parts.extend(drops.map(|one| format!("dropped: {}", one.word)));
    let fates = FATES.iter().filter(|one| counted & bit(**one) != 0);
    parts.extend(fates.map(|one| NAMES[*one as usize].to_owned()));
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_the_names_of_metrics_and_are_unique() {
        let all = Reason::all();
        let words: Vec<_> = all.iter().map(|one| one.word).collect();
        for word in [
            "challenged",
            "proven",
            "dropped",
            "invalid_cookie",
            "denied",
            "passed",
        ] {
            assert!(words.contains(&word), "{word}");
        }
        let mut once = words.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), words.len());
        let drops = NAMES.iter().filter(|name| name.starts_with(DROP)).count();
        assert_eq!(words.len(), 3 + drops + FATES.len());
    }

    #[test]
    fn a_group_has_the_counters_of_all_its_reasons() {
        let all = Reason::all();
        let dropped = all
            .iter()
            .find(|one| one.word == DROPPED)
            .map(|one| one.counters);
        assert_eq!(dropped.map(u64::count_ones), Some(drops().count() as u32));
        assert!(CHALLENGED.is_of(bit(Counter::GivenToWorker)));
        assert!(!CHALLENGED.is_of(bit(Counter::Syn)));
        let usual: Vec<_> = Reason::usual().iter().map(|one| one.word).collect();
        assert_eq!(usual, ["challenged", "proven", "dropped"]);
    }

    #[test]
    fn a_frame_is_described_by_all_that_happened_to_it() {
        assert_eq!(
            describe(bit(Counter::Syn) | bit(Counter::AnsweredXdp)),
            "challenged: answered by XDP"
        );
        assert_eq!(
            describe(bit(Counter::CookieValid) | bit(Counter::DropNoWorker)),
            "proven: the cookie is valid; dropped: no_worker"
        );
        assert_eq!(describe(bit(Counter::Passed)), "passed");
        assert_eq!(describe(0), "");
    }
}
