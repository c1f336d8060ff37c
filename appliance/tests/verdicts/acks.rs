//! Cookies: valid, altered, expired.

use synward_core::client_options::ClientOptions;
use synward_core::cookie::EPOCH_NANOSECONDS;
use synward_core::counters::Counter;
use synward_core::layout::{Clock, KeySlot, key_slot};
use synward_core::worker_request::Request;

use crate::frame_builder::{ACK, FIN, IN_MAC, PSH, SERVER_MAC, Segment, padded_timestamps, stack};
use crate::frame_reader::read;
use crate::steer::{EPOCH, PROFILE, SERVICE, Shared, Side, Steer, in_namespace, key, now};
use crate::{Case, DROP, needs_root};

const VALID: &[Counter] = &[Counter::CookieValid, Counter::Waiting];
const INVALID: &[Counter] = &[Counter::CookieInvalid, Counter::DropInvalidCookie];
const EXPIRED: &[Counter] = &[Counter::CookieExpired, Counter::DropExpiredCookie];

pub(crate) fn dropped(what: &'static str, ack: &Segment, counted: &'static [Counter]) -> Case {
    Case {
        what,
        frame: ack.bytes(),
        side: Side::Outside,
        verdict: DROP,
        counted,
    }
}

#[test]
fn every_stacks_ack_is_valid_and_carries_the_options_of_its_syn() {
    needs_root!();
    let options = |mss, window_scale, sack| ClientOptions {
        mss,
        window_scale,
        sack,
        ecn: false,
    };
    let stacks = [
        (stack::linux(), options(1460, Some(7), true)),
        (stack::windows(), options(1460, Some(8), true)),
        (stack::macos(), options(1460, Some(6), true)),
        (vec![2, 4, 2, 24], options(536, None, false)),
    ];
    in_namespace(|steer| {
        steer.beat();
        for family in [0, 1] {
            for (asked, meant) in &stacks {
                let plain = steer.shake_hands(&Segment::syn(family, asked.clone()));
                let shapes = [
                    plain.clone(),
                    Segment {
                        payload: b"GET /".to_vec(),
                        flags: ACK | PSH,
                        ..plain.clone()
                    },
                    Segment {
                        payload: b"GET /".to_vec(),
                        flags: ACK | FIN,
                        ..plain.clone()
                    },
                    Segment {
                        padding: 6,
                        ..plain.clone()
                    },
                ];
                for ack in shapes {
                    let before = steer.counters();
                    let seen = steer.run(Side::Outside, &ack.bytes());
                    steer.assert_counted(
                        &before,
                        VALID,
                        "a valid cookie, and no socket to put it into",
                    );
                    assert_eq!(seen.frame, ack.bytes());
                    let Request::Open {
                        options,
                        offered,
                        hop,
                    } = seen.request(family == 0).request
                    else {
                        panic!("no request to open: {seen:?}");
                    };
                    // The IPv6 table has no 1460: 1440 is the next smaller entry.
                    let mss = if family == 1 {
                        meant.mss.min(1440)
                    } else {
                        meant.mss
                    };
                    assert_eq!(options, ClientOptions { mss, ..*meant });
                    assert_eq!(offered, PROFILE);
                    assert_eq!((hop.to, hop.from), (SERVER_MAC, IN_MAC));
                }
            }
        }
    });
}

/// An MSS, and a window shift and SACK in the order of Windows.
fn plain_options(mss: u16, scale: u8) -> Vec<u8> {
    let [high, low] = mss.to_be_bytes();
    vec![2, 4, high, low, 1, 3, 3, scale, 1, 1, 4, 2]
}

