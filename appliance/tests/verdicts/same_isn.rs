//! A client that restarts and connects again from the same port with the same ISN, as embedded devices do, gets a connection;
//! a replay of its first handshake gets none.

use std::net::TcpListener;

use synward_core::counters::Counter;
use synward_core::flow_time::FlowTime;
use synward_core::layout::{Flow, flow_flags, handoff, state};

use crate::frame_builder::{ACK, FIN, PSH, RST, SERVERS, SYN, Segment, stack};
use crate::local_services::locally;
use crate::spliced_flows::flow;
use crate::steer::{EPOCH, Side, Steer, in_namespace, now};
use crate::{DROP, PASS, REDIRECT, TX, needs_root};

const REPLAYED: &[Counter] = &[Counter::CookieValid, Counter::DropReplayedCookie];
const VALID: &[Counter] = &[Counter::CookieValid];
const OPENED: &[Counter] = &[Counter::CookieValid, Counter::Waiting];

/// Clients with and without timestamps.
fn syns(family: usize) -> [Segment; 2] {
    [stack::linux(), stack::windows()].map(|options| Segment {
        options,
        ..Segment::from_client(family, SYN)
    })
}

/// Runs a segment and checks verdict and counters.
fn expect(steer: &mut Steer, what: &str, segment: &Segment, (verdict, counted): (u32, &[Counter])) {
    let before = steer.counters();
    let seen = steer.run(Side::Outside, &segment.bytes());
    assert_eq!(seen.verdict, verdict, "{what}");
    steer.assert_counted(&before, counted, what);
}

/// Begins again and again with the same ISN: each handshake has a cookie of its own until no epoch is left.
fn begins_again(
    steer: &mut Steer,
    syn: &Segment,
    valid: (u32, &[Counter]),
    replay: (u32, &[Counter]),
) {
    let mut had: Vec<Segment> = vec![];
    let mut epochs = vec![];
    for epoch in [EPOCH, EPOCH + 1, EPOCH - 1] {
        let ack = steer.shake_hands(syn);
        for old in &had {
            assert_ne!(ack.acknowledgement, old.acknowledgement, "another cookie");
            expect(steer, "a replay", old, replay);
        }
        expect(steer, "the new handshake", &ack, valid);
        let data = Segment {
            flags: ACK | PSH,
            payload: b"GET /".to_vec(),
            ..ack.clone()
        };
        expect(steer, "the new handshake with data", &data, valid);
        had.push(ack);
        epochs.push(epoch);
        steer.remember(&had[0], &epochs);
    }
    let last = steer.shake_hands(syn);
    assert_eq!(last.acknowledgement, had[0].acknowledgement);
    expect(
        steer,
        "more in one epoch than there are cookies",
        &last,
        replay,
    );
    steer.remember(&had[0], &[]);
}

#[test]
fn a_spliced_service_answers_with_another_cookie() {
    needs_root!();
    in_namespace(|steer| {
        for by_worker in [false, true] {
            if by_worker {
                steer.answer_by_worker();
            }
            for family in [0, 1] {
                for syn in syns(family) {
                    // The flow is gone; or it is still there, and forwards what is not a new handshake.
                    begins_again(steer, &syn, (DROP, OPENED), (DROP, REPLAYED));
                    let closed = Flow {
                        state: state::CLOSING,
                        flags: flow_flags::RESET,
                        ..flow(family)
                    };
                    let entry = steer.place(closed);
                    begins_again(
                        steer,
                        &syn,
                        (DROP, OPENED),
                        (REDIRECT, &[Counter::ToServer]),
                    );
                    steer.clear(entry);
                }
            }
        }
    });
}

#[test]
fn a_worker_answers_only_with_the_current_epoch() {
    needs_root!();
    in_namespace(|steer| {
        for syn in syns(0) {
            let ack = steer.shake_hands(&syn);
            steer.answer_by_worker();
            steer.beat();
            let given = [Counter::Syn, Counter::GivenToWorker, Counter::DropNoWorker];
            expect(steer, "the first", &syn, (DROP, &given));
            steer.remember(&ack, &[EPOCH]);
            let answered = [Counter::Syn, Counter::AnsweredXdp];
            expect(steer, "the second", &syn, (TX, &answered));
            steer.remember(&ack, &[]);
            steer.set("HEARTBEATS", 0, 0u64);
        }
    });
}

