//! Opens connections to servers in their clients' names, and joins both sides.
//!
//! One [`Splicer`] a worker. Its openings are its own; what arrives for an opening of another worker is
//! passed on to that one.

use std::sync::Arc;

use synward_core::client_options::ClientOptions;
use synward_core::layout::{Flow, INITIAL_WINDOW, Profile, flow_flags, state};
use synward_core::translate::Direction;
use synward_core::wire::tcp::flags;
use synward_core::worker_request::Hop;

use super::late_segments;
use super::link::{Link, Out};
use super::opening::{Opening, Phase, RETRY, TRIES};
use super::pending_data::{PendingData, PendingSegment, SegmentPool};
use super::received::Received;
use super::server_syn_ack::{Requested, ServerSynAck};
use super::stats::{Outcome, ServiceStats};
use super::worker_shared::{Learned, Policy, Shared};
use crate::maps::{Established, InsertError};

/// Openings of one worker at most. A full table drops the segment; its client sends it again.
pub const OPENINGS: usize = 8192;
/// Segments that one worker holds at most, in all.
const PENDING_SEGMENTS: u16 = 8192;
/// Nanoseconds between two looks at the openings' due times.
const CHECK: u64 = 20_000_000;
/// A client's data lies at most so far behind its ISN while nothing has been acknowledged.
const REACH: u32 = 1 << 16;

/// What the XDP program says about a segment with a valid cookie.
#[derive(Clone, Copy, Debug)]
pub struct ValidAck {
    /// Index of the service.
    pub service: u8,
    /// What the client asked for.
    pub options: ClientOptions,
    /// What it was promised.
    pub offered: Profile,
    /// The way to the server.
    pub hop: Hop,
}

/// The openings of one worker.
#[derive(Debug)]
pub struct Splicer {
    worker: u8,
    shared: Shared,
    stats: Arc<[ServiceStats]>,
    openings: Vec<Option<Opening>>,
    free: Vec<u32>,
    pool: SegmentPool,
    next_check: u64,
}

impl Splicer {
    /// The splicer of a worker; `stats` are its own, by service.
    pub fn new(worker: u8, shared: Shared, stats: Arc<[ServiceStats]>) -> Self {
        Self {
            worker,
            shared,
            stats,
            openings: (0..OPENINGS).map(|_| None).collect(),
            free: (0..OPENINGS as u32).rev().collect(),
            pool: SegmentPool::new(PENDING_SEGMENTS),
            next_check: 0,
        }
    }

    /// Whether any opening waits, so that [`Self::run_timers`] has to be called.
    pub fn is_waiting(&self) -> bool {
        self.free.len() < OPENINGS
    }

    /// A segment with a valid cookie: opens the connection to the server. `packet` is the IP packet,
    /// `l4` the offset of its TCP header, `client` the way back.
    pub fn open(
        &mut self,
        now: u64,
        packet: &[u8],
        l4: u8,
        valid_ack: &ValidAck,
        client: Link,
        out: &mut impl Out,
    ) {
        let Some(segment) = Received::read(packet, 0, usize::from(l4)) else {
            return;
        };
        if !segment.is_intact() {
            return self.count(valid_ack.service, Outcome::BadChecksum);
        }
        let Some(id) = self.free.pop() else {
            return self.count(valid_ack.service, Outcome::OpeningsFull);
        };
        let key = segment.sent_by_client();
        let times = segment.options.timestamps();
        let flow = Flow {
            key,
            sequence_delta: id,
            client_isn: segment.sequence.wrapping_sub(1),
            isn: segment.acknowledgement.wrapping_sub(1),
            last_seen: (now >> 30) as u32,
            state: state::OPENING,
            owner: self.worker,
            service: u16::from(valid_ack.service),
            ..Flow::default()
        };
        let entry = match self.place(&flow) {
            Ok(entry) => entry,
            Err(outcome) => {
                self.free.push(id);
                self.count(valid_ack.service, outcome);
                if outcome == Outcome::Duplicate
                    && let Some(entry) = self.shared.table.find(&key)
                {
                    self.segment(now, entry, packet, l4, None, out);
                }
                return;
            }
        };
        let (client_tsval, our_tsval) = times.unwrap_or((0, 0));
        let mut opening = Opening {
            key,
            entry,
            service: valid_ack.service,
            client_isn: flow.client_isn,
            isn: flow.isn,
            requested: Requested {
                options: valid_ack.options,
                timestamps: times.is_some(),
            },
            offered: valid_ack.offered,
            client_tsval,
            our_tsval,
            window: segment.window,
            client,
            server: Link::to_hop(&valid_ack.hop, key.client.is_v4()),
            phase: Phase::SynSent,
            pending: PendingData::default(),
            began: now,
            due: now + RETRY,
            tries: 1,
        };
        self.store(&mut opening, &segment);
        out.send(&opening.server, &opening.syn(), &[]);
        self.stats(valid_ack.service, |stats| stats.opened(true));
        self.openings[id as usize] = Some(opening);
    }

