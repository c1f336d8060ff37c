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
