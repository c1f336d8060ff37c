//! The splicer's stories, over IPv4 and IPv6.

mod lab;

use std::sync::atomic::Ordering::Relaxed;

use synward_ebpf::flow::FlowKey;
use synward_ebpf::layout::profile_flags;
use synward_ebpf::segment::{HandshakeOptions, padded_timestamps};

use super::*;
use crate::steering::FlowTable;
use lab::*;

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
        assert_eq!(lab.tallies[0].openings.load(Relaxed), 1);

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
        let latency = lab.tallies[0].latency();
        assert!((latency.sum_seconds - 0.003).abs() < 1e-9);
        lab.is_at_rest();
    });
}

#[test]
fn a_client_that_asked_for_little_gets_no_more() {
    both(|mut lab| {
        lab.redeemed.options = ClientOptions {
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
        assert_eq!(lab.tallies[0].held_bytes.load(Relaxed), 10);
        lab.only();
        lab.server(&syn_ack());
        let payloads: Vec<_> = lab.sent().into_iter().map(|sent| sent.payload).collect();
        assert_eq!(payloads, [&b"12345678"[..], b"90"]);
        lab.is_at_rest();
    });
}

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
fn a_server_that_breaks_a_promise_costs_one_connection_and_is_learned() {
    // Silence about servers that are down is not silence about promises.
    let policy = Policy {
        reset_when_down: false,
        ..POLICY
    };
    for refused in ["sack", "timestamps", "scale"] {
        both_with(policy, |mut lab| {
            lab.opens(&data(0, b"hello"));
            lab.only();
            let options = HandshakeOptions {
                mss: 1200,
                sack: refused != "sack",
                times: (refused != "timestamps").then_some((SERVER_CLOCK, CLIENT_CLOCK)),
                scale: (refused != "scale").then_some(7),
            };
            lab.server(&Says {
                options: options.words(),
                ..syn_ack()
            });
            let sent = lab.sent();
            let numbers: Vec<_> = sent.iter().map(Sent::numbers).collect();
            assert_eq!(numbers, [RST_TO_SERVER, RST_TO_CLIENT]);
            assert!(sent[0].is_to_server() && !sent[1].is_to_server());
            assert_eq!((lab.entry(), lab.counted(Outcome::Mismatch)), (None, 1));

            let learned = lab.shared.learned.pop().unwrap();
            assert!(learned.broken);
            assert_eq!((learned.address, learned.port), (lab.key.server, 80));
            let profile = learned.profile;
            assert_eq!(profile.mss, 1200);
            let does = |bit| profile.flags & bit != 0;
            assert_eq!(does(profile_flags::SACK), refused != "sack");
            assert_eq!(does(profile_flags::TIMESTAMPS), refused != "timestamps");
            assert_eq!(
                profile.window_scale == synward_ebpf::options::NO_SCALE,
                refused == "scale"
            );
            lab.is_at_rest();
        });
    }
}

#[test]
fn another_window_scale_is_translated_and_learned() {
    for (scale, shift) in [(9, 2), (0, -7), (14, 7)] {
        both(|mut lab| {
            lab.opens(&ack());
            lab.only();
            lab.server(&scaled_syn_ack(scale));
            assert_eq!(lab.only().numbers(), THIRD_ACK);
            assert_eq!(lab.flow().window_shift, shift);
            let learned = lab.shared.learned.pop().unwrap();
            assert_eq!(
                (learned.profile.window_scale, learned.broken),
                (scale, false)
            );
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

const TRUE_RTT: Policy = Policy {
    true_rtt: true,
    ..POLICY
};

#[test]
fn with_the_true_round_trip_a_probe_comes_first() {
    both_with(TRUE_RTT, |mut lab| {
        lab.opens(&ack());
        lab.only();
        lab.server(&syn_ack());
        let probe = lab.only();
        assert_eq!(
            (probe.numbers(), probe.is_to_server()),
            ((K, C.wrapping_add(1), flags::ACK), false)
        );
        assert_eq!(probe.options(), padded_timestamps(OUR_CLOCK, CLIENT_CLOCK));
        assert_eq!(probe.segment.tcp.window, Profile::default().window >> 7);
        // Data was on its way before the probe; the server repeats itself.
        lab.client(&data(0, b"hello"));
        lab.server(&syn_ack());
        assert_eq!((lab.sent().len(), lab.flow().state), (0, state::OPENING));
        lab.client(&data(5, b""));
        let third = lab.only();
        assert_eq!(
            (third.numbers(), &third.payload[..]),
            (THIRD_ACK, &b"hello"[..])
        );
        assert_eq!(
            third.options(),
            padded_timestamps(CLIENT_CLOCK, SERVER_CLOCK)
        );
        assert_eq!(lab.flow().state, state::ESTABLISHED);
        lab.is_at_rest();
    });
}

#[test]
fn a_lost_probe_is_sent_again_and_then_done_without() {
    both_with(TRUE_RTT, |mut lab| {
        lab.opens(&data(0, b"hello"));
        lab.only();
        lab.server(&syn_ack());
        lab.only();
        lab.wait(980);
        assert_eq!(lab.sent().len(), 0);
        lab.wait(60);
        assert_eq!(lab.only().numbers(), (K, C.wrapping_add(1), flags::ACK));
        lab.wait(1040);
        assert_eq!(lab.only().payload, b"hello");
        assert_eq!(lab.counted(Outcome::Established), 1);
        lab.is_at_rest();
    });
}

#[test]
fn a_server_that_resets_while_the_client_is_measured_is_believed() {
    both_with(TRUE_RTT, |mut lab| {
        lab.opens(&data(0, b"hello"));
        lab.server(&syn_ack());
        lab.sent();
        lab.server(&Says {
            sequence: S + 1,
            flags: flags::RST,
            options: NO_OPTIONS,
            ..syn_ack()
        });
        assert_eq!(lab.only().numbers(), RST_TO_CLIENT);
        assert_eq!((lab.entry(), lab.counted(Outcome::Refused)), (None, 1));
        lab.is_at_rest();
    });
}

/// An IP packet as etherparse sees it, whose checksum it has computed itself.
fn parsed(packet: &[u8]) -> (etherparse::TcpHeader, Vec<u8>) {
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    let sliced = SlicedPacket::from_ip(packet).unwrap();
    let Some(TransportSlice::Tcp(tcp)) = sliced.transport else {
        panic!("not TCP");
    };
    let header = tcp.to_header();
    let payload = tcp.payload();
    let checksum = match sliced.net.unwrap() {
        NetSlice::Ipv4(ip) => {
            assert_eq!(usize::from(ip.header().total_len()), packet.len());
            let ip = ip.header();
            header.calc_checksum_ipv4_raw(ip.source(), ip.destination(), payload)
        }
        NetSlice::Ipv6(ip) => {
            let ip = ip.header();
            assert_eq!(40 + usize::from(ip.payload_length()), packet.len());
            header.calc_checksum_ipv6_raw(ip.source(), ip.destination(), payload)
        }
        NetSlice::Arp(_) => panic!("not IP"),
    };
    assert_eq!(header.checksum, checksum.unwrap());
    (header, payload.to_vec())
}

#[test]
fn a_segment_that_was_overtaken_by_the_joining_is_translated() {
    use etherparse::TcpOptionElement::{SelectiveAcknowledgement, Timestamp};
    let timestamps = |header: &etherparse::TcpHeader| {
        header.options_iterator().find_map(|option| match option {
            Ok(Timestamp(tsval, tsecr)) => Some((tsval, tsecr)),
            _ => None,
        })
    };
    both(|mut lab| {
        lab.opens(&ack());
        lab.server(&scaled_syn_ack(9));
        lab.sent();

        // The client's, with a SACK block at an odd place, in a frame that was padded.
        let mut options = [8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 5, 10, 0, 0, 0, 0, 0, 0, 0, 0];
        let numbers = [CLIENT_CLOCK + 5, OUR_CLOCK + 7, K + 0x1000, K + 0x1100];
        for (at, number) in [2, 6, 12, 16].into_iter().zip(numbers) {
            options[at..at + 4].copy_from_slice(&number.to_be_bytes());
        }
        let (words, _) = options.as_chunks();
        let with_sack = Says {
            options: (std::array::from_fn(|at| u32::from_ne_bytes(words[at])), 5),
            ..data(0, b"hi")
        };
        let (mut packet, l4) = lab.packet(true, &with_sack);
        packet.extend([0xee; 6]);
        lab.arrives(&packet, l4);
        let (header, payload) = parsed(&lab.wire.by_kernel.pop().unwrap());
        assert_eq!(payload, b"hi");
        assert_eq!(
            (header.sequence_number, header.acknowledgment_number),
            (C + 1, S + 1)
        );
        assert_eq!(header.window_size, WINDOW);
        assert_eq!(
            timestamps(&header),
            Some((CLIENT_CLOCK + 5, SERVER_CLOCK.wrapping_add(7)))
        );
        let block = (S.wrapping_add(0x1000), S.wrapping_add(0x1100));
        let sack = SelectiveAcknowledgement(block, [None; 3]);
        assert!(
            header
                .options_iterator()
                .any(|option| option == Ok(sack.clone()))
        );

        // The server's.
        lab.server(&Says {
            sequence: S + 1,
            flags: flags::ACK | flags::PSH,
            options: padded_timestamps(SERVER_CLOCK + 2, CLIENT_CLOCK),
            payload: b"welcome",
            ..syn_ack()
        });
        let (header, payload) = parsed(&lab.wire.by_kernel.pop().unwrap());
        assert_eq!(payload, b"welcome");
        assert_eq!(
            (header.sequence_number, header.acknowledgment_number),
            (K + 1, C + 1)
        );
        assert_eq!(header.window_size, WINDOW << 2);
        assert_eq!(timestamps(&header), Some((OUR_CLOCK + 2, CLIENT_CLOCK)));
        lab.is_at_rest();
    });
}

#[test]
fn what_belongs_to_another_workers_opening_is_left_in_its_letter_box() {
    both(|mut lab| {
        lab.opens(&ack());
        lab.only();
        let other = Arc::new([Tally::default()]);
        let mut neighbour = Splicer::new(0, lab.shared.clone(), Arc::clone(&other) as Arc<[Tally]>);
        let entry = lab.entry().unwrap();
        let (packet, l4) = lab.packet(false, &syn_ack());
        neighbour.segment(lab.now, entry, &packet, l4, None, &mut lab.wire);
        // A second cookie segment that came by the neighbour's queue.
        let (more, _) = lab.packet(true, &data(0, b"hello"));
        neighbour.open(
            lab.now,
            &more,
            l4,
            &lab.redeemed,
            Link::KERNEL,
            &mut lab.wire,
        );
        assert!(!neighbour.is_waiting() && lab.sent().is_empty());

        let mailbox = &lab.shared.mailboxes[1];
        let letters = [mailbox.queue.pop().unwrap(), mailbox.queue.pop().unwrap()];
        assert_eq!(
            (letters[0].entry, &letters[0].packet[..]),
            (entry, &packet[..])
        );
        assert_eq!(
            (letters[1].entry, &letters[1].packet[..]),
            (entry, &more[..])
        );
        for letter in letters.iter().rev() {
            lab.splicer.segment(
                lab.now,
                letter.entry,
                &letter.packet,
                letter.l4,
                None,
                &mut lab.wire,
            );
        }
        assert_eq!(lab.only().payload, b"hello");
        lab.is_at_rest();

        // A letter box that nobody empties.
        lab.shared.table.remove(entry);
        lab.opens(&ack());
        lab.only();
        let entry = lab.entry().unwrap();
        for _ in 0..=crate::engine::message::WAITING {
            neighbour.segment(lab.now, entry, &packet, l4, None, &mut lab.wire);
        }
        assert_eq!(other[0].of(Outcome::MessageLost), 1);
    });
}

#[test]
fn a_server_whose_way_is_not_known_yet_is_answered_where_it_came_from() {
    both(|mut lab| {
        lab.redeemed.hop = Hop::default();
        lab.opens(&ack());
        lab.server(&syn_ack());
        let links: Vec<_> = lab.wire.sent.drain(..).map(|sent| sent.link).collect();
        assert_eq!(links, [Link::KERNEL, Link::back(9, &[9; 14])]);
        lab.is_at_rest();
    });
}

#[test]
fn full_tables_refuse_and_forget() {
    both(|mut lab| {
        // A single bucket of fifteen ways.
        lab.shared.table = Arc::new(FlowTable::in_memory(10).unwrap());
        lab.splicer = Splicer::new(1, lab.shared.clone(), Arc::clone(&lab.tallies));
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