    /// A new entry, or the entry of a closing flow on the same addresses and ports.
    fn place(&self, flow: &Flow) -> Result<u32, Outcome> {
        match self.shared.table.insert(flow) {
            Ok(entry) => Ok(entry),
            Err(InsertError::Full) => Err(Outcome::TableFull),
            Err(InsertError::Exists(entry)) => {
                let old = self.shared.table.read(entry);
                let same = (old.client_isn, old.isn) == (flow.client_isn, flow.isn);
                if !same && old.state == state::CLOSING && self.shared.table.reopen(entry, flow) {
                    Ok(entry)
                } else {
                    Err(Outcome::Duplicate)
                }
            }
        }
    }

    /// A segment of either side for the flow of `entry`. `back` is the way to its sender, if it came in
    /// a frame of this worker.
    pub fn segment(
        &mut self,
        now: u64,
        entry: u32,
        packet: &[u8],
        l4: u8,
        back: Option<Link>,
        out: &mut impl Out,
    ) {
        let Some(segment) = Received::read(packet, 0, usize::from(l4)) else {
            return;
        };
        // A raw socket takes whatever is behind the packet for data (raw_send_hdrinc): no padding from here on.
        let packet = &packet[..usize::from(l4) + segment.length()];
        let flow = self.shared.table.read(entry);
        let direction = if segment.sent_by_client() == flow.key {
            Direction::ToServer
        } else if segment.sent_by_server() == flow.key {
            Direction::ToClient
        } else {
            return; // The entry is another flow's by now.
        };
        match flow.state {
            state::OPENING if flow.owner != self.worker => {
                let owner = self.shared.mailboxes.get(usize::from(flow.owner));
                if !owner.is_some_and(|mailbox| mailbox.post(entry, l4, packet)) {
                    self.count(flow.service as u8, Outcome::MessageLost);
                }
            }
            state::OPENING => {
                let id = flow.sequence_delta;
                // Taken out while it is worked on; what remains of it is put back.
                let Some(slot) = self.openings.get_mut(id as usize) else {
                    return;
                };
                let Some(opening) = slot.take_if(|opening| opening.entry == entry) else {
                    return;
                };
                let left = match direction {
                    Direction::ToServer => self.on_client_segment(now, opening, &segment, out),
                    Direction::ToClient => {
                        self.on_server_segment(now, opening, &segment, back, out)
                    }
                };
                self.put_back(id, left);
            }
            state::ESTABLISHED | state::CLOSING => {
                late_segments::translate_and_send(packet, l4, &flow, direction, out)
            }
            _ => {}
        }
    }

    /// Sends again what was not answered, and gives up what was not answered often enough.
    pub fn run_timers(&mut self, now: u64, out: &mut impl Out) {
        if now < self.next_check || !self.is_waiting() {
            return;
        }
        self.next_check = now + CHECK;
        for id in 0..self.openings.len() {
            if let Some(opening) = self.openings[id].take_if(|opening| opening.due <= now) {
                let left = self.overdue(now, opening, out);
                self.put_back(id as u32, left);
            }
        }
    }

    fn put_back(&mut self, id: u32, left: Option<Opening>) {
        if left.is_none() {
            self.free.push(id);
        }
        self.openings[id as usize] = left;
    }

