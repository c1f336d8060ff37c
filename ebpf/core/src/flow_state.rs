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
mod tests {
    use super::*;
    use flow_flags::{CLIENT_FIN, RESET, SERVER_FIN, SERVER_FIRST, UNSURE};
    use state::{CLOSING, ESTABLISHED};

    const FIN: u8 = flags::FIN | flags::ACK;
    /// The client's numbers wrap soon, ours and the server's differ.
    const CLIENT: u32 = 0xffff_ff00;
    const SERVER: u32 = 0x1000_0000;
    const DELTA: u32 = 0x9000_0001;

    fn flow() -> Flow {
        Flow {
            client_sequence: CLIENT,
            server_sequence: SERVER,
            sequence_delta: DELTA,
            state: ESTABLISHED,
            last_seen: FlowTime::from_word(5),
            ..Flow::default()
        }
    }

    /// A segment whose numbers are `client` and `server` bytes away from those of the flow.
    fn segment(direction: Direction, flags: u8, client: u32, server: u32) -> Observed {
        let (client, server) = (CLIENT.wrapping_add(client), SERVER.wrapping_add(server));
        let (sequence, acknowledgement) = match direction {
            Direction::ToServer => (client, server.wrapping_add(DELTA)),
            Direction::ToClient => (server, client),
        };
        Observed {
            direction,
            sequence,
            acknowledgement,
            flags,
            has_data: false,
        }
    }

    fn data(direction: Direction) -> Observed {
        Observed {
            has_data: true,
            ..segment(direction, flags::ACK, 100, 100)
        }
    }

    fn may_change(flow: &Flow, segment: &Observed, now: FlowTime) -> bool {
        let numbers = (segment.sequence, segment.acknowledgement);
        flow.may_change(segment.direction, numbers, segment.flags, now)
    }

    const NOW: FlowTime = FlowTime::from_word(6);
    const SIDES: [(Direction, Direction, u8, u8); 2] = [
        (
            Direction::ToServer,
            Direction::ToClient,
            CLIENT_FIN,
            SERVER_FIN,
        ),
        (
            Direction::ToClient,
            Direction::ToServer,
            SERVER_FIN | SERVER_FIRST,
            CLIENT_FIN,
        ),
    ];

    #[test]
    fn a_flow_closes_when_both_sides_have_ended() {
        for (first, second, mark, other) in SIDES {
            let mut flow = flow();
            flow.observe(&segment(first, FIN, 0, 0), NOW);
            assert_eq!((flow.state, flow.flags), (ESTABLISHED, mark), "half-closed");
            flow.observe(&data(second), NOW);
            assert_eq!((flow.state, flow.flags), (ESTABLISHED, mark));
            flow.observe(&segment(second, FIN, 0, 0), NOW);
            assert_eq!((flow.state, flow.flags), (CLOSING, mark | other));
            flow.observe(&segment(first, flags::ACK, 1, 1), NOW);
            assert_eq!(flow.state, CLOSING, "the last ACK");
            flow.observe(&data(Direction::ToClient), NOW);
            assert_eq!(flow.state, CLOSING, "the server repeats its data");
            flow.observe(&data(Direction::ToServer), NOW);
            let left = mark & !CLIENT_FIN | SERVER_FIN;
            assert_eq!((flow.state, flow.flags), (ESTABLISHED, left));
        }
    }

    #[test]
    fn a_server_that_ended_first_challenges_old_syns() {
        for (first, second, ..) in SIDES {
            let mut flow = flow();
            flow.observe(&segment(first, FIN, 0, 0), NOW);
            assert!(!flow.challenges_syn(CLIENT, NOW), "half-closed");
            flow.observe(&segment(second, FIN, 0, 1), NOW);
            let is_server = first == Direction::ToClient;
            assert_eq!(flow.challenges_syn(CLIENT, NOW), is_server);
            for (ahead, challenged) in [(LAG, true), (LAG + 1, false), (1 << 31, true)] {
                let sequence = CLIENT.wrapping_add(ahead);
                let found = flow.challenges_syn(sequence, NOW);
                assert_eq!(found, is_server && challenged, "{ahead}");
            }
            assert!(!flow.challenges_syn(CLIENT, NOW.wrapping_add(TIME_WAIT)));
            // The client answers the challenge.
            flow.observe(&segment(Direction::ToServer, flags::RST, 0, 0), NOW);
            assert!(!flow.challenges_syn(CLIENT, NOW));
        }
    }

