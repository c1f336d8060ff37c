//! Opens connections to servers on behalf of their clients, and establishes the flow between both.
//!
//! Each worker has one [`Splicer`] with openings of its own. It forwards segments for an opening of another
//! worker to that worker.
//!
//! | file | idea |
//! |---|---|
//! | `handshake` | what an opening does with a segment or a timeout |
//! | `room` | what is displaced when there is no room for an opening or its client's data |
//! | `undelivered_syn` | what an opening does with an ICMP error about its SYN |

use std::sync::Arc;

use synward_core::cookie::AckFields;
use synward_core::flow_state::Observed;
use synward_core::flow_time::FlowTime;
use synward_core::layout::{Flow, state};
use synward_core::translate::Direction;
use synward_core::wire::tcp::flags;

use super::late_segments;
use super::link::{Link, Out};
use super::mailbox::{Cause, Content};
use super::opening::{LONGEST_WAIT, Opening, Phase, RETRY};
use super::opening_shares::{OpeningShares, ShareLimits, source_prefix};
use super::pending_data::{PendingData, SegmentPool};
use super::received::{Received, received_ttl};
use super::server_syn_ack::Requested;
use super::stats::{Outcome, ServiceStats};
use super::valid_ack::ValidAck;
use super::waiting_ack::WaitingAck;
use super::worker_shared::{Policy, Shared};
use crate::maps::{InsertError, OpeningEntry};

mod handshake;
mod room;
mod undelivered_syn;

/// Maximum number of openings of one worker. Beyond it one of the biggest holder is displaced ([`OpeningShares`]).
pub const OPENINGS: usize = 8192;
/// Places for openings: one more, for the new one that is compared with the others.
const PLACES: usize = OPENINGS + 1;
/// Maximum number of segments that one worker buffers.
const PENDING_SEGMENTS: u16 = 8192;
/// Nanoseconds between two checks of the openings' timers.
const CHECK: u64 = 20_000_000;
/// While nothing is acknowledged, a client's data lies within this distance of its ISN.
const REACH: u32 = 1 << 16;

/// The openings of one worker.
#[derive(Debug)]
pub struct Splicer {
    worker: u16,
    shared: Shared,
    stats: Arc<[ServiceStats]>,
    openings: Vec<Option<Opening>>,
    free: Vec<u32>,
    shares: OpeningShares,
    pool: SegmentPool,
    next_check: u64,
}

impl Splicer {
    /// Creates the splicer of a worker. `stats` are the worker's counters, by service.
    pub fn new(worker: u16, shared: Shared, stats: Arc<[ServiceStats]>) -> Self {
        Self {
            worker,
            shared,
            stats,
            openings: (0..PLACES).map(|_| None).collect(),
            free: (0..PLACES as u32).rev().collect(),
            shares: OpeningShares::new(OPENINGS as u32),
            pool: SegmentPool::new(PENDING_SEGMENTS),
            next_check: 0,
        }
    }

    /// Starts again after a panic. Openings end without a segment to either side: what their clients send next opens them again.
    pub fn renew(&mut self) {
        for opening in self.openings.iter_mut().filter_map(Option::take) {
            self.shared.table.remove(&opening.entry);
        }
        for stats in &*self.stats {
            stats.forget_openings();
        }
        *self = Self::new(self.worker, self.shared.clone(), Arc::clone(&self.stats));
    }

    /// Replaces the policies of services.
    pub fn set_policies(&mut self, policies: Arc<[Policy]>) {
        self.shared.policies = policies;
    }

    /// Whether there are openings, so that [`Self::run_timers`] must be called.
    pub fn is_waiting(&self) -> bool {
        self.free.len() < PLACES
    }

    /// Opens the connection of a client that waited. The kernel routes what is sent to the client.
    pub fn open_waiting(&mut self, now: u64, ack: &WaitingAck, out: &mut impl Out) {
        if let (Some((packet, l4)), Some(valid_ack)) = (ack.packet(), ack.valid_ack()) {
            self.open(now, &packet, l4, &valid_ack, Link::KERNEL, out);
        }
    }

