//! Openings that fail or retry: the server refuses, is silent or has a stale connection; the client aborts; tables are
//! full.

use super::*;

#[test]
fn a_refusal_resets_the_client() {
    both(|mut lab| {
        lab.open(&data(0, b"hello"));
        lab.only();
        // Ignores a RST that does not acknowledge our SYN.
        lab.server(&TestSegment {
            acknowledgement: C,
            ..refusal()
        });
        assert_eq!((lab.sent().len(), lab.flow().state), (0, state::OPENING));
        lab.server(&refusal());
        let refused = lab.only();
        assert_eq!(
            (refused.numbers(), refused.is_to_server()),
            (RST_TO_CLIENT, false)
        );
        assert_eq!((lab.entry(), lab.counted(Outcome::Refused)), (None, 1));
        lab.assert_idle();
    });
}

#[test]
fn without_reset_when_down_a_refusal_is_silent() {
    let policy = Policy {
        reset_when_down: false,
        ..POLICY
    };
    both_with(policy, |mut lab| {
        lab.open(&ack());
        lab.only();
        lab.server(&refusal());
        assert_eq!((lab.entry(), lab.counted(Outcome::Refused)), (None, 1));
        lab.assert_idle();
        lab.open(&ack());
        lab.wait(31_000);
        assert_eq!(lab.sent().len(), 7);
        lab.wait(1000);
        assert_eq!((lab.entry(), lab.counted(Outcome::TimedOut)), (None, 1));
        lab.assert_idle();
    });
}

#[test]
fn syns_to_a_silent_server_are_retransmitted_until_the_timeout() {
    both(|mut lab| {
        lab.open(&data(0, b"hello"));
        assert_eq!(lab.only().numbers(), SYN);
        let mut sent = Vec::new();
        for milliseconds in (10..33_000).step_by(10) {
            lab.wait(10);
            sent.extend(lab.sent().iter().map(|one| (milliseconds, one.numbers())));
        }
        let syns = [250, 750, 1750, 3750, 7750, 15_750].map(|at| (at, SYN));
        let expected: Vec<_> = syns.into_iter().chain([(31_750, RST_TO_CLIENT)]).collect();
        assert_eq!(sent.len(), expected.len(), "{sent:?}");
        for ((at, what), (due, expected)) in sent.into_iter().zip(expected) {
            assert_eq!(what, expected);
            // The splicer checks its timers every 20 ms, and each interval begins when the previous one was noticed.
            assert!((due..=due + 160).contains(&at), "at {at} ms, due at {due}");
        }
        assert_eq!((lab.entry(), lab.counted(Outcome::TimedOut)), (None, 1));
        lab.assert_idle();
    });
}

/// A server that fails over, or whose SYN was lost: the client is served as soon as it answers.
#[test]
fn a_server_that_was_silent_for_many_seconds_gets_the_connection() {
    both(|mut lab| {
        lab.open(&data(0, b"hello"));
        lab.wait(14_000);
        lab.sent();
        lab.server(&syn_ack());
        assert_eq!(lab.only().payload, b"hello");
        assert_eq!(lab.flow().state, state::ESTABLISHED);
        lab.assert_idle();
    });
}

/// What a server with an old connection on these ports answers to the SYN: a challenge ACK, or the SYN-ACK to another SYN.
fn answers_of_a_stale_connection() -> [TestSegment<'static>; 2] {
    let challenge = TestSegment {
        sequence: 77,
        acknowledgement: 0x1234_5678,
        flags: flags::ACK,
        options: padded_timestamps(SERVER_CLOCK, 1),
        payload: b"",
    };
    let wrong = TestSegment {
        acknowledgement: 0x1234_5678,
        ..syn_ack()
    };
    [challenge, wrong]
}

/// RFC 9293 §3.10.7.3, and figure 10 there: the server's side is half-open.
#[test]
fn a_stale_connection_at_the_server_is_reset_and_the_syn_retransmitted() {
    for stale in answers_of_a_stale_connection() {
        both(|mut lab| {
            lab.open(&data(0, b"hello"));
            lab.only();
            lab.server(&stale);
            let sent = lab.sent();
            assert!(sent.iter().all(Sent::is_to_server));
            let numbers: Vec<_> = sent.iter().map(Sent::numbers).collect();
            assert_eq!(numbers, [(0x1234_5678, 0, flags::RST), SYN]);
            assert_eq!(lab.counted(Outcome::StaleReset), 1);
            lab.server(&syn_ack());
            assert_eq!(lab.only().payload, b"hello");
            assert_eq!(lab.flow().state, state::ESTABLISHED);
            lab.assert_idle();
        });
    }
}

