//! What comes right behind an ACK with a valid cookie, before its flow is in the table.

use synward_core::counters::Counter;
use synward_core::worker_request::Request;

use crate::acks::dropped;
use crate::frame_builder::{ACK, FIN, PSH, RST, Segment, stack};
use crate::steer::{Side, in_a_moment, in_namespace};
use crate::{DROP, REDIRECT, needs_root};

/// A RST right behind the ACK of its handshake, as health checks send it: the worker may not have seen that ACK yet.
#[test]
fn a_reset_right_behind_its_ack_goes_to_the_worker() {
    needs_root!();
    in_namespace(|steer| {
        steer.beat();
        for family in [0, 1] {
            for options in [stack::linux(), stack::windows()] {
                let ack = steer.shake_hands(&Segment::syn(family, options));
                let reset = Segment {
                    flags: RST | ACK,
                    ..ack.clone()
                };
                let seen = steer.run(Side::Outside, &reset.bytes());
                let request = seen.request(family == 0).request;
                assert!(matches!(request, Request::Open { .. }), "{request:?}");
                let others = [
                    Segment {
                        flags: RST,
                        ..reset.clone()
                    },
                    Segment {
                        sequence: reset.sequence.wrapping_add(1),
                        ..reset.clone()
                    },
                    Segment {
                        acknowledgement: reset.acknowledgement ^ 1 << 9,
                        ..reset
                    },
                ];
                for other in others {
                    let case = dropped("no such handshake", &other, &[Counter::DropUnknown]);
                    steer.check(vec![case]);
                }
            }
        }
    });
}

/// The rest of a client's first data, and its RST: the flow is not in the table yet.
#[test]
fn what_comes_right_behind_an_ack_goes_to_the_worker() {
    needs_root!();
    for family in [0, 1] {
        let tags = [vec![], vec![(0x88a8, 100), (0x8100, 7)]];
        for (options, tags) in [stack::linux(), stack::windows()].into_iter().zip(tags) {
            in_namespace(|steer| {
                let _port = steer.bind_socket();
                steer.beat();
                let ack = steer.shake_hands(&Segment {
                    tags: tags.clone(),
                    ..Segment::syn(family, options.clone())
                });
                let behind = [ACK | PSH, FIN | ACK, RST | ACK].map(|flags| Segment {
                    sequence: ack.sequence.wrapping_add(1400),
                    payload: b"POST /".to_vec(),
                    flags,
                    ..ack.clone()
                });
                for segment in &behind {
                    let seen = steer.run(Side::Outside, &segment.bytes());
                    assert_eq!(seen.verdict, DROP, "no ACK came");
                }
                for segment in &behind {
                    let (before, seen) = in_a_moment(|| {
                        let seen = steer.run(Side::Outside, &ack.bytes());
                        assert_eq!(seen.verdict, REDIRECT, "the ACK");
                        let before = steer.counters();
                        (before, steer.run(Side::Outside, &segment.bytes()))
                    });
                    assert_eq!(seen.verdict, REDIRECT, "{:#x}", segment.flags);
                    steer.assert_counted(&before, &[], "no wrong cookie");
                    let mut other_flow = segment.clone();
                    other_flow.source.set_port(segment.source.port() ^ 1 << 6);
                    let other_number = Segment {
                        acknowledgement: segment.acknowledgement ^ 1 << 9,
                        ..segment.clone()
                    };
                    for other in [other_flow, other_number] {
                        let seen = steer.run(Side::Outside, &other.bytes());
                        assert_eq!(seen.verdict, DROP, "in the same place");
                    }
                }
                std::thread::sleep(std::time::Duration::from_millis(400));
                let seen = steer.run(Side::Outside, &behind[0].bytes());
                assert_eq!(seen.verdict, DROP, "later");
            });
        }
    }
}
