//! Opens connections to servers on behalf of their clients, and establishes the flow between both.
//!
//! Each worker has one [`Splicer`] with openings of its own. It forwards segments for an opening of another
//! worker to that worker.
//!
//! | file | idea |
//! |---|---|
//! | `handshake` | what an opening does with a segment or a timeout |

use std::sync::Arc;

use synward_core::client_options::ClientOptions;
use synward_core::flow_time::FlowTime;
use synward_core::layout::{Flow, Profile, state};
use synward_core::translate::Direction;
use synward_core::wire::tcp::flags;
use synward_core::worker_request::Hop;

use super::late_segments;
use super::link::{Link, Out};
use super::opening::{Opening, Phase, RETRY};
use super::pending_data::{PendingData, PendingSegment, SegmentPool};
use super::received::Received;
use super::server_syn_ack::Requested;
use super::stats::{Outcome, ServiceStats};
use super::worker_shared::{Policy, Shared};
use crate::maps::InsertError;

mod handshake;

/// Maximum number of openings of one worker. Beyond it segments are dropped; their clients retransmit them.
pub const OPENINGS: usize = 8192;
/// Maximum number of segments that one worker buffers.
const PENDING_SEGMENTS: u16 = 8192;
/// Nanoseconds between two checks of the openings' timers.
const CHECK: u64 = 20_000_000;
/// While nothing is acknowledged, a client's data lies within this distance of its ISN.
const REACH: u32 = 1 << 16;

/// The XDP program's request for a segment with a valid cookie.
#[derive(Clone, Copy, Debug)]
pub struct ValidAck {
    /// Index of the service.
    pub service: u8,
    /// The options that the client requested.
    pub options: ClientOptions,
    /// The profile of our SYN-ACK.
    pub offered: Profile,
    /// The path to the server.
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
    /// Creates the splicer of a worker. `stats` are the worker's counters, by service.
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

    /// Whether there are openings, so that [`Self::run_timers`] must be called.
    pub fn is_waiting(&self) -> bool {
        self.free.len() < OPENINGS
    }

    /// Handles a segment with a valid cookie: opens the connection to the server. `packet` is the IP packet,
    /// `l4` the offset of its TCP header, `client` the path back to the client.
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
            last_seen: FlowTime::from_ns(now),
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

    /// Inserts a flow entry, or reuses that of a closing flow with the same addresses and ports.
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
            state::OPENING if flow.owner != self.worker => {
                let owner = self.shared.mailboxes.get(usize::from(flow.owner));
                if !owner.is_some_and(|mailbox| mailbox.post(entry, l4, packet)) {
                    self.count(flow.service as u8, Outcome::MessageLost);
                }
            }
            state::OPENING => {
                let id = flow.sequence_delta;
                // Take the opening out of its slot; put it back if it goes on.
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

    /// Retransmits SYNs and probes without an answer, and ends openings that have no tries left.
    pub fn run_timers(&mut self, now: u64, out: &mut impl Out) {
        if now < self.next_check || !self.is_waiting() {
            return;
        }
        self.next_check = now + CHECK;
        for id in 0..self.openings.len() {
            if let Some(opening) = self.openings[id].take_if(|opening| opening.due <= now) {
                let left = self.on_timeout(now, opening, out);
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

    fn store(&mut self, opening: &mut Opening, segment: &Received<'_>) {
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