#[test]
fn clients_without_timestamps_keep_what_the_code_book_holds() {
    needs_root!();
    in_namespace(|steer| {
        steer.beat();
        let mut kept = |family: usize, asked: Vec<u8>| {
            let ack = steer.shake_hands(&Segment::syn(family, asked));
            let seen = steer.run(Side::Outside, &ack.bytes());
            let Request::Open { options, .. } = seen.request(family == 0).request else {
                panic!("no request to open: {seen:?}");
            };
            assert!(!options.ecn);
            (options.mss, options.window_scale, options.sack)
        };
        for scale in 0..=14 {
            for (family, mss) in [(0, 1460), (1, 1440)] {
                let got = kept(family, plain_options(mss, scale));
                assert_eq!(got, (mss, Some(scale), true));
            }
        }
        // Vendors of tunnels recommend 1300, 1350 and 1359.
        for (family, asked, mss) in [
            (0, 1300, 1300),
            (0, 1350, 1300),
            (0, 1359, 1300),
            (0, 1452, 1440),
            (0, 1240, 1200),
            (1, 1220, 1220),
            (1, 1339, 1280),
            (1, 1400, 1380),
        ] {
            let got = kept(family, plain_options(asked, 8));
            assert_eq!(got, (mss, Some(8), true), "{asked}");
        }
        for (family, bare, mss) in [(0, [2, 4, 5, 79], 1300), (1, [2, 4, 5, 79], 1220)] {
            assert_eq!(kept(family, bare.to_vec()), (mss, None, false));
        }
    });
}

/// The server would scale its windows for a client whose cookie has forgotten that it scales.
#[test]
fn scaling_that_a_plain_cookie_cannot_hold_is_not_offered() {
    needs_root!();
    in_namespace(|steer| {
        let without_sack = vec![2, 4, 5, 180, 1, 3, 3, 3];
        let seen = steer.run(Side::Outside, &Segment::syn(0, without_sack).bytes());
        assert_eq!(read(&seen.frame).tcp.options.as_slice(), [2, 4, 5, 180]);
    });
}

#[test]
fn without_a_worker_no_connection_is_opened() {
    needs_root!();
    in_namespace(|steer| {
        let ack = steer.shake_hands(&Segment::syn(0, stack::linux()));
        let before = steer.counters();
        let seen = steer.run(Side::Outside, &ack.bytes());
        assert_eq!((seen.verdict, seen.meta), (DROP, None));
        steer.assert_counted(&before, VALID, "no worker was ever alive");
        let long_ago = now() - 2 * synward_core::layout::HEARTBEAT_TIMEOUT;
        steer.set("HEARTBEATS", 0, long_ago);
        assert_eq!(
            steer.run(Side::Outside, &ack.bytes()).meta,
            None,
            "a worker that has died"
        );
    });
}

#[test]
fn any_altered_field_is_refused() {
    needs_root!();
    in_namespace(|steer| {
        for family in [0, 1] {
            for options in [stack::linux(), stack::windows()] {
                let good = steer.shake_hands(&Segment::syn(family, options.clone()));
                let mut cases = altered(&good);
                cases.push(dropped("and unaltered it is valid", &good, VALID));
                steer.check(cases);
            }
        }
    });
}

