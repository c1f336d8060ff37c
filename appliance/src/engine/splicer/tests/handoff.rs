//! Hands validated clients off to their servers.

use synward_core::wire::checksum::pseudo_header;

use super::*;
use crate::engine::received::Received;

#[test]
fn a_valid_cookie_opens_and_establishes_the_flow() {
    both(|mut lab| {
        lab.open(&ack());
        let syn = lab.only();
        assert_eq!(syn.numbers(), SYN);
        assert_eq!(syn.options(), REQUESTED_OF_SERVER.words());
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
            "the server's own TSval, unchanged"
        );
        assert_eq!(third.segment.tcp.window, WINDOW);
        let flow = lab.flow();
        assert_eq!(S.wrapping_add(flow.sequence_delta), K);
        assert_eq!(SERVER_CLOCK.wrapping_add(flow.timestamp_delta), OUR_CLOCK);
        assert_eq!((flow.client_sequence, flow.server_sequence), (C + 1, S + 1));
        assert_eq!(
            (flow.state, flow.window_shift, flow.flags),
            (state::ESTABLISHED, 0, flow_flags::TIMESTAMPS)
        );
        assert_eq!(lab.counted(Outcome::Established), 1);
        let latency = lab.stats[0].latency();
        assert!((latency.sum_seconds - 0.003).abs() < 1e-9);
        lab.assert_idle();
    });
}

