//! What is known of a server: whether it answers, when its options are reported, and how many of its clients are probed.

use super::{NONE, OpeningShares};

/// The most probes of clients under way at one server, and the most in a row without an answer.
pub(super) const PROBES: u32 = 32;
/// Least nanoseconds between two reports of a server's options.
const REPORT: u64 = 100_000_000;

impl OpeningShares {
    /// Notes that a SYN was sent to the server of an opening.
    pub fn asked(&mut self, now: u64, id: u32) {
        if let Some(server) = self.server_of(id) {
            if server.unanswered_since == 0 {
                server.unanswered_since = now;
            } else if server.is_silent(now) {
                server.pace.silent();
            }
        }
    }

    /// Notes that the server of an opening has answered its SYN, and whether with all options.
    pub fn answered(&mut self, now: u64, id: u32, is_complete: bool) {
        if let Some(server) = self.server_of(id) {
            if server.is_silent(now) || !server.answered {
                server.pace.recovered();
            }
            server.answered = true;
            server.unanswered_since = 0;
            if !is_complete {
                server.pace.reduce(now);
            } else if server.waiting.first != NONE {
                server.pace.grow();
            }
        }
        self.end_turn(id);
    }

    /// Whether what the server of an opening says is to be reported: at most ten times a second if it differs from what was
    /// offered, else once a second. Refusals have an interval of their own: the first one waits for no other report.
    pub fn is_report_due(&mut self, now: u64, id: u32, differs: bool, refuses: bool) -> bool {
        let interval = if differs { REPORT } else { 10 * REPORT };
        self.server_of(id).is_some_and(|server| {
            let reported = if refuses {
                &mut server.refusal_reported
            } else {
                &mut server.reported
            };
            let is_due = *reported == 0 || now.saturating_sub(*reported) >= interval;
            if is_due {
                *reported = now;
            }
            is_due
        })
    }

    /// Whether a client may be probed while the server of its opening waits; counts the probe. Clients that do not answer use
    /// up the server's SYN queue: then they are probed one at a time.
    pub fn begin_probe(&mut self, id: u32) -> bool {
        let Some(server) = self.server_of(id) else {
            return false;
        };
        let limit = if server.probes.unanswered < PROBES {
            PROBES
        } else {
            1
        };
        let may = server.probes.under_way < limit;
        server.probes.under_way += u32::from(may);
        self.openings[id as usize].probing = may;
        may
    }

    /// Notes that the client of an opening has answered its probe, or not in time.
    pub fn end_probe(&mut self, id: u32, is_answered: bool) {
        self.forget_probe(id);
        if let Some(server) = self.server_of(id) {
            server.probes.unanswered = if is_answered {
                0
            } else {
                server.probes.unanswered.saturating_add(1)
            };
        }
    }

    pub(super) fn forget_probe(&mut self, id: u32) {
        if self.opening(id).is_some_and(|opening| opening.probing)
            && let Some(server) = self.server_of(id)
        {
            server.probes.under_way -= 1;
            self.openings[id as usize].probing = false;
        }
    }
}
