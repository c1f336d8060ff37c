//! Which TCP options a server supports: evidence from its SYN-ACKs, to clients and to probes.
//!
//! A missing option is not the server's nature. A server whose SYN queue is full answers with SYN cookies that hold few options,
//! and an attacker can fill that queue. So:
//!
//! - A refusal is followed by a probe. Only refusals in a row withdraw an option; one acceptance ends the row.
//! - Refusals of clients' SYNs count for timestamps only: without them the client has to be reset. Connections without the
//!   other options work, so probes decide.
//! - A server that lacks an option is probed from time to time; two acceptances in a row give the option back.

use std::time::{Duration, Instant};

use crate::engine::server_syn_ack::OptionSet;

/// Refusals in a row that withdraw an option.
const REFUSALS: u8 = 3;
/// The same for timestamps, whose refusal resets clients.
const REFUSALS_OF_TIMESTAMPS: u8 = 2;
/// Acceptances in a row that give it back.
const ACCEPTANCES: u8 = 2;
/// Least time between two refusals that count: one overflow of a SYN queue is one event.
const SPACING: Duration = Duration::from_millis(300);
/// Time until a server is probed after a refusal; doubled for each probe without an answer, six times at most.
const ASK_AGAIN: Duration = Duration::from_millis(400);
const DOUBLINGS: u32 = 6;

/// Whose SYN a server answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A client's.
    ByClient,
    /// Our own, with every option.
    ByProbe,
}

#[derive(Clone, Copy, Debug, Default)]
struct OptionEvidence {
    /// Whether the server has ever accepted it.
    known: bool,
    withdrawn: bool,
    refusals: u8,
    acceptances: u8,
    refused_at: Option<Instant>,
}

/// The evidence on one server.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerEvidence {
    options: [OptionEvidence; 4],
    ask_at: Option<Instant>,
    unanswered: u32,
}

/// The place of timestamps in [`OptionSet::to_array`].
const TIMESTAMPS: usize = 1;

impl ServerEvidence {
    /// Adds what a SYN-ACK says.
    pub fn add(&mut self, now: Instant, asked: Asked, requested: OptionSet, refused: OptionSet) {
        let by_probe = asked == Asked::ByProbe;
        if by_probe {
            self.unanswered = 0;
            self.ask_at = None;
        }
        let mut in_doubt = false;
        let (requested, refused) = (requested.to_array(), refused.to_array());
        for (place, option) in self.options.iter_mut().enumerate() {
            if !requested[place] {
                continue;
            }
            if refused[place] {
                let (counts, needed) = if place == TIMESTAMPS {
                    (true, REFUSALS_OF_TIMESTAMPS)
                } else {
                    (by_probe, REFUSALS)
                };
                // Nothing contradicts the first probe.
                let needed = if by_probe && !option.known { 1 } else { needed };
                option.refuse(now, counts, needed);
                in_doubt |= !option.withdrawn;
            } else {
                option.accept();
                in_doubt |= option.withdrawn;
            }
        }
        if in_doubt && self.ask_at.is_none() {
            self.ask_at = Some(now + ASK_AGAIN);
        }
    }

    /// Notes that the server is being probed.
    pub fn asked(&mut self, now: Instant) {
        if self.ask_at.is_some() {
            self.unanswered += 1;
            self.ask_at = Some(now + ASK_AGAIN * (1 << self.unanswered.min(DOUBLINGS)));
        }
    }

    /// Whether the server is to be probed now.
    pub fn is_in_doubt(&self, now: Instant) -> bool {
        self.ask_at.is_some_and(|at| at <= now)
    }

    /// The options that the server does not support.
    pub fn withdrawn(&self) -> OptionSet {
        OptionSet::from_array(self.options.map(|option| option.withdrawn))
    }

    /// The options that it has accepted and supports.
    pub fn supported(&self) -> OptionSet {
        OptionSet::from_array(self.options.map(|option| option.known && !option.withdrawn))
    }
}

impl OptionEvidence {
    fn refuse(&mut self, now: Instant, counts: bool, needed: u8) {
        self.acceptances = 0;
        let is_spaced = self.refused_at.is_none_or(|at| now >= at + SPACING);
        if counts && is_spaced {
            self.refused_at = Some(now);
            self.refusals = self.refusals.saturating_add(1);
        }
        self.withdrawn |= self.refusals >= needed;
    }

