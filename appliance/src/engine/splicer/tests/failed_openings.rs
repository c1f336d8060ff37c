//! Nothing comes of it: the server refuses, is silent or has an older connection; the client gives up; there is no room.

use super::*;

#[test]
fn a_server_that_refuses_is_told_to_the_client() {
    both(|mut lab| {
        lab.opens(&data(0, b"hello"));
        lab.only();
        // A RST that does not acknowledge our SYN is not about it.
        lab.server(&Says {
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
        lab.is_at_rest();
    });
}

#[test]
fn a_server_that_refuses_is_kept_silent_about_where_that_is_wanted() {
    let policy = Policy {
        reset_when_down: false,
        ..POLICY
    };
    both_with(policy, |mut lab| {
        lab.opens(&ack());
        lab.only();
        lab.server(&refusal());
        assert_eq!((lab.entry(), lab.counted(Outcome::Refused)), (None, 1));
        lab.is_at_rest();
        lab.opens(&ack());
        lab.wait(3000);
        assert_eq!(lab.sent().len(), 4);
        lab.wait(1000);
        assert_eq!((lab.entry(), lab.counted(Outcome::TimedOut)), (None, 1));
        lab.is_at_rest();
    });
}

#[test]
fn a_silent_server_is_asked_again_and_then_given_up() {
    both(|mut lab| {
        lab.opens(&data(0, b"hello"));
        assert_eq!(lab.only().numbers(), SYN);
        let mut heard = Vec::new();
        for milliseconds in (10..5000).step_by(10) {
            lab.wait(10);
            heard.extend(lab.sent().iter().map(|sent| (milliseconds, sent.numbers())));
        }
        let expected = [(250, SYN), (750, SYN), (1750, SYN), (3750, RST_TO_CLIENT)];
        assert_eq!(heard.len(), expected.len(), "{heard:?}");
        for ((at, what), (due, expected)) in heard.into_iter().zip(expected) {
            assert_eq!(what, expected);
            // The splicer looks every 20 ms, and each pause begins when the one before was seen to be over.
            assert!((due..=due + 80).contains(&at), "at {at} ms, due at {due}");
        }
        assert_eq!((lab.entry(), lab.counted(Outcome::TimedOut)), (None, 1));
        lab.is_at_rest();
    });
}

/// RFC 9293 §3.10.7.3, and figure 10 there: the server's side is half-open.
#[test]
fn an_older_connection_at_the_server_is_reset_and_the_server_asked_again() {
    let challenge = Says {
        sequence: 77,
        acknowledgement: 0x1234_5678,
        flags: flags::ACK,
        options: padded_timestamps(SERVER_CLOCK, 1),
        payload: b"",
    };
    let wrong = Says {
        acknowledgement: 0x1234_5678,
        ..syn_ack()
    };
    for stale in [challenge, wrong] {
        both(|mut lab| {
            lab.opens(&data(0, b"hello"));
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
            lab.is_at_rest();
        });
    }
}

#[test]
fn a_client_that_gives_up_ends_it_at_the_server_too() {
    both(|mut lab| {
        lab.opens(&data(0, b"hello"));
        lab.only();
        let reset = Says {
            flags: flags::RST,
            ..data(5, b"")
        };
        // Far from what it can have sent: not the client.
        lab.client(&Says {
            sequence: C.wrapping_sub(1),
            ..reset
        });
        assert_eq!(lab.sent().len(), 0);
        lab.client(&reset);
        let abort = lab.only();
        assert_eq!(
            (abort.numbers(), abort.is_to_server()),
            (RST_TO_SERVER, true)
        );
        assert_eq!((lab.entry(), lab.counted(Outcome::Aborted)), (None, 1));
        lab.is_at_rest();
    });
}

#[test]
fn full_tables_refuse_and_forget() {
    both(|mut lab| {
        // A single bucket of fifteen ways.
        lab.shared.table = Arc::new(FlowTable::in_memory(10).unwrap());
        lab.splicer = Splicer::new(1, lab.shared.clone(), Arc::clone(&lab.stats));
        let key = lab.key;
        for port in 1..=16 {
            lab.key = FlowKey::new(key.client, port, key.server, 80);
            lab.opens(&ack());
        }
        assert_eq!(lab.counted(Outcome::TableFull), 1);
        assert_eq!(lab.wire.sent.len(), 15);
        lab.wire.sent.clear();

        lab.splicer.free.clear();
        lab.opens(&ack());
        assert_eq!(lab.counted(Outcome::OpeningsFull), 1);
        assert_eq!(lab.wire.sent.len(), 0);
    });
}
