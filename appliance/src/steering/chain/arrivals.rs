//! Whether frames arrive at a program that another one calls. A caller that was replaced, or never set up, shows nowhere else.

use std::path::Path;
use std::time::{Duration, Instant};

/// For how long nothing has to arrive while the link receives.
const QUIET: Duration = Duration::from_secs(5);

/// The frames that the link has to receive meanwhile. A caller may keep some kinds of frames to itself (LLDP, ARP).
const ENOUGH: u64 = 1000;

/// What was seen of one interface.
#[derive(Clone, Debug)]
pub(crate) struct Arrivals {
    /// Frames that arrived at the program, and that the link had received when the last of them did.
    arrived: u64,
    received: u64,
    since: Instant,
    /// Whether any has arrived since the start.
    any: bool,
}

impl Arrivals {
    /// From now on.
    pub(crate) fn new(arrived: u64, received: u64, now: Instant) -> Self {
        Self {
            arrived,
            received,
            since: now,
            any: false,
        }
    }

    /// Takes new counts. Returns whether frames should have arrived and have not.
    pub(crate) fn renew(&mut self, arrived: u64, received: u64, now: Instant) -> bool {
        if arrived != self.arrived {
            *self = Self {
                arrived,
                received,
                since: now,
                any: true,
            };
            return false;
        }
        let enough = if self.any { ENOUGH } else { 1 };
        received.wrapping_sub(self.received) >= enough && now - self.since >= QUIET
    }

    /// Whether the first frame has not arrived yet.
    pub(crate) fn waits(&self) -> bool {
        !self.any
    }
}

/// What to do for a caller.
pub(crate) fn cure(entry: &Path) -> String {
    format!(
        "have the program that is attached there call {entry}, for instance by `bpftool map update pinned CALLERS_MAP key 0 0 0 0 \
         value pinned {entry}`",
        entry = entry.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_only_while_the_link_receives() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut seen = Arrivals::new(70, 500, start);
        assert!(seen.waits());
        assert!(!seen.renew(70, 500, at(60)), "nothing to receive");
        assert!(!seen.renew(70, 501, at(4)), "not long enough");
        assert!(seen.renew(70, 501, at(5)), "the caller was never set up");
        assert!(!seen.renew(71, 502, at(6)));
        assert!(!seen.waits());
        assert!(
            !seen.renew(71, 502 + ENOUGH - 1, at(60)),
            "the caller may keep some frames"
        );
        assert!(seen.renew(71, 502 + ENOUGH, at(60)), "it calls us no more");
        assert!(!seen.renew(72, 502 + ENOUGH, at(61)));
    }
}
