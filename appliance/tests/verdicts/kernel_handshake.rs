//! SYNs that only the server's kernel can answer: those with a small MSS, and signed ones.

use std::net::TcpListener;
use std::time::Instant;

use synward_core::counters::Counter;
use synward_core::layout::handoff;
use synward_core::worker_request::Request;

use crate::frame_builder::{SERVERS, SYN, Segment, stack};
use crate::local_services::locally;
use crate::steer::{Side, Steer, in_namespace};
use crate::{DROP, PASS, REDIRECT, TX, needs_root, outside};

/// The least MSS that the kernel takes, by family.
const LEAST: [u16; 2] = [536, 1220];

/// A SYN with this MSS and the other options of a stack.
fn syn(family: usize, mss: u16, mut options: Vec<u8>) -> Segment {
    options[2..4].copy_from_slice(&mss.to_be_bytes());
    Segment {
        options,
        ..Segment::from_client(family, SYN)
    }
}

#[test]
fn the_kernel_answers_syns_with_an_mss_that_it_does_not_take_from_us() {
    needs_root!();
    const PASSED: &[Counter] = &[Counter::Syn, Counter::Passed];
    const FORWARDED: &[Counter] = &[Counter::Syn, Counter::Forwarded];
    for (handoff, left, counted, counted_tagged) in [
        (handoff::LOCAL, PASS, Counter::Passed, PASSED),
        (handoff::FORWARD, REDIRECT, Counter::Forwarded, FORWARDED),
    ] {
        in_namespace(|steer| {
            steer.policy(|service| service.handoff = handoff);
            for (family, least) in LEAST.into_iter().enumerate() {
                // The kernel forwards what leaves by a VLAN.
                std::thread::sleep(std::time::Duration::from_millis(15));
                let tagged = Segment {
                    tags: vec![(0x88a8, 100), (0x8100, 7)],
                    ..syn(family, least - 1, stack::linux())
                };
                steer.check(vec![outside("tagged", &tagged, PASS, counted_tagged)]);
                for options in [stack::linux(), stack::windows(), vec![2, 4, 0, 0]] {
                    // A program that remembers a jiffy leaves few of these SYNs to the kernel in each.
                    std::thread::sleep(std::time::Duration::from_millis(15));
                    for mss in [64, least - 1] {
                        let before = steer.counters();
                        let asked = syn(family, mss, options.clone());
                        let seen = steer.run(Side::Outside, &asked.bytes());
                        assert_eq!(seen.verdict, left, "MSS {mss}, family {family}");
                        steer.assert_counted(&before, &[Counter::Syn, counted], "left");
                    }
                }
                // Stacks that do not send the MSS first.
                let odd = vec![1, 1, 4, 2, 2, 4, 0, 64];
                let asked = Segment {
                    options: odd,
                    ..Segment::from_client(family, SYN)
                };
                std::thread::sleep(std::time::Duration::from_millis(15));
                assert_eq!(steer.run(Side::Outside, &asked.bytes()).verdict, left);
            }
        });
    }
}

#[test]
fn a_splicing_edge_and_larger_segments_need_no_kernel() {
    needs_root!();
    in_namespace(|steer| {
        for (handoff, least) in [(handoff::SPLICE, [64; 2]), (handoff::FORWARD, LEAST)] {
            steer.policy(|service| service.handoff = handoff);
            for (family, mss) in least.into_iter().enumerate() {
                for options in [stack::linux(), stack::windows()] {
                    let seen = steer.run(Side::Outside, &syn(family, mss, options).bytes());
                    assert_eq!(seen.verdict, TX, "MSS {mss}, family {family}");
                }
            }
        }
    });
}

/// More SYNs than a CPU leaves to the kernel in a second, which is 256.
const FLOOD: u64 = 1_000;

