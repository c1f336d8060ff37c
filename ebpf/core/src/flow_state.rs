//! What a segment says about its flow: whether it is in window, and whether the connection ends.
//!
//! A FIN or RST counts only if its numbers are in window, and a segment out of window changes nothing: its sender may be
//! blind, and the ends judge it by RFC 9293 §3.10.7.4 and RFC 5961 §3. The window is around two numbers of the entry: what
//! the server has acknowledged of the client's sequence space, and the server's own sequence number. Both come from the
//! server's segments, and are written once per unit of [`FlowTime`] or after `LAG` bytes.
//!
//! | segment | numbers that must be near | a blind sender's odds |
//! |---|---|---|
//! | with ACK | both within 2²⁴, the most that is expected in flight | 2⁻¹⁴ |
//! | RST without ACK | its own within 2¹⁷: it answers a segment with exactly the number expected | 2⁻¹⁴ |
//!
//! Whoever gets a RST in its window that is not the number expected answers with a challenge ACK, but ignores one out of its window
//! without a word (RFC 5961 §3.2). So a RST further ahead than `LAG` is *unsure*: its flow is as good as closed for a new
//! connection, and is kept as long as an established one.
//!
//! A flow closes when both sides have sent a FIN, or one a RST. A FIN of one side alone may be followed by hours of work
//! (half-closed). Whoever is in window after a RST has not believed it, and takes the mark back; so does a challenge ACK.
//! What was on its way when the RST passed is not counted: data of the server, who does not know of it yet.

use crate::flow_time::FlowTime;
use crate::layout::{Flow, flow_flags, state};
use crate::translate::Direction;
use crate::wire::tcp::flags;

/// The most that two numbers of a segment with ACK may be away from those of the flow, bytes.
const IN_FLIGHT: u32 = 1 << 24;
/// The same for the number of a RST without ACK.
const NEAR: u32 = 1 << 17;
/// How far the numbers of the entry lag behind at most, bytes.
const LAG: u32 = 1 << 16;
/// How long Linux stays in TIME_WAIT (`TCP_TIMEWAIT_LEN`), rounded down.
const TIME_WAIT: u32 = (60_000_000_000 / FlowTime::UNIT_NS) as u32;

/// The fields of a segment of a flow that decide, as they arrived.
#[derive(Clone, Copy, Debug)]
pub struct Observed {
    /// Who sent it.
    pub direction: Direction,
    /// SEG.SEQ.
    pub sequence: u32,
    /// SEG.ACK.
    pub acknowledgement: u32,
    /// The flags, see [`flags`].
    pub flags: u8,
    /// Whether it carries data.
    pub has_data: bool,
}

impl Flow {
    /// Whether the segment may change the entry. If not, [`Self::observe`] need not be called: nearly every segment of an
    /// established flow.
    #[inline(always)]
    pub fn may_change(
        &self,
        direction: Direction,
        (sequence, acknowledgement): (u32, u32),
        flags: u8,
        now: FlowTime,
    ) -> bool {
        self.last_seen != now
            || self.state != state::ESTABLISHED
            || flags & (flags::FIN | flags::RST) != 0
            || (matches!(direction, Direction::ToClient)
                && (sequence.wrapping_sub(self.server_sequence) > LAG
                    || acknowledgement.wrapping_sub(self.client_sequence) > LAG))
    }

    /// Whether the numbers of a client's segment with ACK, as it arrived, are in window.
    #[inline(always)]
    pub const fn is_in_window(&self, sequence: u32, acknowledgement: u32) -> bool {
        let server = acknowledgement.wrapping_sub(self.sequence_delta);
        is_within(sequence.wrapping_sub(self.client_sequence), IN_FLIGHT)
            && is_within(server.wrapping_sub(self.server_sequence), IN_FLIGHT)
    }