    fn accept(&mut self) {
        self.refusals = 0;
        self.refused_at = None;
        self.known = true;
        if self.withdrawn {
            self.acceptances += 1;
            self.withdrawn = self.acceptances < ACCEPTANCES;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: OptionSet = OptionSet::from_array([true; 4]);
    const NONE: OptionSet = OptionSet::from_array([false; 4]);
    /// What a Linux SYN cookie without timestamps cannot hold.
    const BY_COOKIE: OptionSet = OptionSet::from_array([true, false, true, true]);
    const TIMES: OptionSet = OptionSet::from_array([false, true, false, false]);

    /// A server that a probe has found to support everything.
    fn known() -> (ServerEvidence, Instant) {
        let (mut evidence, now) = (ServerEvidence::default(), Instant::now());
        evidence.add(now, Asked::ByProbe, ALL, NONE);
        (evidence, now)
    }

    fn later(now: Instant, milliseconds: u64) -> Instant {
        now + Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_crowd_of_refusals_withdraws_nothing_and_asks_again() {
        let (mut evidence, now) = known();
        for at in 0..10_000 {
            evidence.add(later(now, at), Asked::ByClient, BY_COOKIE, BY_COOKIE);
        }
        assert_eq!(evidence.withdrawn(), NONE);
        assert!(evidence.is_in_doubt(later(now, 400)) && !evidence.is_in_doubt(later(now, 399)));
        // Two probes meet the full queue too, the third does not.
        for (at, refused) in [
            (400, BY_COOKIE),
            (800, BY_COOKIE),
            (1200, NONE),
            (1600, BY_COOKIE),
        ] {
            evidence.add(later(now, at), Asked::ByProbe, ALL, refused);
            assert_eq!(evidence.withdrawn(), NONE, "at {at}");
        }
    }

    #[test]
    fn probes_in_a_row_withdraw_an_option_and_give_it_back() {
        let (mut evidence, now) = known();
        for at in [0, 10, 400, 800] {
            assert_eq!(evidence.withdrawn(), NONE, "at {at}");
            evidence.add(later(now, at), Asked::ByProbe, ALL, BY_COOKIE);
        }
        assert_eq!(evidence.withdrawn(), BY_COOKIE);
        assert!(!evidence.is_in_doubt(later(now, 100_000)));
        evidence.add(later(now, 15_000), Asked::ByProbe, ALL, NONE);
        assert_eq!(evidence.withdrawn(), BY_COOKIE);
        assert!(evidence.is_in_doubt(later(now, 15_400)));
        evidence.add(later(now, 15_400), Asked::ByProbe, ALL, NONE);
        assert_eq!((evidence.withdrawn(), evidence.supported()), (NONE, ALL));
    }

    #[test]
    fn timestamps_are_withdrawn_within_a_second() {
        let (mut evidence, now) = known();
        evidence.add(now, Asked::ByClient, ALL, TIMES);
        evidence.add(later(now, 1), Asked::ByClient, ALL, TIMES);
        assert_eq!(evidence.withdrawn(), NONE, "one moment is one event");
        evidence.add(later(now, 400), Asked::ByProbe, ALL, TIMES);
        assert_eq!(evidence.withdrawn(), TIMES);
    }

    #[test]
    fn the_first_probe_of_a_server_decides_and_a_first_client_does_not() {
        let now = Instant::now();
        let mut evidence = ServerEvidence::default();
        evidence.add(now, Asked::ByClient, BY_COOKIE, BY_COOKIE);
        assert_eq!(evidence.withdrawn(), NONE);
        evidence.add(now, Asked::ByProbe, ALL, TIMES);
        assert_eq!(evidence.withdrawn(), TIMES);
        assert_eq!(evidence.supported(), ALL.without(TIMES));
    }

    #[test]
    fn a_server_that_answers_no_probe_is_asked_ever_less() {
        let (mut evidence, mut now) = known();
        evidence.add(now, Asked::ByClient, ALL, BY_COOKIE);
        let mut probes = 0;
        for _ in 0..10 * 60 * 10 {
            now = later(now, 100);
            if evidence.is_in_doubt(now) {
                evidence.asked(now);
                probes += 1;
            }
        }
        assert!((20..40).contains(&probes), "{probes} in ten minutes");
        assert_eq!(evidence.withdrawn(), NONE);
    }
}
