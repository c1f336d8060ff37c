//! What an opening does with an ICMP error about its SYN.
//!
//! The XDP program takes any error about an opening's addresses and ports for one; it is checked here.

use synward_core::layout::state;
use synward_core::wire::icmp::Failure;

use super::Splicer;
use crate::engine::link::Out;
use crate::engine::mailbox::{Cause, Content};
use crate::engine::opening::{Opening, Phase};
use crate::engine::stats::Outcome;
use crate::engine::undelivered::Undelivered;

impl Splicer {
    /// Handles an ICMP error that may be about the SYN of the opening with this flow entry. `packet` is the IP packet, `l4`
    /// the offset of its ICMP header.
    pub fn undelivered(&mut self, now: u64, entry: u32, packet: &[u8], l4: u8, out: &mut impl Out) {
        let Some(error) = Undelivered::read(packet, usize::from(l4)) else {
            return;
        };
        let flow = self.shared.table.read(entry);
        if flow.key != error.key || flow.state != state::OPENING {
            return; // The entry belongs to another flow by now, or the server has answered.
        }
        if flow.worker() != self.worker {
            return self.post(&flow, Cause::Server, entry, Content::Error, l4, packet);
        }
        let id = flow.sequence_delta;
        let is_its_syn = |opening: &mut Opening| {
            opening.entry.entry == entry
                && opening.phase == Phase::SynSent
                && opening.client_isn == error.sequence
        };
        let slot = self.openings.get_mut(id as usize);
        if let Some(mut opening) = slot.and_then(|slot| slot.take_if(is_its_syn)) {
            let left = if is_final(&mut opening, error.failure) {
                self.refuse(opening, Outcome::Unreachable, out)
            } else {
                Some(opening)
            };
            self.put_back(id, left);
            self.send_syns(now, out);
        }
    }
}

/// Whether an error ends the opening: a hard one does (RFC 1122 §4.2.3.9), and a soft one if an earlier SYN had one too. A
/// TCP that ends a connection at the first soft error (RFC 5461) has not told its user "connected" yet.
fn is_final(opening: &mut Opening, failure: Failure) -> bool {
    if failure == Failure::Hard {
        return true;
    }
    if opening.soft_error_after == 0 {
        opening.soft_error_after = opening.tries;
    }
    opening.tries > opening.soft_error_after
}