    #[test]
    fn a_segment_out_of_window_changes_nothing() {
        let far = IN_FLIGHT + 1;
        for direction in [Direction::ToServer, Direction::ToClient] {
            for before in [
                flow(),
                Flow {
                    state: CLOSING,
                    flags: RESET,
                    ..flow()
                },
            ] {
                for (flags, client, server) in [
                    (flags::RST | flags::ACK, far, 0),
                    (flags::RST | flags::ACK, 0, far),
                    (flags::RST | flags::ACK, far.wrapping_neg(), 0),
                    (FIN, 0, far.wrapping_neg()),
                    (flags::ACK, far, 0),
                    (flags::RST, NEAR + 1, NEAR + 1),
                    (
                        flags::RST,
                        (NEAR + 1).wrapping_neg(),
                        (NEAR + 1).wrapping_neg(),
                    ),
                    (flags::SYN, 0, 0),
                    (flags::SYN | flags::ACK, 0, 0),
                    (flags::FIN, 0, 0),
                    (0, 0, 0),
                ] {
                    let mut flow = before;
                    flow.observe(&segment(direction, flags, client, server), NOW);
                    assert_eq!(flow, before, "{direction:?} {flags:#x} {client} {server}");
                }
            }
        }
    }

    #[test]
    fn a_reset_in_window_closes_until_someone_goes_on() {
        for (sender, other, ..) in SIDES {
            for (flags, client, server, marks) in [
                (
                    flags::RST | flags::ACK,
                    IN_FLIGHT,
                    IN_FLIGHT.wrapping_neg(),
                    RESET | UNSURE,
                ),
                (flags::RST | flags::ACK, LAG, LAG, RESET),
                (flags::RST, NEAR, NEAR, RESET | UNSURE),
                (flags::RST, LAG + 1, LAG + 1, RESET | UNSURE),
                (flags::RST, LAG, LAG, RESET),
                (
                    flags::RST,
                    1_u32.wrapping_neg(),
                    1_u32.wrapping_neg(),
                    RESET | UNSURE,
                ),
                (
                    flags::RST,
                    NEAR.wrapping_neg(),
                    NEAR.wrapping_neg(),
                    RESET | UNSURE,
                ),
            ] {
                let reset = segment(sender, flags, client, server);
                for living in [
                    segment(sender, flags::ACK, 0, 0),
                    segment(other, flags::ACK, 0, 0),
                    data(Direction::ToServer),
                ] {
                    let mut flow = flow();
                    flow.observe(&reset, NOW);
                    assert_eq!((flow.state, flow.flags), (CLOSING, marks));
                    assert_eq!(Flow::is_unsure(flow.flags), marks != RESET);
                    flow.observe(&living, NOW);
                    assert_eq!((flow.state, flow.flags), (ESTABLISHED, 0));
                }
            }
        }
    }

    #[test]
    fn data_on_its_way_does_not_take_a_reset_back() {
        let mut flow = flow();
        flow.observe(&segment(Direction::ToServer, flags::RST, 0, 0), NOW);
        flow.observe(&data(Direction::ToClient), NOW.wrapping_add(1));
        assert_eq!(flow.state, CLOSING);
        flow.observe(&data(Direction::ToClient), NOW.wrapping_add(3));
        assert_eq!(flow.state, ESTABLISHED);
    }

    #[test]
    fn the_numbers_follow_the_server_and_never_lag_far_behind() {
        let mut flow = Flow {
            last_seen: NOW,
            ..flow()
        };
        let (mut client, mut server) = (0u32, 0u32);
        for _ in 0..200_000 {
            (client, server) = (client.wrapping_add(9000), server.wrapping_add(60_000));
            let from_client = segment(Direction::ToServer, flags::ACK, client, server);
            assert!(!may_change(&flow, &from_client, NOW), "nothing to note");
            let from_server = segment(Direction::ToClient, flags::ACK, client, server);
            if may_change(&flow, &from_server, NOW) {
                flow.observe(&from_server, NOW);
            }
            assert_eq!(flow.state, ESTABLISHED);
            let lag = from_server.sequence.wrapping_sub(flow.server_sequence);
            assert!(lag <= LAG, "{lag}");
            assert!(
                from_server
                    .acknowledgement
                    .wrapping_sub(flow.client_sequence)
                    <= LAG
            );
        }
        // A retransmission from far behind moves nothing.
        let before = flow;
        flow.observe(
            &segment(
                Direction::ToClient,
                flags::ACK,
                client,
                server.wrapping_sub(1 << 20),
            ),
            NOW,
        );
        assert_eq!(flow, before);
        let later = NOW.wrapping_add(1);
        assert!(may_change(
            &flow,
            &segment(Direction::ToClient, flags::ACK, client, server),
            later
        ));
    }
}