    /// Whether the server is in TIME_WAIT, as far as its segments say, and nobody has reset that.
    #[inline(always)]
    pub const fn is_in_time_wait(&self) -> bool {
        const ENDED: u8 = BOTH | flow_flags::SERVER_FIRST;
        self.flags & (ENDED | flow_flags::RESET) == ENDED
    }

    /// Whether the server answers a SYN without timestamps by a challenge (RFC 5961 §4) because it is in TIME_WAIT. A SYN beyond
    /// the numbers of the old connection opens the new one at once (RFC 9293 §3.10.7.4).
    #[inline(always)]
    pub const fn challenges_syn(&self, sequence: u32, now: FlowTime) -> bool {
        self.is_in_time_wait()
            && sequence.wrapping_sub(self.client_sequence) as i32 <= LAG as i32
            && now.elapsed_since(self.last_seen) < TIME_WAIT
    }

    /// Whether the marks of a closing flow may be those of a RST that its receiver has ignored.
    pub const fn is_unsure(marks: u8) -> bool {
        marks & flow_flags::UNSURE != 0 && marks & BOTH != BOTH
    }

    /// Updates time, numbers and state of an established or closing flow by a segment.
    #[inline(always)]
    pub fn observe(&mut self, segment: &Observed, now: FlowTime) {
        let has_ack = segment.flags & flags::ACK != 0;
        let (client, server, fin) = match segment.direction {
            Direction::ToServer => (
                segment.sequence,
                segment.acknowledgement.wrapping_sub(self.sequence_delta),
                flow_flags::CLIENT_FIN,
            ),
            Direction::ToClient => (
                segment.acknowledgement,
                segment.sequence,
                flow_flags::SERVER_FIN,
            ),
        };
        let ahead = (
            client.wrapping_sub(self.client_sequence),
            server.wrapping_sub(self.server_sequence),
        );
        let from_client = matches!(segment.direction, Direction::ToServer);
        let is_in_window = if segment.flags & flags::SYN != 0 {
            false
        } else if has_ack {
            is_within(ahead.0, IN_FLIGHT) && is_within(ahead.1, IN_FLIGHT)
        } else {
            segment.flags & flags::RST != 0
                && is_within(if from_client { ahead.0 } else { ahead.1 }, NEAR)
        };
        if !is_in_window {
            return;
        }
        let was_seen = self.last_seen;
        self.last_seen = now;
        if !from_client && has_ack {
            if ahead.0 <= IN_FLIGHT {
                self.client_sequence = client;
            }
            if ahead.1 <= IN_FLIGHT {
                self.server_sequence = server;
            }
        }
        let mut marks = self.flags;
        if segment.flags & flags::RST != 0 {
            marks |= flow_flags::RESET | flow_flags::UNSURE;
            if (if from_client { ahead.0 } else { ahead.1 }) <= LAG {
                marks &= !flow_flags::UNSURE;
            }
        } else if from_client || !segment.has_data || now.elapsed_since(was_seen) > 1 {
            marks &= !(flow_flags::RESET | flow_flags::UNSURE);
        }
        if segment.flags & flags::FIN != 0 {
            marks |= fin;
            if marks & BOTH == flow_flags::SERVER_FIN {
                marks |= flow_flags::SERVER_FIRST;
            }
        } else if segment.has_data && from_client && marks & BOTH == BOTH {
            // Data of a client that goes on after both sides have ended: its FIN was not its own. A server repeats its last
            // data until the client has it.
            marks &= !fin;
        }
        self.flags = marks;
        self.state = if marks & flow_flags::RESET != 0 || marks & BOTH == BOTH {
            state::CLOSING
        } else {
            state::ESTABLISHED
        };
    }
}

const BOTH: u8 = flow_flags::CLIENT_FIN | flow_flags::SERVER_FIN;

/// Whether a difference of sequence numbers is at most `most`, in either direction.
#[inline(always)]
const fn is_within(difference: u32, most: u32) -> bool {
    difference.wrapping_add(most) <= 2 * most
}

#[cfg(test)]
mod tests;
