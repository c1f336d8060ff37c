//! Duplicate cookies, and new connections on the ports of an old flow.

use super::*;

#[test]
fn a_repeated_cookie_is_a_duplicate() {
    both(|mut lab| {
        lab.open(&ack());
        lab.only();
        // Another valid segment of the same client was already on its way: its data is used.
        lab.open(&data(0, b"hello"));
        assert_eq!(lab.sent().len(), 0);
        lab.server(&syn_ack());
        assert_eq!(lab.only().payload, b"hello");
        lab.assert_idle();
        // A replay after that is translated like any segment and opens nothing.
        lab.open(&ack());
        assert_eq!((lab.wire.by_kernel.len(), lab.sent().len()), (1, 0));
        assert_eq!(lab.counted(Outcome::Duplicate), 2);
        lab.assert_idle();
    });
}

#[test]
fn a_new_connection_replaces_only_a_closing_flow() {
    for (old, is_replaced) in [(state::CLOSING, true), (state::ESTABLISHED, false)] {
        both(|mut lab| {
            let before = Flow {
                key: lab.key,
                client_sequence: C,
                server_sequence: 6,
                state: old,
                ..Flow::default()
            };
            let entry = lab.shared.table.insert_established(&before).unwrap();
            let before = lab.flow();
            lab.open(&ack());
            if !is_replaced {
                assert_eq!((lab.sent().len(), lab.flow()), (0, before));
                assert_eq!(lab.counted(Outcome::Duplicate), 1);
                return lab.assert_idle();
            }
            assert_eq!(lab.only().numbers(), SYN);
            assert_eq!(lab.entry(), Some(entry));
            // A concurrent update of the old flow by the XDP program is undone when the SYN is retransmitted.
            lab.shared.table.set_state(entry, state::ESTABLISHED);
            lab.wait(250);
            assert_eq!(lab.only().numbers(), SYN);
            assert_eq!((lab.flow().state, lab.flow().owner), (state::OPENING, 1));
            lab.server(&syn_ack());
            assert_eq!(lab.only().numbers(), THIRD_ACK);
            let numbers = (lab.flow().client_sequence, lab.flow().server_sequence);
            assert_eq!(
                (lab.flow().state, numbers),
                (state::ESTABLISHED, (C + 1, S + 1))
            );
            lab.assert_idle();
        });
    }
}

#[test]
fn a_replayed_cookie_opens_nothing_whatever_became_of_its_flow() {
    both(|mut lab| {
        lab.open(&data(0, b"hello"));
        lab.server(&syn_ack());
        assert_eq!(lab.sent().len(), 2);
        let entry = lab.entry().unwrap();
        lab.close(entry);
        let old = lab.flow();
        lab.open(&data(0, b"hello"));
        assert_eq!(lab.flow(), old, "while it closes");
        assert!(lab.shared.table.remove_entry(entry));
        lab.open(&data(0, b"hello"));
        assert_eq!((lab.entry(), lab.sent().len()), (None, 0), "without it");
        assert_eq!(lab.counted(Outcome::Duplicate), 2);

        // The same client with the same ISN, and a cookie of another epoch.
        lab.valid_ack.epoch += 1;
        let again = TestSegment {
            acknowledgement: (K + 1).wrapping_add(1 << 30),
            ..ack()
        };
        lab.open(&again);
        assert_eq!(lab.only().numbers(), SYN);
        lab.server(&syn_ack());
        lab.only();
        lab.assert_idle();
    });
}