#[test]
fn a_client_without_options_gets_none() {
    both(|mut lab| {
        lab.valid_ack.options = ClientOptions {
            mss: 536,
            ..ClientOptions::default()
        };
        lab.open(&TestSegment {
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
        lab.server(&TestSegment {
            options: bare.words(),
            ..syn_ack()
        });
        let third = lab.only();
        assert_eq!((third.numbers(), third.options()), (THIRD_ACK, NO_OPTIONS));
        let flow = lab.flow();
        assert_eq!((flow.flags, flow.timestamp_delta), (0, 0));
        assert_eq!((flow.state, flow.window_shift), (state::ESTABLISHED, 0));
        lab.assert_idle();
    });
}

#[test]
fn early_data_replaces_the_bare_ack_in_order_and_once() {
    both(|mut lab| {
        let request = TestSegment {
            flags: flags::ACK | flags::PSH | flags::URG,
            ..data(0, b"GET ")
        };
        lab.open(&request);
        lab.client(&data(4, b"/ HTTP"));
        lab.client(&data(4, b"/ HTTP"));
        lab.client(&TestSegment {
            flags: flags::ACK | flags::FIN,
            options: padded_timestamps(CLIENT_CLOCK + 9, OUR_CLOCK),
            ..data(10, b"")
        });
        // After a gap: the bytes before it come later from the client, or never.
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
        // Segments that arrived later with an older TSval get the latest one too.
        let latest = padded_timestamps(CLIENT_CLOCK + 9, SERVER_CLOCK);
        assert!(sent.iter().all(|sent| sent.options() == latest));
        assert_eq!(
            lab.flow().flags,
            flow_flags::TIMESTAMPS | flow_flags::CLIENT_FIN
        );
        lab.assert_idle();
    });
}

#[test]
fn data_over_the_limit_is_counted_and_dropped() {
    let policy = Policy {
        hold_bytes: 10,
        ..POLICY
    };
    both_with(policy, |mut lab| {
        lab.open(&data(0, b"12345678"));
        lab.client(&data(8, b"90A"));
        lab.client(&data(8, b"90"));
        assert_eq!(lab.counted(Outcome::HoldFull), 1);
        assert_eq!(lab.stats[0].held_bytes.load(Relaxed), 10);
        lab.only();
        lab.server(&syn_ack());
        let payloads: Vec<_> = lab.sent().into_iter().map(|sent| sent.payload).collect();
        assert_eq!(payloads, [&b"12345678"[..], b"90"]);
        lab.assert_idle();
    });
}

/// What a kernel leaves in the checksum field for the hardware: the sum of the pseudo header.
fn unfinished((mut packet, l4): (Vec<u8>, u8)) -> (Vec<u8>, u8) {
    let received = Received::read(&packet, 0, usize::from(l4)).unwrap();
    let (source, destination) = (received.source, received.destination);
    let sum = pseudo_header(&source, &destination, received.length() as u16);
    packet[usize::from(l4) + 16..][..2].copy_from_slice(&sum.fold().to_ne_bytes());
    (packet, l4)
}

#[test]
fn checksums_left_to_the_hardware_are_counted_apart() {
    both(|mut lab| {
        let (packet, l4) = unfinished(lab.packet(true, &ack()));
        lab.open_with(&packet, l4);
        assert_eq!(lab.counted(Outcome::UnfinishedChecksum), 1);
        lab.open(&ack());
        lab.only();
        for (from_client, segment) in [(true, data(0, b"hello")), (false, syn_ack())] {
            let (packet, l4) = unfinished(lab.packet(from_client, &segment));
            lab.receive(&packet, l4);
        }
        assert_eq!(lab.counted(Outcome::UnfinishedChecksum), 3);
        assert_eq!(lab.counted(Outcome::BadChecksum), 0);
    });
}

#[test]
fn segments_with_a_wrong_checksum_are_counted_and_ignored() {
    both(|mut lab| {
        let (mut packet, l4) = lab.packet(true, &data(0, b"hello"));
        *packet.last_mut().unwrap() ^= 1;
        lab.open_with(&packet, l4);
        assert_eq!((lab.entry(), lab.counted(Outcome::BadChecksum)), (None, 1));
        lab.assert_idle();

        lab.open(&ack());
        lab.only();
        lab.receive(&packet, l4);
        let damaged = |(mut packet, l4): (Vec<u8>, u8)| {
            packet[usize::from(l4) + 14] ^= 0x40; // the window
            (packet, l4)
        };
        for says in [syn_ack(), refusal()] {
            let (packet, l4) = damaged(lab.packet(false, &says));
            lab.receive(&packet, l4);
        }
        assert_eq!(lab.counted(Outcome::BadChecksum), 4);
        assert_eq!((lab.sent().len(), lab.flow().state), (0, state::OPENING));
        // Truncated, or not IP: not counted either.
        lab.receive(&packet[..packet.len() - 1], l4);
        lab.receive(&[], l4);
        lab.receive(&packet, 255);
        lab.server(&syn_ack());
        assert_eq!(lab.only().numbers(), THIRD_ACK);
        lab.assert_idle();
    });
}

#[test]
fn only_a_segment_that_acknowledges_our_isn_adds_data() {
    both(|mut lab| {
        lab.open(&ack());
        lab.only();
        for acknowledgement in [K, K + 2, 0] {
            lab.client(&TestSegment {
                acknowledgement,
                ..data(0, b"forged")
            });
        }
        for flags in [flags::PSH, flags::SYN | flags::ACK] {
            lab.client(&TestSegment {
                flags,
                ..data(0, b"forged")
            });
        }
        lab.server(&syn_ack());
        assert_eq!(lab.only().payload, b"");
        lab.assert_idle();
    });
}

#[test]
fn an_unknown_path_to_the_server_is_learned_from_its_syn_ack() {
    both(|mut lab| {
        lab.valid_ack.hop = Hop::default();
        lab.open(&ack());
        lab.server(&syn_ack());
        let links: Vec<_> = lab.wire.sent.drain(..).map(|sent| sent.link).collect();
        let learned = Link::reverse(9, &[9; 14]);
        assert_eq!(links, [Link::KERNEL, learned].map(|link| link.with_ttl(63)));
        lab.assert_idle();
    });
}

/// A server may accept only a TTL of 254 and more (GTSM, RFC 5082).
#[test]
fn segments_in_the_clients_name_have_its_ttl_less_one() {
    for (received, sent) in [(255, 254), (64, 63), (1, 1)] {
        both(|mut lab| {
            let (mut packet, l4) = lab.packet(true, &ack());
            let at = if lab.key.client.is_v4() { 8 } else { 7 };
            packet[at] = received;
            lab.open_with(&packet, l4);
            lab.server(&syn_ack());
            for one in lab.wire.sent.drain(..) {
                let mut packet = [0; 200];
                one.link.emit(&one.segment, &mut packet, b"").unwrap();
                assert_eq!(packet[at], sent);
            }
        });
    }
}

#[test]
fn a_reset_that_was_on_its_way_to_the_opening_closes_the_flow() {
    both(|mut lab| {
        lab.open(&ack());
        lab.server(&syn_ack());
        let reset = TestSegment {
            flags: flags::RST,
            acknowledgement: 0,
            ..ack()
        };
        for (ahead, state) in [(1 << 20, state::ESTABLISHED), (0, state::CLOSING)] {
            lab.client(&TestSegment {
                sequence: reset.sequence.wrapping_add(ahead),
                ..reset
            });
            assert_eq!(lab.flow().state, state);
        }
        assert_eq!(lab.wire.by_kernel.len(), 2, "the server gets both");
        lab.sent();
        lab.assert_idle();
    });
}

/// The XDP program had not seen the opening yet.
#[test]
fn data_right_behind_its_ack_is_held_like_the_first() {
    both(|mut lab| {
        let behind = data(5, b"world");
        lab.behind_ack(&behind);
        assert_eq!((lab.sent().len(), lab.entry()), (0, None), "no opening");
        lab.open(&data(0, b"hello"));
        lab.only();
        lab.behind_ack(&behind);
        lab.server(&syn_ack());
        let payloads: Vec<_> = lab.sent().into_iter().map(|sent| sent.payload).collect();
        assert_eq!(payloads.concat(), b"helloworld");
    });
}
