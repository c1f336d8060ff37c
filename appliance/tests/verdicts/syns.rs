//! SYNs of every stack, and the SYN-ACKs that they get.

use etherparse::TcpOptionElement::{
    self, MaximumSegmentSize, SelectiveAcknowledgementPermitted as Sack, Timestamp, WindowScale,
};
use synward_core::client_options::NO_SCALE;
use synward_core::counters::Counter;
use synward_core::layout::Profile;
use synward_core::worker_request::{META_WORDS, Request};

use crate::frame_builder::{self, CLIENT_MAC, CWR, ECE, OUT_MAC, SYN, Segment, stack};
use crate::frame_reader::{options, read};
use crate::steer::{PROFILE, SERVICE, SPARSE, Side, Steer, in_namespace};
use crate::{DROP, REDIRECT, TX, needs_root};

/// A SYN with these options.
pub(crate) fn syn(family: usize, options: Vec<u8>) -> Segment {
    Segment {
        options,
        ..Segment::from_client(family, SYN)
    }
}

/// Sends a SYN and checks everything about the SYN-ACK but its options, which it returns.
pub(crate) fn answered(steer: &mut Steer, what: &str, syn: &Segment) -> Vec<TcpOptionElement> {
    let before = steer.counters();
    let seen = steer.run(Side::Outside, &syn.bytes());
    assert_eq!(seen.verdict, TX, "{what}");
    steer.assert_counted(&before, &[Counter::Syn, Counter::AnsweredXdp], what);
    let answer = read(&seen.frame);
    assert_eq!((answer.to, answer.from), (CLIENT_MAC, OUT_MAC), "{what}");
    let tags: Vec<u16> = syn.tags.iter().map(|(_, tag)| tag & 0xfff).collect();
    assert_eq!(answer.vlans, tags, "{what}");
    assert_eq!(
        (answer.source, answer.destination),
        (syn.destination, syn.source),
        "{what}"
    );
    assert!(answer.tcp.syn && answer.tcp.ack, "{what}");
    assert!(
        !answer.tcp.fin && !answer.tcp.rst && !answer.tcp.psh && !answer.tcp.urg && !answer.tcp.cwr
    );
    // RFC 9293 §3.10.7.2: the SYN alone is acknowledged, never data that came with it.
    assert_eq!(
        answer.tcp.acknowledgment_number,
        syn.sequence.wrapping_add(1),
        "{what}"
    );
    assert!(
        answer.payload.is_empty() && answer.dont_fragment && answer.ttl == 64,
        "{what}"
    );
    assert_eq!(
        answer.trailing, 0,
        "nothing of the SYN is left behind the answer: {what}"
    );
    options(&answer.tcp)
}

/// Our TSval is part of the cookie: its value is unpredictable, but it must be there, and TSecr must echo the client's.
pub(crate) fn without_tsval(options: Vec<TcpOptionElement>) -> Vec<TcpOptionElement> {
    let hide = |option| match option {
        Timestamp(_, tsecr) => Timestamp(0, tsecr),
        other => other,
    };
    options.into_iter().map(hide).collect()
}

#[test]
fn every_stack_gets_the_options_that_it_and_the_server_support() {
    needs_root!();
    let rare = vec![2, 4, 2, 24, 3, 3, 14, 1, 4, 2, 1, 1]; // MSS 536, wscale 14, SACK
    let odd = [
        &[1, 254, 4, 0xab, 0xcd, 8, 10][..],
        &[0, 0, 0, 9, 0, 0, 0, 0, 1, 1, 1],
        &[2, 4, 5, 180, 0, 0],
    ]
    .concat();
    let table = [
        (
            "Linux",
            stack::linux(),
            vec![
                MaximumSegmentSize(1460),
                Sack,
                Timestamp(0, 77),
                WindowScale(9),
            ],
        ),
        (
            "Windows",
            stack::windows(),
            vec![MaximumSegmentSize(1460), Sack, WindowScale(9)],
        ),
        (
            "macOS",
            stack::macos(),
            vec![
                MaximumSegmentSize(1460),
                Sack,
                Timestamp(0, 77),
                WindowScale(9),
            ],
        ),
        ("no options", vec![], vec![MaximumSegmentSize(1460)]),
        (
            "MSS alone",
            vec![2, 4, 5, 180],
            vec![MaximumSegmentSize(1460)],
        ),
        (
            "wscale alone",
            vec![3, 3, 2, 0],
            vec![MaximumSegmentSize(1460), WindowScale(9)],
        ),
        (
            "in another order",
            rare,
            vec![MaximumSegmentSize(1460), Sack, WindowScale(9)],
        ),
        (
            "unknown and unaligned options",
            odd,
            vec![MaximumSegmentSize(1460), Timestamp(0, 9)],
        ),
        (
            "an option that ends beyond the header",
            vec![2, 4, 5, 180, 4, 2, 8, 10],
            vec![MaximumSegmentSize(1460), Sack],
        ),
        (
            "an option of no length",
            vec![2, 4, 5, 180, 8, 0, 4, 2],
            vec![MaximumSegmentSize(1460)],
        ),
        (
            "20 leading NOPs",
            [&[1; 20][..], &stack::linux()].concat(),
            vec![
                MaximumSegmentSize(1460),
                Sack,
                Timestamp(0, 77),
                WindowScale(9),
            ],
        ),
        (
            "31 leading NOPs",
            [&[1; 31][..], &[2, 4, 5, 180, 3, 3, 7, 4, 2]].concat(),
            vec![MaximumSegmentSize(1460), Sack, WindowScale(9)],
        ),
        (
            "all 40 bytes",
            [&stack::linux()[..], &[254, 20], &[7; 18]].concat(),
            vec![
                MaximumSegmentSize(1460),
                Sack,
                Timestamp(0, 77),
                WindowScale(9),
            ],
        ),
    ];
    in_namespace(|steer| {
        for family in [0, 1] {
            for (what, asked, expected) in &table {
                let got = answered(steer, what, &syn(family, asked.clone()));
                assert_eq!(&without_tsval(got), expected, "{what}, family {family}");
            }
        }
    });
}