    fn on_client_segment(
        &mut self,
        now: u64,
        mut opening: Opening,
        segment: &Received<'_>,
        out: &mut impl Out,
    ) -> Option<Opening> {
        let ahead = segment
            .sequence
            .wrapping_sub(opening.client_isn.wrapping_add(1));
        if segment.has(flags::RST) {
            if ahead >= REACH || !segment.is_intact() {
                return Some(opening);
            }
            out.send(&opening.server, &opening.abort_server(), &[]);
            return self.end(opening, Outcome::Aborted);
        }
        // Nothing but K has been sent to the client: another acknowledgement is not from it (RFC 9293 §3.10.7.4), and
        // to the server we would vouch for its data.
        let is_ours = segment.has(flags::ACK)
            && !segment.has(flags::SYN)
            && segment.acknowledgement == opening.isn.wrapping_add(1);
        if !is_ours || ahead >= REACH {
            return Some(opening);
        }
        if !segment.is_intact() {
            self.count(opening.service, Outcome::BadChecksum);
            return Some(opening);
        }
        // The server takes no older one after the SYN's (RFC 7323 §5): what was overtaken on its way says nothing new.
        let times = segment.options.timestamps();
        let tsval = times.map_or(opening.client_tsval, |(tsval, _)| tsval);
        if tsval.wrapping_sub(opening.client_tsval) as i32 >= 0 {
            opening.client_tsval = tsval;
            opening.window = segment.window;
        }
        self.store(&mut opening, segment);
        match opening.phase {
            // The answer to the probe is a bare ACK; data that was on its way proves no round trip.
            Phase::Measuring { .. } if segment.payload.is_empty() => self.join(now, opening, out),
            _ => Some(opening),
        }
    }

    fn on_server_segment(
        &mut self,
        now: u64,
        mut opening: Opening,
        segment: &Received<'_>,
        back: Option<Link>,
        out: &mut impl Out,
    ) -> Option<Opening> {
        if !segment.is_intact() {
            self.count(opening.service, Outcome::BadChecksum);
            return Some(opening);
        }
        if let (Link::KERNEL, Some(back)) = (opening.server, back) {
            opening.server = back;
        }
        let expected = opening.client_isn.wrapping_add(1);
        if segment.has(flags::RST) {
            let acceptable = segment.has(flags::ACK) && segment.acknowledgement == expected;
            if !acceptable && opening.phase == Phase::SynSent {
                return Some(opening); // RFC 9293 §3.10.7.3: not about our SYN.
            }
            return self.turn_away(opening, Outcome::Refused, out);
        }
        if opening.phase != Phase::SynSent || !segment.has(flags::ACK) {
            return Some(opening);
        }
        if !segment.has(flags::SYN) || segment.acknowledgement != expected {
            // The server still has the connection that these ports had before: end it, ask again.
            self.count(opening.service, Outcome::StaleReset);
            out.send(
                &opening.server,
                &opening.reset_stale(segment.acknowledgement),
                &[],
            );
            if opening.tries < TRIES {
                opening.tries += 1;
                out.send(&opening.server, &opening.syn(), &[]);
            }
            return Some(opening);
        }
        let says = ServerSynAck::read(segment);
        let kept = says.accepts(&opening.requested);
        self.learn(&opening, &says, kept);
        if !kept {
            out.send(&opening.server, &opening.abort_server(), &[]);
            return self.turn_away(opening, Outcome::Mismatch, out);
        }
        opening.phase = Phase::Measuring {
            server_isn: says.isn,
            server_tsval: says.tsval.unwrap_or(0),
            window_shift: says.window_scale.unwrap_or(0) as i8 - opening.offered_scale() as i8,
        };
        if self.policy(opening.service).true_rtt {
            out.send(&opening.client, &opening.probe(), &[]);
            opening.tries = 1;
            opening.due = now + 4 * RETRY;
            return Some(opening);
        }
        self.join(now, opening, out)
    }

    /// Both sides are there: one flow entry, and XDP alone carries the flow from here on.
    fn join(&mut self, now: u64, mut opening: Opening, out: &mut impl Out) -> Option<Opening> {
        let Phase::Measuring {
            server_isn,
            server_tsval,
            window_shift,
        } = opening.phase
        else {
            return Some(opening);
        };
        let fin = self
            .pool
            .segments(&opening.pending)
            .any(|held| held.flags & flags::FIN != 0);
        let mut marks = if opening.requested.timestamps {
            flow_flags::TIMESTAMPS
        } else {
            0
        };
        if fin {
            marks |= flow_flags::CLIENT_FIN;
        }
        let found = Established {
            sequence_delta: opening.isn.wrapping_sub(server_isn),
            timestamp_delta: opening.our_tsval.wrapping_sub(server_tsval),
            window_shift,
            flags: marks,
        };
        self.shared
            .table
            .establish(opening.entry, &found, (now >> 30) as u32);
        let mut sent = false;
        for held in self.pool.segments(&opening.pending) {
            let segment = opening.segment(held.sequence, held.flags, server_isn, server_tsval);
            out.send(&opening.server, &segment, held.payload);
            sent = true;
        }
        if !sent {
            let next = opening.client_isn.wrapping_add(1);
            let segment = opening.segment(next, flags::ACK, server_isn, server_tsval);
            out.send(&opening.server, &segment, &[]);
        }
        self.release(&mut opening);
        self.stats(opening.service, |stats| {
            stats.opened(false);
            stats.established(now.saturating_sub(opening.began));
        });
        None
    }

