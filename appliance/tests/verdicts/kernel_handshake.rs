//! SYNs that only the server's kernel can answer: those with a small MSS, and signed ones.

use synward_core::counters::Counter;
use synward_core::layout::handoff;

use crate::frame_builder::{SYN, Segment, stack};
use crate::steer::{Side, in_namespace};
use crate::{DROP, PASS, REDIRECT, TX, needs_root};

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
    for (handoff, left, counted) in [
        (handoff::LOCAL, PASS, Counter::Passed),
        (handoff::FORWARD, REDIRECT, Counter::Forwarded),
    ] {
        in_namespace(|steer| {
            steer.policy(|service| service.handoff = handoff);
            for (family, least) in LEAST.into_iter().enumerate() {
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

#[test]
fn a_flood_of_them_does_not_reach_the_kernel() {
    needs_root!();
    in_namespace(|steer| {
        steer.policy(|service| service.handoff = handoff::LOCAL);
        let frame = syn(0, 64, stack::linux()).bytes();
        let moved = steer.run_often(&frame, 20_000);
        let (left, dropped) = (moved(Counter::Passed), moved(Counter::DropSmallMss));
        assert_eq!(left + dropped, 20_000);
        assert!((1..2_000).contains(&left), "{left}");
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