    /// Handles a segment with a valid cookie: opens the connection to the server, or ends its opening if it is a RST. `packet`
    /// is the IP packet, `l4` the offset of its TCP header, `client` the path back to the client.
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
        if let Some(fault) = segment.checksum_fault() {
            return self.count(valid_ack.service, fault);
        }
        let key = segment.sent_by_client();
        let known = self.shared.table.find(&key);
        if segment.has(flags::RST) {
            // It came before the XDP program saw the opening. If there is none, there is nothing to end.
            if let Some(entry) = known {
                self.segment(now, entry, packet, l4, None, out);
            }
            return;
        }
        if let Some(entry) = known
            && self.shared.table.read(entry).state != state::CLOSING
        {
            self.count(valid_ack.service, Outcome::Duplicate);
            return self.segment(now, entry, packet, l4, None, out);
        }
        let cookie = AckFields {
            client_isn: segment.sequence.wrapping_sub(1),
            isn: segment.acknowledgement.wrapping_sub(1),
            tsecr: None,
        };
        let (epoch, _) = cookie.cookie_epoch(valid_ack.epoch);
        let replays = &self.shared.replays;
        if replays.is_connected(&key, cookie.client_isn, epoch) {
            // Copies of its ACK were in the queue.
            return self.count(valid_ack.service, Outcome::Duplicate);
        }
        let id = match self.make_room(now, &key, valid_ack.service, out) {
            Ok(id) => id,
            Err(outcome) => return self.count(valid_ack.service, outcome),
        };
        let times = segment.options.timestamps();
        let flow = Flow {
            key,
            sequence_delta: id,
            client_sequence: cookie.client_isn,
            server_sequence: cookie.isn,
            last_seen: FlowTime::from_ns(now),
            state: state::OPENING,
            service: valid_ack.service,
            ..Flow::default()
        }
        .owned_by(self.worker);
        let entry = match self.place(&flow) {
            Ok(entry) => entry,
            Err(outcome) => {
                self.give_back(id);
                self.send_syns(now, out);
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
            client_isn: cookie.client_isn,
            isn: cookie.isn,
            epoch,
            requested: Requested {
                options: valid_ack.options,
                timestamps: times.is_some(),
            },
            offered: valid_ack.offered,
            client_tsval,
            our_tsval,
            window: segment.window,
            client_shift: 0,
            client,
            // One hop less, as a router does: the server may check the count (GTSM, RFC 5082).
            server: Link::to_hop(&valid_ack.hop, key.client.is_v4())
                .with_ttl(received_ttl(packet).saturating_sub(1).max(1)),
            phase: Phase::Queued,
            pending: PendingData::default(),
            began: now,
            due: now + LONGEST_WAIT,
            tries: 0,
            soft_error_after: 0,
        };
        self.stats(valid_ack.service, |stats| stats.opened(true));
        self.store(id, &mut opening, &segment);
        self.openings[id as usize] = Some(opening);
        self.shares.enqueue(id);
        self.send_syns(now, out);
    }

    /// Sends the SYNs of openings whose turn has come.
    fn send_syns(&mut self, now: u64, out: &mut impl Out) {
        while let Some(id) = self.shares.next_ready() {
            if let Some(Some(opening)) = self.openings.get_mut(id as usize)
                && opening.phase == Phase::Queued
            {
                opening.phase = Phase::SynSent;
                opening.tries = 1;
                opening.due = now + RETRY;
                out.send(&opening.server, &opening.syn(), &[]);
                self.shares.asked(now, id);
            }
        }
    }

    /// Inserts a flow entry, or reuses that of a closing flow with the same addresses and ports.
    fn place(&self, flow: &Flow) -> Result<OpeningEntry, Outcome> {
        match self.shared.table.insert(flow) {
            Ok(opening) => Ok(opening),
            Err(InsertError::Full) => Err(Outcome::TableFull),
            Err(InsertError::Exists(entry)) => {
                let reopened = self.shared.table.reopen(entry, flow);
                reopened.ok_or(Outcome::Duplicate)
            }
        }
    }