/// A client that offers AccECN accepts classic ECN (RFC 9768 §3.1.1, table 2).
#[test]
fn accurate_ecn_is_answered_as_classic_ecn() {
    needs_root!();
    in_namespace(|steer| {
        for family in [0, 1] {
            for padding in [0, 6] {
                for (options, ecn) in [(stack::linux(), true), (stack::windows(), false)] {
                    let asked = Segment {
                        flags: SYN | ECE | CWR,
                        accurate_ecn: true,
                        padding,
                        ..syn(family, options)
                    };
                    let answer = read(&steer.run(Side::Outside, &asked.bytes()).frame).tcp;
                    assert!(answer.syn && answer.ack && !answer.cwr && !answer.ns);
                    assert_eq!(answer.ece, ecn, "family {family}, padding {padding}");
                }
            }
        }
    });
}

#[test]
fn only_options_of_the_server_are_offered() {
    needs_root!();
    in_namespace(|steer| {
        for (family, server) in frame_builder::SERVERS.into_iter().enumerate() {
            steer.endpoint(server, SPARSE);
            let got = answered(steer, "a sparse server", &syn(family, stack::linux()));
            assert_eq!(got, [MaximumSegmentSize(536)]);
            steer.endpoint(
                server,
                Profile {
                    flags: 1,
                    window_scale: 3,
                    ..SPARSE
                },
            );
            let got = answered(steer, "no timestamps", &syn(family, stack::linux()));
            assert_eq!(got, [MaximumSegmentSize(536), Sack, WindowScale(3)]);
            steer.endpoint(
                server,
                Profile {
                    window_scale: NO_SCALE,
                    ..PROFILE
                },
            );
            let got = answered(steer, "no scaling", &syn(family, stack::linux()));
            assert_eq!(
                without_tsval(got),
                [MaximumSegmentSize(1460), Sack, Timestamp(0, 77)]
            );
        }
    });
}

#[test]
fn ecn_is_negotiated_as_in_rfc_3168_or_not_at_all() {
    needs_root!();
    in_namespace(|steer| {
        let echo = |steer: &mut Steer, flags| {
            let seen = steer.run(
                Side::Outside,
                &Segment {
                    flags,
                    ..syn(0, stack::linux())
                }
                .bytes(),
            );
            let answer = read(&seen.frame);
            (answer.tcp.ece, answer.tcp.cwr)
        };
        assert_eq!(
            echo(steer, SYN | ECE | CWR),
            (true, false),
            "ECN-setup SYN (RFC 3168 §6.1.1)"
        );
        assert_eq!(echo(steer, SYN | ECE), (false, false), "half of it");
        assert_eq!(echo(steer, SYN), (false, false), "none of it");
        steer.endpoint(
            frame_builder::SERVERS[0],
            Profile {
                flags: 3,
                ..PROFILE
            },
        );
        assert_eq!(
            echo(steer, SYN | ECE | CWR),
            (false, false),
            "the server does not do it"
        );
    });
}

#[test]
fn a_live_worker_answers_if_afxdp_is_chosen() {
    needs_root!();
    in_namespace(|steer| {
        steer.answer_by_worker();
        answered(steer, "no worker was ever alive", &syn(0, stack::linux()));

        steer.beat();
        for family in [0, 1] {
            let frame = Segment {
                tags: vec![(0x8100, 7)],
                ..syn(family, stack::linux())
            }
            .bytes();
            let before = steer.counters();
            let seen = steer.run(Side::Outside, &frame);
            // There is no socket in the map yet.
            assert_eq!(seen.verdict, DROP);
            let counted = [Counter::Syn, Counter::GivenToWorker, Counter::DropNoWorker];
            steer.assert_counted(&before, &counted, "no socket");
            let meta = seen.request(family == 0);
            assert_eq!(meta.request, Request::Answer { profile: PROFILE });
            assert_eq!((meta.l3, u32::from(meta.service)), (18, SERVICE));
            assert_eq!(meta.l4, if family == 0 { 38 } else { 58 });
            assert_eq!(seen.frame, frame, "the worker gets the frame as it came");
        }
    });
    const { assert!(META_WORDS == 8 && REDIRECT == 4) };
}

#[test]
fn no_key_no_answer() {
    needs_root!();
    in_namespace(|steer| {
        use crate::steer::{EPOCH, Shared};
        let index = synward_core::layout::key_slot(SERVICE, EPOCH);
        steer.set(
            "KEYS",
            index,
            Shared(synward_core::layout::KeySlot {
                epoch: EPOCH - 256,
                keys: [[1; 2]; 4],
            }),
        );
        let before = steer.counters();
        assert_eq!(
            steer.run(Side::Outside, &syn(0, vec![]).bytes()).verdict,
            DROP
        );
        steer.assert_counted(
            &before,
            &[Counter::Syn, Counter::DropNoKey],
            "keys of a past epoch",
        );
    });
}
