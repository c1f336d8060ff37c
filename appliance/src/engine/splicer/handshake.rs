//! What an opening does with a segment or a timeout: establish the flow, retry, or end.

use synward_core::flow_time::FlowTime;
use synward_core::layout::{INITIAL_WINDOW, flow_flags};
use synward_core::wire::tcp::flags;

use super::{REACH, Splicer};
use crate::engine::link::{Link, Out};
use crate::engine::opening::{Opening, Phase, RETRY, TRIES};
use crate::engine::received::Received;
use crate::engine::server_syn_ack::{OptionSet, ServerSynAck};
use crate::engine::stats::Outcome;
use crate::engine::worker_shared::Observation;
use crate::maps::Established;

impl Splicer {
    pub(super) fn on_client_segment(
        &mut self,
        now: u64,
        id: u32,
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
            self.abort_server(&opening, out);
            return self.end(opening, Outcome::Aborted);
        }
        // The client has received nothing but K. Another acknowledgement is not from the client (RFC 9293 §3.10.7.4),
        // and the server would trust the data because we forward it.
        let is_ours = segment.has(flags::ACK)
            && !segment.has(flags::SYN)
            && segment.acknowledgement == opening.isn.wrapping_add(1);
        if !is_ours || ahead >= REACH {
            return Some(opening);
        }
        if let Some(fault) = segment.checksum_fault() {
            self.count(opening.service, fault);
            return Some(opening);
        }
        // The server accepts no TSval older than that of the SYN (RFC 7323 §5). A reordered segment has nothing new.
        let times = segment.options.timestamps();
        let tsval = times.map_or(opening.client_tsval, |(tsval, _)| tsval);
        if tsval.wrapping_sub(opening.client_tsval) as i32 >= 0 {
            opening.client_tsval = tsval;
            opening.window = segment.window;
        }
        self.store(id, &mut opening, segment);
        match opening.phase {
            // The answer to the probe is a bare ACK. Data that was already on its way proves no round trip.
            Phase::Measuring { .. } if segment.payload.is_empty() => {
                self.shares.end_probe(id, true);
                self.establish(now, opening, out)
            }
            _ => Some(opening),
        }
    }

    pub(super) fn on_server_segment(
        &mut self,
        now: u64,
        id: u32,
        mut opening: Opening,
        segment: &Received<'_>,
        back: Option<Link>,
        out: &mut impl Out,
    ) -> Option<Opening> {
        if let Some(fault) = segment.checksum_fault() {
            self.count(opening.service, fault);
            return Some(opening);
        }
        if opening.phase == Phase::Queued {
            return Some(opening); // It is about an older connection: nothing was sent yet.
        }
        opening.server = opening.server.or_learned(back);
        let expected = opening.client_isn.wrapping_add(1);
        if segment.has(flags::RST) {
            let acceptable = segment.has(flags::ACK) && segment.acknowledgement == expected;
            if !acceptable && opening.phase == Phase::SynSent {
                return Some(opening); // RFC 9293 §3.10.7.3: it does not acknowledge our SYN.
            }
            self.shares.answered(now, id, true);
            if opening.phase != Phase::SynSent {
                self.shares.end_probe(id, true);
            }
            return self.refuse(opening, Outcome::Refused, out);
        }
        if opening.phase != Phase::SynSent || !segment.has(flags::ACK) {
            return Some(opening);
        }
        if !segment.has(flags::SYN) || segment.acknowledgement != expected {
            // The server has a stale connection on these ports.
            if !opening.requested.timestamps {
                // A cookie without timestamps can be guessed: it resets nothing. The client opens its next connection from
                // another port.
                return self.refuse(opening, Outcome::StaleKept, out);
            }
            // Reset it and retransmit the SYN.
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
        let syn_ack = ServerSynAck::read(segment);
        let refused = syn_ack.refused(&opening.requested);
        self.shares.answered(now, id, refused.is_empty());
        self.report(now, id, &opening, &syn_ack, refused);
        if !syn_ack.is_usable(&opening.requested) {
            self.abort_server(&opening, out);
            return self.refuse(opening, Outcome::Mismatch, out);
        }
        if refused.window_scale {
            opening.client_shift = opening.requested.options.window_scale.unwrap_or(0);
        }
        opening.phase = Phase::Measuring {
            server_isn: syn_ack.isn,
            server_tsval: syn_ack.tsval.unwrap_or(0),
            window_shift: syn_ack.window_scale.unwrap_or(0) as i8 - opening.offered_scale() as i8,
        };
        if self.policy(opening.service).true_rtt && self.shares.begin_probe(id) {
            out.send(&opening.client, &opening.probe(), &[]);
            opening.tries = 1;
            opening.due = now + 4 * RETRY;
            return Some(opening);
        }
        self.establish(now, opening, out)
    }

    /// Establishes the flow in its entry. From here on XDP alone forwards its segments.
    fn establish(&mut self, now: u64, mut opening: Opening, out: &mut impl Out) -> Option<Opening> {
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
            .any(|segment| segment.flags & flags::FIN != 0);
        let mut bits = if opening.requested.timestamps {
            flow_flags::TIMESTAMPS
        } else {
            0
        };
        if fin {
            bits |= flow_flags::CLIENT_FIN;
        }
        let found = Established {
            sequence_delta: opening.isn.wrapping_sub(server_isn),
            timestamp_delta: opening.our_tsval.wrapping_sub(server_tsval),
            client_sequence: opening.client_isn.wrapping_add(1),
            server_sequence: server_isn.wrapping_add(1),
            window_shift,
            client_shift: opening.client_shift,
            flags: bits,
        };
        let table = &self.shared.table;
        if !table.establish(&opening.entry, &found, FlowTime::from_ns(now)) {
            out.send(&opening.server, &opening.abort_server(), &[]);
            return self.end(opening, Outcome::TimedOut);
        }
        // Before the server gets any data: it gets the same data never again.
        self.shared
            .replays
            .record_connection(&opening.key, opening.client_isn, opening.epoch);
        let mut sent = false;
        for pending in self.pool.segments(&opening.pending) {
            let segment =
                opening.segment(pending.sequence, pending.flags, server_isn, server_tsval);
            out.send(&opening.server, &segment, pending.payload);
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

    pub(super) fn on_timeout(
        &mut self,
        now: u64,
        id: u32,
        mut opening: Opening,
        out: &mut impl Out,
    ) -> Option<Opening> {
        match opening.phase {
            Phase::Queued => {
                self.shares.overtake(id);
                Some(opening)
            }
            Phase::SynSent if opening.tries < TRIES => {
                self.shares.end_turn(id);
                self.shares.asked(now, id);
                // This thread was stopped for so long that the opening has expired.
                if !self.shared.table.ensure_opening(&opening.entry) {
                    return self.end(opening, Outcome::TimedOut);
                }
                out.send(&opening.server, &opening.syn(), &[]);
                opening.due = now + (RETRY << opening.tries);
                opening.tries += 1;
                Some(opening)
            }
            Phase::SynSent => self.refuse(opening, Outcome::TimedOut, out),
            Phase::Measuring { .. } if opening.tries < 2 => {
                out.send(&opening.client, &opening.probe(), &[]);
                opening.due = now + 4 * RETRY;
                opening.tries += 1;
                Some(opening)
            }
            Phase::Measuring { .. } => {
                self.shares.end_probe(id, false);
                self.establish(now, opening, out)
            }
        }
    }

    /// Ends an opening whose server is unusable for the client. After a mismatch the client always gets a RST: without
    /// one it would only repeat the attempt.
    pub(super) fn refuse(
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
        self.shared.table.remove(&opening.entry);
        self.release(&mut opening);
        self.stats(opening.service, |stats| {
            stats.opened(false);
            stats.count(outcome);
        });
        None
    }

    /// Resets the server's side, if it knows of the connection.
    pub(super) fn abort_server(&self, opening: &Opening, out: &mut impl Out) {
        if opening.phase != Phase::Queued {
            out.send(&opening.server, &opening.abort_server(), &[]);
        }
    }

    /// Reports a server's options to the control thread.
    fn report(
        &mut self,
        now: u64,
        id: u32,
        opening: &Opening,
        syn_ack: &ServerSynAck,
        refused: OptionSet,
    ) {
        let hold = self.policy(opening.service).hold_bytes;
        let hold = hold.min(u32::from(INITIAL_WINDOW)) as u16;
        let profile = syn_ack.refine(&opening.offered, hold);
        let refuses = !refused.is_empty();
        let differs = refuses || profile != opening.offered;
        if self.shares.is_report_due(now, id, differs, refuses) {
            // If the queue is full, a later SYN-ACK says the same.
            let _ = self.shared.observations.push(Observation {
                address: opening.key.server,
                port: opening.key.server_port(),
                profile,
                requested: opening.requested.set(),
                refused,
            });
        }
    }
}
