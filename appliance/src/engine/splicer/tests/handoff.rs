//! How a client that has proven itself is joined with its server.

use super::*;

#[test]
fn a_client_with_a_valid_cookie_is_joined_with_its_server() {
    both(|mut lab| {
        lab.opens(&ack());
        let syn = lab.only();
        assert_eq!(syn.numbers(), SYN);
        let asked = HandshakeOptions {
            mss: 1400,
            sack: true,
            times: Some((CLIENT_CLOCK, 0)),
            scale: Some(6),
        };
        assert_eq!(syn.options(), asked.words());
        // A SYN's window is not scaled.
        assert_eq!(syn.segment.tcp.window, WINDOW << 6);
        assert_eq!((lab.flow().state, lab.flow().owner), (state::OPENING, 1));
        assert_eq!(lab.stats[0].openings.load(Relaxed), 1);

        lab.now += 3 * MILLISECOND;
        lab.server(&syn_ack());
        let third = lab.only();
        assert_eq!(third.numbers(), THIRD_ACK);
        assert_eq!(
            third.options(),
            padded_timestamps(CLIENT_CLOCK, SERVER_CLOCK),
            "the server's own TSval, to the letter"
        );
        assert_eq!(third.segment.tcp.window, WINDOW);
        let flow = lab.flow();
        assert_eq!(S.wrapping_add(flow.sequence_delta), K);
        assert_eq!(SERVER_CLOCK.wrapping_add(flow.timestamp_delta), OUR_CLOCK);
        assert_eq!((flow.client_isn, flow.isn), (C, K));
        assert_eq!(
            (flow.state, flow.window_shift, flow.flags),
            (state::ESTABLISHED, 0, flow_flags::TIMESTAMPS)
        );
        assert_eq!(lab.counted(Outcome::Established), 1);
        let latency = lab.stats[0].latency();
        assert!((latency.sum_seconds - 0.003).abs() < 1e-9);
        lab.is_at_rest();
    });
}

#[test]
fn a_client_that_asked_for_little_gets_no_more() {
    both(|mut lab| {
        lab.valid_ack.options = ClientOptions {
            mss: 536,
            ..ClientOptions::default()
        };
        lab.opens(&Says {
            options: NO_OPTIONS,
            ..ack()
        });
        let syn = lab.only();
        let bare = HandshakeOptions {
            mss: 536,
            sack: false,
            times: None,
            scale: None,
        };
        assert_eq!(
            (syn.options(), syn.segment.tcp.window),
            (bare.words(), WINDOW)
        );
        lab.server(&Says {
            options: bare.words(),
            ..syn_ack()
        });
        let third = lab.only();
        assert_eq!((third.numbers(), third.options()), (THIRD_ACK, NO_OPTIONS));
        let flow = lab.flow();
        assert_eq!((flow.flags, flow.timestamp_delta), (0, 0));
        assert_eq!((flow.state, flow.window_shift), (state::ESTABLISHED, 0));
        lab.is_at_rest();
    });
}

#[test]
fn early_data_goes_instead_of_a_bare_ack_in_order_and_once() {
    both(|mut lab| {
        let request = Says {
            flags: flags::ACK | flags::PSH | flags::URG,
            ..data(0, b"GET ")
        };
        lab.opens(&request);
        lab.client(&data(4, b"/ HTTP"));
        lab.client(&data(4, b"/ HTTP"));
        lab.client(&Says {
            flags: flags::ACK | flags::FIN,
            options: padded_timestamps(CLIENT_CLOCK + 9, OUR_CLOCK),
            ..data(10, b"")
        });
        // One of a gap: the bytes in front come later, from the client or never.
        lab.client(&data(60000, b"far"));
        lab.only();
        lab.server(&syn_ack());
        let sent = lab.sent();
        let got: Vec<_> = sent
            .iter()
            .map(|sent| (sent.numbers(), &sent.payload[..]))
            .collect();
        let at = |ahead: u32| C.wrapping_add(1).wrapping_add(ahead);
        let expected: [(_, &[u8]); 4] = [
            ((at(0), S + 1, flags::ACK | flags::PSH), b"GET "),
            ((at(4), S + 1, flags::ACK), b"/ HTTP"),
            ((at(10), S + 1, flags::ACK | flags::FIN), b""),
            ((at(60000), S + 1, flags::ACK), b"far"),
        ];
        assert_eq!(got, expected);
        // Also on what came behind it with an older clock.
        let latest = padded_timestamps(CLIENT_CLOCK + 9, SERVER_CLOCK);
        assert!(sent.iter().all(|sent| sent.options() == latest));
        assert_eq!(
            lab.flow().flags,
            flow_flags::TIMESTAMPS | flow_flags::CLIENT_FIN
        );
        lab.is_at_rest();
    });
}

