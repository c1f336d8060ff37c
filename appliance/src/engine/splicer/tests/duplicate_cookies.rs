//! The same client once more.

use super::*;

#[test]
fn the_same_cookie_again_is_a_duplicate() {
    both(|mut lab| {
        lab.opens(&ack());
        lab.only();
        // Another valid segment of the same client that was on its way: its data counts.
        lab.opens(&data(0, b"hello"));
        assert_eq!(lab.sent().len(), 0);
        lab.server(&syn_ack());
        assert_eq!(lab.only().payload, b"hello");
        lab.is_at_rest();
        // Replayed after that: translated like any segment, opens nothing.
        lab.opens(&ack());
        assert_eq!((lab.wire.by_kernel.len(), lab.flow().isn), (1, K));
        assert_eq!(lab.counted(Outcome::Duplicate), 2);
        lab.is_at_rest();
    });
}

#[test]
fn a_new_connection_takes_the_place_of_a_closing_one_only() {
    for (old, is_replaced) in [(state::CLOSING, true), (state::ESTABLISHED, false)] {
        both(|mut lab| {
            let before = Flow {
                key: lab.key,
                client_isn: 5,
                isn: 6,
                state: old,
                ..Flow::default()
            };
            let entry = lab.shared.table.insert(&before).unwrap();
            lab.opens(&ack());
            if !is_replaced {
                assert_eq!((lab.sent().len(), lab.flow()), (0, before));
                assert_eq!(lab.counted(Outcome::Duplicate), 1);
                return lab.is_at_rest();
            }
            assert_eq!(lab.only().numbers(), SYN);
            assert_eq!(lab.entry(), Some(entry));
            // What the XDP program was just doing with the old one is undone when the SYN is sent again.
            lab.shared
                .table
                .establish(entry, &Established::default(), 5);
            lab.wait(250);
            assert_eq!(lab.only().numbers(), SYN);
            assert_eq!((lab.flow().state, lab.flow().owner), (state::OPENING, 1));
            lab.server(&syn_ack());
            assert_eq!(lab.only().numbers(), THIRD_ACK);
            assert_eq!((lab.flow().state, lab.flow().isn), (state::ESTABLISHED, K));
            lab.is_at_rest();
        });
    }
}

#[test]
fn the_pair_of_a_closing_flow_does_not_open_it_again() {
    both(|mut lab| {
        let old = Flow {
            key: lab.key,
            client_isn: C,
            isn: K,
            state: state::CLOSING,
            ..Flow::default()
        };
        lab.shared.table.insert(&old).unwrap();
        lab.opens(&ack());
        assert_eq!(lab.flow(), old);
        assert_eq!(lab.counted(Outcome::Duplicate), 1);
        lab.is_at_rest();
    });
}