/// Sends the SYN that often, and returns how often it was left to the kernel and how often answered.
fn flood(steer: &mut Steer, asked: &Segment) -> (u64, u64) {
    let frame = asked.bytes();
    let before = steer.counters();
    for _ in 0..FLOOD {
        steer.run(Side::Outside, &frame);
    }
    let after = steer.counters();
    let moved = |counter: Counter| after[counter as usize] - before[counter as usize];
    let left = moved(Counter::Passed) + moved(Counter::Forwarded);
    (left, moved(Counter::AnsweredXdp))
}

#[test]
fn a_flood_of_them_does_not_reach_the_kernel() {
    needs_root!();
    locally(|steer, family| {
        let _listener = TcpListener::bind(SERVERS[family]).unwrap();
        let began = Instant::now();
        let (left, answered) = flood(steer, &syn(family, 64, stack::linux()));
        let seconds = began.elapsed().as_secs();
        assert_eq!(left + answered, FLOOD);
        // It may see the end of one second and the begin of another, and more if this machine stops.
        let most = 256 * (seconds + 2);
        assert!((256..=most).contains(&left), "{left}, {seconds} s");
    });
}

/// In a flood of SYNs with a small MSS, clients with one get the least MSS that the kernel takes.
#[test]
fn clients_with_a_small_mss_connect_in_a_flood_of_them() {
    needs_root!();
    locally(|steer, family| {
        let _listener = TcpListener::bind(SERVERS[family]).unwrap();
        steer.beat();
        for handoff in [handoff::LOCAL, handoff::FORWARD] {
            for (port, options) in [(40_001, stack::linux()), (40_002, stack::windows())] {
                steer.policy(|service| service.handoff = handoff);
                let flooding = syn(family, 256, options);
                let mut asked = flooding.clone();
                asked.source.set_port(port);
                // A second may end right after the flood. The next one begins with SYNs for the kernel.
                let mut attempts = 0;
                let (before, ack) = loop {
                    attempts += 1;
                    assert!(attempts < 10, "answered by the kernel, whatever the flood");
                    flood(steer, &flooding);
                    let before = steer.counters();
                    if let Some(ack) = steer.answered(&asked) {
                        break (before, ack);
                    }
                };
                let counted = &[Counter::Syn, Counter::SmallMss, Counter::AnsweredXdp];
                steer.assert_counted(&before, counted, "answered");
                // What the cookie says.
                steer.policy(|service| service.handoff = handoff::SPLICE);
                let seen = steer.run(Side::Outside, &ack.bytes());
                let Request::Open { options, .. } = seen.request(family == 0).request else {
                    panic!("no request to open: {seen:?}");
                };
                assert!(options.mss <= LEAST[family], "{}", options.mss);
            }
        }
    });
}

/// The options of a SYN under TCP-MD5 and under TCP-AO, and a length of options that those of Linux have as well.
fn signed() -> [Vec<u8>; 3] {
    let md5 = [&[2, 4, 5, 180, 1, 1, 19, 18][..], &[7; 16], &[1, 3, 3, 7]].concat();
    let long = [&[2, 4, 5, 180, 1, 1, 4, 2, 29, 20, 1, 1][..], &[7; 16]].concat();
    let short = [&[2, 4, 5, 180, 29, 16, 1, 1][..], &[7; 12]].concat();
    [md5, long, short]
}

#[test]
fn signed_syns_are_for_the_listener_that_has_the_key() {
    needs_root!();
    for (handoff, verdict, counted) in [
        (handoff::LOCAL, PASS, Counter::Passed),
        (handoff::FORWARD, REDIRECT, Counter::Forwarded),
        (handoff::SPLICE, DROP, Counter::DropSigned),
    ] {
        in_namespace(|steer| {
            steer.policy(|service| service.handoff = handoff);
            for family in [0, 1] {
                for options in signed() {
                    std::thread::sleep(std::time::Duration::from_millis(15));
                    let asked = Segment {
                        options,
                        ..Segment::from_client(family, SYN)
                    };
                    let before = steer.counters();
                    let seen = steer.run(Side::Outside, &asked.bytes());
                    assert_eq!(seen.verdict, verdict, "family {family}");
                    steer.assert_counted(&before, &[Counter::Syn, counted], "signed");
                }
            }
        });
    }
}