    /// Handles a client's segment that came right behind its ACK, before the XDP program saw the flow. The ACK was ahead of it in
    /// the ring, so there is a flow, or the ACK was refused.
    pub fn behind_ack(&mut self, now: u64, packet: &[u8], l4: u8, back: Link, out: &mut impl Out) {
        let Some(segment) = Received::read(packet, 0, usize::from(l4)) else {
            return;
        };
        if let Some(entry) = self.shared.table.find(&segment.sent_by_client()) {
            self.segment(now, entry, packet, l4, Some(back), out);
        }
    }

    /// Handles a segment of either side for the flow of `entry`. `back` is the path to its sender, if this worker
    /// received it in a frame.
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
        // Cut off the padding: a raw socket would send it as data (raw_send_hdrinc).
        let packet = &packet[..usize::from(l4) + segment.length()];
        let flow = self.shared.table.read(entry);
        let direction = if segment.sent_by_client() == flow.key {
            Direction::ToServer
        } else if segment.sent_by_server() == flow.key {
            Direction::ToClient
        } else {
            return; // The entry belongs to another flow by now.
        };
        match flow.state {
            state::OPENING if flow.worker() != self.worker => {
                let cause = match direction {
                    Direction::ToServer => Cause::Client(source_prefix(flow.key.client)),
                    Direction::ToClient => Cause::Server,
                };
                self.post(&flow, cause, entry, Content::Segment, l4, packet);
            }
            state::OPENING => {
                let id = flow.sequence_delta;
                // Take the opening out of its slot; put it back if it goes on.
                let Some(slot) = self.openings.get_mut(id as usize) else {
                    return;
                };
                let Some(opening) = slot.take_if(|opening| opening.entry.entry == entry) else {
                    return;
                };
                let left = match direction {
                    Direction::ToServer => self.on_client_segment(now, id, opening, &segment, out),
                    Direction::ToClient => {
                        self.on_server_segment(now, id, opening, &segment, back, out)
                    }
                };
                self.put_back(id, left);
                self.send_syns(now, out);
            }
            state::ESTABLISHED | state::CLOSING => {
                let observed = Observed {
                    direction,
                    sequence: segment.sequence,
                    acknowledgement: segment.acknowledgement,
                    flags: segment.flags,
                    has_data: !segment.payload.is_empty(),
                };
                let table = &self.shared.table;
                table.observe(entry, &flow.key, &observed, FlowTime::from_ns(now));
                late_segments::translate_and_send(packet, l4, &flow, direction, out)
            }
            _ => {}
        }
    }

    /// Passes a packet on to the worker that owns its opening.
    fn post(&self, flow: &Flow, cause: Cause, entry: u32, content: Content, l4: u8, packet: &[u8]) {
        let owner = self.shared.mailboxes.get(usize::from(flow.worker()));
        if !owner.is_some_and(|mailbox| mailbox.post(cause, entry, content, l4, packet)) {
            self.count(flow.service, Outcome::MessageLost);
        }
    }

    /// Retransmits SYNs and probes without an answer, and ends openings that have no tries left.
    pub fn run_timers(&mut self, now: u64, out: &mut impl Out) {
        if now < self.next_check || !self.is_waiting() {
            return;
        }
        self.next_check = now + CHECK;
        for id in 0..self.openings.len() {
            if let Some(opening) = self.openings[id].take_if(|opening| opening.due <= now) {
                let left = self.on_timeout(now, id as u32, opening, out);
                self.put_back(id as u32, left);
            }
        }
        self.send_syns(now, out);
    }

    fn policy(&self, service: u16) -> Policy {
        let policies = &self.shared.policies;
        policies
            .get(usize::from(service))
            .copied()
            .unwrap_or(Policy {
                reset_when_down: true,
                true_rtt: false,
                hold_bytes: 0,
                shares: ShareLimits {
                    per_source: 0,
                    per_server: 0,
                },
            })
    }

    fn stats(&self, service: u16, note: impl FnOnce(&ServiceStats)) {
        if let Some(stats) = self.stats.get(usize::from(service)) {
            note(stats);
        }
    }

    fn count(&self, service: u16, outcome: Outcome) {
        self.stats(service, |stats| stats.count(outcome));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests;
