//! Services of this machine: what follows the ACK that completes a handshake.

use std::net::TcpListener;
use std::time::Duration;

use synward_core::counters::Counter;

use crate::frame_builder::{ACK, FIN, PSH, RST, SERVERS, Segment};
use crate::local_services::{INVALID, PASSED, case, locally};
use crate::steer::{EPOCH, Steer, now};
use crate::{DROP, PASS, needs_root};

/// The rest of a client's first data waits behind its ACK in the same batch.
#[test]
fn what_comes_right_behind_an_ack_passes_to_its_listener() {
    needs_root!();
    locally(|steer, family| {
        let _listener = TcpListener::bind(SERVERS[family]).unwrap();
        for tags in [vec![], vec![(0x88a8, 100), (0x8100, 7)]] {
            let ack = steer.shake_hands(&Segment {
                tags,
                ..Segment::linux_syn(family)
            });
            let behind = |flags| Segment {
                sequence: ack.sequence.wrapping_add(1400),
                payload: b"POST /".to_vec(),
                flags,
                ..ack.clone()
            };
            let valid = &[Counter::CookieValid];
            steer.check(vec![case("before its ACK", &behind(ACK), DROP, INVALID)]);
            for (what, flags) in [
                ("data", ACK | PSH),
                ("the end", ACK | FIN),
                ("a RST", ACK | RST),
            ] {
                steer.check_in_a_moment(
                    |_| (),
                    &[
                        case("the ACK", &ack, PASS, valid),
                        case(what, &behind(flags), PASS, PASSED),
                    ],
                );
            }
            std::thread::sleep(Duration::from_millis(400));
            steer.check(vec![case("later", &behind(ACK), DROP, INVALID)]);
        }
    });
}

#[test]
fn a_handshake_gets_one_connection() {
    needs_root!();
    locally(|steer, family| {
        let _listener = TcpListener::bind(SERVERS[family]).unwrap();
        let ack = steer.shake_hands(&Segment::linux_syn(family));
        let refused = &[Counter::CookieValid, Counter::DropReplayedCookie];
        let other_cookies = [EPOCH - 2, EPOCH - 1, EPOCH + 1, EPOCH + 2];
        for (epochs, verdict, counted) in [
            (&other_cookies[..], PASS, &[Counter::CookieValid][..]),
            (&[EPOCH], DROP, refused),
        ] {
            steer.remember(&ack, epochs);
            steer.check(vec![case("the same again", &ack, verdict, counted)]);
        }
        let other = Segment {
            sequence: 4711,
            ..Segment::linux_syn(family)
        };
        let other = steer.shake_hands(&other);
        let valid = &[Counter::CookieValid];
        steer.check(vec![case("another handshake", &other, PASS, valid)]);
    });
}

/// Data that arrives right behind its ACK may have to wait for TCP. Later it is a replay.
#[test]
fn data_of_a_handshake_passes_only_a_moment_after_its_assignment() {
    needs_root!();
    locally(|steer, family| {
        let _listener = TcpListener::bind(SERVERS[family]).unwrap();
        let ack = steer.shake_hands(&Segment::linux_syn(family));
        let valid = &[Counter::CookieValid];
        let replayed = &[Counter::CookieValid, Counter::DropReplayedCookie];
        let data = Segment {
            flags: ACK | PSH,
            payload: b"GET /".to_vec(),
            ..ack.clone()
        };
        let end = Segment {
            flags: ACK | FIN,
            ..ack.clone()
        };
        steer.check(vec![case("a lost ACK, its data", &data, PASS, valid)]);
        steer.remember(&ack, &[EPOCH]);
        for (what, assigned, verdict, counted) in [
            ("never assigned", None, DROP, &replayed[..]),
            ("just now", Some(0), PASS, valid),
            ("a second ago", Some(1_000_000_000), DROP, replayed),
        ] {
            for each in [
                case("its ACK again", &ack, DROP, replayed),
                case(what, &data, verdict, counted),
                case(what, &end, verdict, counted),
            ] {
                // Each time anew: "just now" is 25 ms.
                let assign = |steer: &mut Steer| {
                    if let Some(age) = assigned {
                        steer.note_assignment(&ack, now() - age);
                    }
                };
                steer.check_in_a_moment(assign, &[each]);
            }
        }
        let mut other = Segment::linux_syn(family);
        other.source.set_port(40_002);
        let other = steer.shake_hands(&other);
        steer.remember(&other, &[EPOCH]);
        let data = Segment {
            flags: ACK | PSH,
            payload: b"GET /".to_vec(),
            ..other
        };
        steer.check(vec![case("another handshake", &data, DROP, replayed)]);
    });
}