#[test]
fn data_over_the_limit_is_counted_and_left_to_the_client() {
    let policy = Policy {
        hold_bytes: 10,
        ..POLICY
    };
    both_with(policy, |mut lab| {
        lab.opens(&data(0, b"12345678"));
        lab.client(&data(8, b"90A"));
        lab.client(&data(8, b"90"));
        assert_eq!(lab.counted(Outcome::HoldFull), 1);
        assert_eq!(lab.stats[0].held_bytes.load(Relaxed), 10);
        lab.only();
        lab.server(&syn_ack());
        let payloads: Vec<_> = lab.sent().into_iter().map(|sent| sent.payload).collect();
        assert_eq!(payloads, [&b"12345678"[..], b"90"]);
        lab.is_at_rest();
    });
}

#[test]
fn what_was_damaged_on_its_way_is_counted_and_changes_nothing() {
    both(|mut lab| {
        let (mut packet, l4) = lab.packet(true, &data(0, b"hello"));
        *packet.last_mut().unwrap() ^= 1;
        lab.opens_with(&packet, l4);
        assert_eq!((lab.entry(), lab.counted(Outcome::BadChecksum)), (None, 1));
        lab.is_at_rest();

        lab.opens(&ack());
        lab.only();
        lab.arrives(&packet, l4);
        let damaged = |(mut packet, l4): (Vec<u8>, u8)| {
            packet[usize::from(l4) + 14] ^= 0x40; // the window
            (packet, l4)
        };
        for says in [syn_ack(), refusal()] {
            let (packet, l4) = damaged(lab.packet(false, &says));
            lab.arrives(&packet, l4);
        }
        assert_eq!(lab.counted(Outcome::BadChecksum), 4);
        assert_eq!((lab.sent().len(), lab.flow().state), (0, state::OPENING));
        // Cut short, or not IP at all: not even counted.
        lab.arrives(&packet[..packet.len() - 1], l4);
        lab.arrives(&[], l4);
        lab.arrives(&packet, 255);
        lab.server(&syn_ack());
        assert_eq!(lab.only().numbers(), THIRD_ACK);
        lab.is_at_rest();
    });
}

#[test]
fn only_the_one_who_saw_our_isn_adds_data() {
    both(|mut lab| {
        lab.opens(&ack());
        lab.only();
        for acknowledgement in [K, K + 2, 0] {
            lab.client(&Says {
                acknowledgement,
                ..data(0, b"forged")
            });
        }
        for flags in [flags::PSH, flags::SYN | flags::ACK] {
            lab.client(&Says {
                flags,
                ..data(0, b"forged")
            });
        }
        lab.server(&syn_ack());
        assert_eq!(lab.only().payload, b"");
        lab.is_at_rest();
    });
}

#[test]
fn a_server_whose_way_is_not_known_yet_is_answered_where_it_came_from() {
    both(|mut lab| {
        lab.valid_ack.hop = Hop::default();
        lab.opens(&ack());
        lab.server(&syn_ack());
        let links: Vec<_> = lab.wire.sent.drain(..).map(|sent| sent.link).collect();
        assert_eq!(links, [Link::KERNEL, Link::reverse(9, &[9; 14])]);
        lab.is_at_rest();
    });
}