#[test]
fn a_cookie_without_timestamps_resets_no_stale_connection() {
    for stale in answers_of_a_stale_connection() {
        both(|mut lab| {
            lab.open(&TestSegment {
                options: NO_OPTIONS,
                ..data(0, b"hello")
            });
            lab.only();
            lab.server(&stale);
            // The client alone hears of it; the server gets no RST.
            assert_eq!(lab.only().numbers(), RST_TO_CLIENT);
            assert_eq!((lab.entry(), lab.counted(Outcome::StaleKept)), (None, 1));
            assert_eq!(lab.counted(Outcome::StaleReset), 0);
            lab.assert_idle();
        });
    }
}

/// The only frame sent resets the server, and nothing of the opening is left.
fn assert_aborted(lab: &mut Lab) {
    let abort = lab.only();
    assert_eq!(
        (abort.numbers(), abort.is_to_server()),
        (RST_TO_SERVER, true)
    );
    assert_eq!((lab.entry(), lab.counted(Outcome::Aborted)), (None, 1));
    lab.assert_idle();
}

#[test]
fn a_client_reset_resets_the_server() {
    both(|mut lab| {
        lab.open(&data(0, b"hello"));
        lab.only();
        let reset = TestSegment {
            flags: flags::RST,
            ..data(5, b"")
        };
        // Outside the range that the client can have sent.
        lab.client(&TestSegment {
            sequence: C.wrapping_sub(1),
            ..reset
        });
        assert_eq!(lab.sent().len(), 0);
        lab.client(&reset);
        assert_aborted(&mut lab);
    });
}

/// The XDP program had not seen the opening yet, so the RST came with its cookie.
#[test]
fn a_reset_right_behind_its_ack_resets_the_server() {
    both(|mut lab| {
        let reset = TestSegment {
            flags: flags::RST | flags::ACK,
            ..data(0, b"")
        };
        lab.open(&reset);
        assert_eq!((lab.sent().len(), lab.entry()), (0, None), "nothing to end");
        lab.open(&data(0, b""));
        lab.only();
        lab.open(&reset);
        assert_aborted(&mut lab);
    });
}

#[test]
fn full_tables_drop_the_opening_and_keep_nothing() {
    both(|mut lab| {
        // A single bucket of fifteen ways.
        lab.shared.table = Arc::new(FlowTable::in_memory(10).unwrap());
        lab.splicer = Splicer::new(1, lab.shared.clone(), Arc::clone(&lab.stats));
        let key = lab.key;
        for port in 1..=16 {
            lab.key = FlowKey::new(key.client, port, key.server, 80);
            lab.open(&ack());
        }
        assert_eq!(lab.counted(Outcome::TableFull), 1);
        assert_eq!(lab.wire.sent.len(), 15);
        assert_eq!(lab.splicer.free.len(), PLACES - 15);
    });
}

#[test]
fn an_opening_whose_entry_has_expired_ends_without_data() {
    both(|mut lab| {
        for answers in [true, false] {
            lab.open(&data(0, b"hello"));
            lab.only();
            // The process was stopped, and the sweep came first.
            let entry = lab.entry().unwrap();
            assert!(lab.shared.table.remove_entry(entry));
            if answers {
                let (packet, l4) = lab.packet(false, &syn_ack());
                lab.shared.table.insert(&lab.stolen()).unwrap();
                lab.splicer
                    .segment(lab.now, entry, &packet, l4, None, &mut lab.wire);
                assert_eq!(lab.sent().len(), 0, "the entry is another worker's");
                lab.shared.table.remove_entry(lab.entry().unwrap());
            }
            lab.wait(2000);
            assert_eq!(lab.sent().len(), 0, "no SYN is repeated for it");
            lab.assert_idle();
        }
        assert_eq!(lab.counted(Outcome::TimedOut), 2);
    });
}
