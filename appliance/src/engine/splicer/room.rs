//! Room for openings and for the data of their clients: what is displaced when there is none.

use synward_core::flow::FlowKey;
use synward_core::wire::tcp::flags;

use super::Splicer;
use crate::engine::link::Out;
use crate::engine::opening::Opening;
use crate::engine::opening_shares::{Reason, Victim};
use crate::engine::pending_data::{PendingSegment, Stored};
use crate::engine::received::Received;
use crate::engine::stats::Outcome;

impl Splicer {
    /// A place for a new opening, which is counted for its holders. Another opening may be displaced.
    pub(super) fn make_room(
        &mut self,
        now: u64,
        key: &FlowKey,
        service: u16,
        out: &mut impl Out,
    ) -> Result<u32, Outcome> {
        // There is one, because of `PLACES`.
        let id = self.free.pop().ok_or(Outcome::OpeningsFull)?;
        self.shares.add(now, id, key, service);
        let limits = self.policy(service).shares;
        match self.shares.victim(now, id, limits) {
            Some(victim) if victim.id == id => {
                self.give_back(id);
                Err(refusal_of(victim))
            }
            Some(victim) => {
                self.displace(victim.id, out);
                Ok(id)
            }
            None => Ok(id),
        }
    }

    pub(super) fn give_back(&mut self, id: u32) {
        self.shares.remove(id);
        self.free.push(id);
    }

    /// Ends an opening to make room for another.
    fn displace(&mut self, id: u32, out: &mut impl Out) {
        let slot = self.openings.get_mut(id as usize);
        if let Some(opening) = slot.and_then(Option::take) {
            self.abort_server(&opening, out);
            let left = self.refuse(opening, Outcome::Displaced, out);
            self.put_back(id, left);
        }
    }

    pub(super) fn put_back(&mut self, id: u32, left: Option<Opening>) {
        if left.is_none() {
            self.give_back(id);
        }
        self.openings[id as usize] = left;
    }

    /// Buffers the data of a segment of the opening with number `id`.
    pub(super) fn store(&mut self, id: u32, opening: &mut Opening, segment: &Received<'_>) {
        if segment.payload.is_empty() && !segment.has(flags::FIN) {
            return;
        }
        let limit = self.policy(opening.service).hold_bytes;
        let piece = PendingSegment {
            sequence: segment.sequence,
            // Drop URG, because the urgent pointer is not stored: the byte stays in the stream (RFC 6093 §3.1).
            flags: segment.flags & (flags::FIN | flags::PSH),
            payload: segment.payload,
        };
        let before = opening.pending.bytes();
        let mut stored = self.pool.store(id, &mut opening.pending, piece, limit);
        if stored == Stored::PoolFull && self.displace_segment(id) {
            stored = self.pool.store(id, &mut opening.pending, piece, limit);
        }
        match stored {
            Stored::New => self.shares.count_segments(id, 1),
            Stored::Known => {}
            Stored::TooMuch | Stored::PoolFull => self.count(opening.service, Outcome::HoldFull),
        }
        let after = opening.pending.bytes();
        self.stats(opening.service, |stats| stats.held(before, after));
    }

    /// Drops a segment of the biggest holder in favour of one of the opening `id`. Returns `false` if that itself is the
    /// biggest.
    fn displace_segment(&mut self, id: u32) -> bool {
        self.shares.count_segments(id, 1);
        let pool = &self.pool;
        let victim = self
            .shares
            .victim_of_segment(id, |random| pool.owner_at(random));
        self.shares.count_segments(id, -1);
        // The opening `id` is out of its slot.
        let Some(Some(other)) = self.openings.get_mut(victim as usize) else {
            return false;
        };
        let before = other.pending.bytes();
        self.pool.drop_latest(&mut other.pending);
        let (service, after) = (other.service, other.pending.bytes());
        self.shares.count_segments(victim, -1);
        self.stats(service, |stats| {
            stats.held(before, after);
            stats.count(Outcome::HoldDisplaced);
        });
        true
    }

    pub(super) fn release(&mut self, opening: &mut Opening) {
        let bytes = opening.pending.bytes();
        self.pool.release(&mut opening.pending);
        self.stats(opening.service, |stats| stats.held(bytes, 0));
    }
}

/// How a refused opening is counted.
fn refusal_of(victim: Victim) -> Outcome {
    match victim.reason {
        Reason::SourceLimit => Outcome::SourceLimit,
        Reason::ServerLimit => Outcome::ServerLimit,
        Reason::Full => Outcome::OpeningsFull,
    }
}