/// Copies of the ACK, each with one field altered.
fn altered(good: &Segment) -> Vec<Case> {
    let mut cases = vec![];
    for bit in 0..32 {
        let sequence = good.sequence ^ 1 << bit;
        cases.push(dropped(
            "sequence number",
            &Segment {
                sequence,
                ..good.clone()
            },
            INVALID,
        ));
        // The altered bits may also name an expired epoch: that has another key, too.
        let acknowledgement = good.acknowledgement ^ 1 << bit;
        cases.push(dropped(
            "acknowledgement number",
            &Segment {
                acknowledgement,
                ..good.clone()
            },
            INVALID,
        ));
    }
    for bit in [0, 7, 15] {
        let mut source = good.source;
        source.set_port(source.port() ^ 1 << bit);
        cases.push(dropped(
            "source port",
            &Segment {
                source,
                ..good.clone()
            },
            INVALID,
        ));
    }
    let mut destination = good.destination;
    destination.set_port(443);
    cases.push(dropped(
        "destination port",
        &Segment {
            destination,
            ..good.clone()
        },
        INVALID,
    ));
    let other = ["198.51.100.3", "2001:db8:c::3"][usize::from(good.source.is_ipv6())]
        .parse()
        .unwrap();
    let mut source = good.source;
    source.set_ip(other);
    cases.push(dropped(
        "source address",
        &Segment {
            source,
            ..good.clone()
        },
        INVALID,
    ));
    match crate::frame_reader::timestamps_of(&good.options) {
        Some((tsval, tsecr)) => {
            for bit in 0..32 {
                let options = padded_timestamps(tsval, tsecr ^ 1 << bit);
                cases.push(dropped(
                    "TSecr",
                    &Segment {
                        options,
                        ..good.clone()
                    },
                    INVALID,
                ));
            }
            cases.push(dropped(
                "no timestamps",
                &Segment {
                    options: vec![],
                    ..good.clone()
                },
                INVALID,
            ));
        }
        None => {
            let options = padded_timestamps(1, 2);
            cases.push(dropped(
                "timestamps out of nowhere",
                &Segment {
                    options,
                    ..good.clone()
                },
                INVALID,
            ));
        }
    }
    cases
}

/// Moves the program's clock to the middle of an epoch.
fn set_epoch(steer: &mut Steer, epoch: u64) {
    steer.set(
        "CLOCK",
        0,
        Shared(Clock {
            epoch,
            epoch_start: now() - EPOCH_NANOSECONDS / 2,
        }),
    );
}

#[test]
fn cookies_are_valid_for_three_epochs_and_recognised_for_one_more() {
    needs_root!();
    in_namespace(|steer| {
        for options in [stack::linux(), stack::windows()] {
            set_epoch(steer, EPOCH);
            let ack = steer.shake_hands(&Segment::syn(0, options));
            for (epoch, what, counted) in [
                (EPOCH - 1, "from a node whose clock is ahead", VALID),
                (EPOCH, "of this epoch", VALID),
                (EPOCH + 1, "of the epoch before", VALID),
                (EPOCH + 2, "of the one before that", EXPIRED),
                (EPOCH + 3, "older", INVALID),
            ] {
                set_epoch(steer, epoch);
                steer.check(vec![dropped(what, &ack, counted)]);
            }
        }
    });
}

#[test]
fn epochs_advance_while_no_process_sets_the_clock() {
    needs_root!();
    in_namespace(|steer| {
        let ack = steer.shake_hands(&Segment::syn(0, stack::linux()));
        let start = now() - EPOCH_NANOSECONDS / 2 - 2 * EPOCH_NANOSECONDS;
        steer.set(
            "CLOCK",
            0,
            Shared(Clock {
                epoch: EPOCH,
                epoch_start: start,
            }),
        );
        steer.check(vec![dropped("two epochs later", &ack, EXPIRED)]);
    });
}

#[test]
fn every_secret_is_accepted_and_the_first_makes_cookies() {
    needs_root!();
    in_namespace(|steer| {
        let slot = |keys| Shared(KeySlot { epoch: EPOCH, keys });
        let index = key_slot(SERVICE, EPOCH);
        let (old, new) = (key(EPOCH, 0), [5, 6]);
        let ack = steer.shake_hands(&Segment::syn(1, stack::windows()));
        steer.set("KEYS", index, slot([new, old, [0; 2], [0; 2]]));
        steer.check(vec![dropped("of the second secret", &ack, VALID)]);
        steer.set("KEYS", index, slot([new, [0; 2], [0; 2], old]));
        steer.check(vec![dropped(
            "only as many secrets as there are count",
            &ack,
            INVALID,
        )]);
        let fresh = steer.shake_hands(&Segment::syn(1, stack::windows()));
        assert_ne!(fresh.acknowledgement, ack.acknowledgement);
        steer.check(vec![dropped("of the first secret", &fresh, VALID)]);
    });
}