#[test]
fn a_local_service_answers_with_another_cookie() {
    needs_root!();
    locally(|steer, family| {
        let _listener = TcpListener::bind(SERVERS[family]).unwrap();
        for syn in syns(family) {
            let ack = steer.shake_hands(&syn);
            expect(steer, "the first", &ack, (PASS, VALID));
            steer.remember(&ack, &[EPOCH]);
            expect(steer, "a replay", &ack, (DROP, REPLAYED));
            let again = steer.shake_hands(&syn);
            assert_ne!(again.acknowledgement, ack.acknowledgement);
            expect(steer, "the second", &again, (PASS, VALID));
            expect(steer, "still a replay", &ack, (DROP, REPLAYED));
            steer.remember(&ack, &[]);
        }
    });
}

#[test]
fn an_edge_lets_the_server_judge_what_begins_again() {
    needs_root!();
    const ANSWERED: (u32, &[Counter]) = (TX, &[Counter::Syn, Counter::AnsweredXdp]);
    const FORWARDED: (u32, &[Counter]) = (REDIRECT, &[Counter::Syn, Counter::Forwarded]);
    in_namespace(|steer| {
        steer.policy(|service| service.handoff = handoff::FORWARD);
        for family in [0, 1] {
            let [stamped, plain] = syns(family);
            let from = |syn: &Segment, port: u16, sequence| Segment {
                source: (syn.source.ip(), port).into(),
                sequence,
                ..syn.clone()
            };
            for (syn, port, other_isn) in [
                (stamped, 50_000, ANSWERED),
                (plain.clone(), 50_001, FORWARDED),
            ] {
                expect(steer, "the first", &from(&syn, port, 7), ANSWERED);
                for _ in 0..3 {
                    expect(steer, "the same ISN", &from(&syn, port, 7), FORWARDED);
                }
                expect(steer, "another ISN", &from(&syn, port, 8), other_isn);
                expect(steer, "another port", &from(&syn, port + 10, 7), ANSWERED);
            }
            // A connection that ends after longer than a minute leaves the server in TIME_WAIT.
            for (port, flags) in [(50_020, FIN | ACK), (50_021, RST)] {
                let end = Segment {
                    flags,
                    options: vec![],
                    ..from(&plain, port, 99)
                };
                expect(steer, "the end", &end, (REDIRECT, &[Counter::Forwarded]));
                expect(steer, "a new connection", &from(&plain, port, 7), FORWARDED);
            }
        }
    });
}

/// A client without timestamps comes back while its server is in TIME_WAIT. Its cookie resets nothing, because it can be guessed.
/// So its SYN goes to the server, until the client has answered the server's challenge.
#[test]
fn a_server_in_time_wait_judges_a_syn_without_timestamps() {
    needs_root!();
    const FINS: u8 = flow_flags::CLIENT_FIN | flow_flags::SERVER_FIN;
    const JUDGED: &[Counter] = &[Counter::Syn, Counter::ToServer];
    const ANSWERED: &[Counter] = &[Counter::Syn, Counter::AnsweredXdp];
    in_namespace(|steer| {
        for family in [0, 1] {
            let [stamped, mut plain] = syns(family);
            let closed = Flow {
                state: state::CLOSING,
                flags: FINS | flow_flags::SERVER_FIRST | flow_flags::TIMESTAMPS,
                last_seen: FlowTime::from_ns(now()),
                ..flow(family)
            };
            plain.sequence = closed.client_sequence;
            let client_first = Flow {
                flags: FINS,
                ..closed
            };
            let long_ago = Flow {
                last_seen: closed.last_seen.wrapping_add(60_u32.wrapping_neg()),
                ..closed
            };
            for other in [client_first, long_ago] {
                steer.place(other);
                expect(steer, "no TIME_WAIT", &plain, (TX, ANSWERED));
            }
            let entry = steer.place(closed);
            expect(steer, "timestamps", &stamped, (TX, ANSWERED));
            expect(steer, "no timestamps", &plain, (REDIRECT, JUDGED));
            let reset = Segment {
                sequence: closed.client_sequence,
                ..Segment::from_client(family, RST)
            };
            let to_server = (REDIRECT, &[Counter::ToServer][..]);
            expect(steer, "the client answers", &reset, to_server);
            expect(steer, "once more", &plain, (TX, ANSWERED));

            // The server has forgotten: its SYN-ACK must not reach a client that has not shown a cookie.
            steer.place(closed);
            let opens = Segment {
                sequence: 77,
                acknowledgement: plain.sequence.wrapping_add(1),
                ..Segment::from_server(family, SYN | ACK)
            };
            assert_eq!(steer.run(Side::Inside, &opens.bytes()).verdict, DROP);
            expect(steer, "after that", &plain, (TX, ANSWERED));
            steer.clear(entry);
        }
    });
}