    fn overdue(&mut self, now: u64, mut opening: Opening, out: &mut impl Out) -> Option<Opening> {
        match opening.phase {
            Phase::SynSent if opening.tries < TRIES => {
                let table = &self.shared.table;
                table.still_opens(opening.entry, &opening.key, self.worker);
                out.send(&opening.server, &opening.syn(), &[]);
                opening.due = now + (RETRY << opening.tries);
                opening.tries += 1;
                Some(opening)
            }
            Phase::SynSent => self.turn_away(opening, Outcome::TimedOut, out),
            Phase::Measuring { .. } if opening.tries < 2 => {
                out.send(&opening.client, &opening.probe(), &[]);
                opening.due = now + 4 * RETRY;
                opening.tries += 1;
                Some(opening)
            }
            Phase::Measuring { .. } => self.join(now, opening, out),
        }
    }

    /// Ends an opening whose server is not there for the client. After a broken promise silence would only make it
    /// try the same again.
    fn turn_away(
        &mut self,
        opening: Opening,
        outcome: Outcome,
        out: &mut impl Out,
    ) -> Option<Opening> {
        if outcome == Outcome::Mismatch || self.policy(opening.service).reset_when_down {
            out.send(&opening.client, &opening.refuse_client(), &[]);
        }
        self.end(opening, outcome)
    }

    fn end(&mut self, mut opening: Opening, outcome: Outcome) -> Option<Opening> {
        self.shared.table.remove(opening.entry);
        self.release(&mut opening);
        self.stats(opening.service, |stats| {
            stats.opened(false);
            stats.count(outcome);
        });
        None
    }

    fn store(&mut self, opening: &mut Opening, segment: &Received<'_>) {
        if segment.payload.is_empty() && !segment.has(flags::FIN) {
            return;
        }
        let limit = self.policy(opening.service).hold_bytes;
        let piece = PendingSegment {
            sequence: segment.sequence,
            // Not URG, whose pointer is not kept: the byte stays in the stream (RFC 6093 §3.1).
            flags: segment.flags & (flags::FIN | flags::PSH),
            payload: segment.payload,
        };
        let before = opening.pending.bytes();
        if !self.pool.store(&mut opening.pending, piece, limit) {
            self.count(opening.service, Outcome::HoldFull);
        }
        let after = opening.pending.bytes();
        self.stats(opening.service, |stats| stats.held(before, after));
    }

    fn release(&mut self, opening: &mut Opening) {
        let bytes = opening.pending.bytes();
        self.pool.release(&mut opening.pending);
        self.stats(opening.service, |stats| stats.held(bytes, 0));
    }

    fn learn(&self, opening: &Opening, says: &ServerSynAck, kept: bool) {
        let hold = self
            .policy(opening.service)
            .hold_bytes
            .min(u32::from(INITIAL_WINDOW)) as u16;
        let profile = says.refine(&opening.offered, &opening.requested, hold);
        if profile != opening.offered {
            let learned = Learned {
                address: opening.key.server,
                port: opening.key.server_port(),
                profile,
                broken: !kept,
            };
            // A full queue loses nothing for good: the next SYN-ACK says the same.
            let _ = self.shared.learned.push(learned);
        }
    }

    fn policy(&self, service: u8) -> Policy {
        let policies = &self.shared.policies;
        policies
            .get(usize::from(service))
            .copied()
            .unwrap_or(Policy {
                reset_when_down: true,
                true_rtt: false,
                hold_bytes: 0,
            })
    }

    fn stats(&self, service: u8, note: impl FnOnce(&ServiceStats)) {
        if let Some(stats) = self.stats.get(usize::from(service)) {
            note(stats);
        }
    }

    fn count(&self, service: u8, outcome: Outcome) {
        self.stats(service, |stats| stats.count(outcome));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests;
