//! Budgets of replies to one client prefix.

use std::net::IpAddr;

use synward_core::counters::Counter;
use synward_core::layout::{handoff, unknown_policy};
use synward_core::reply_budget;

use crate::frame_builder::{ACK, SYN, Segment, stack};
use crate::steer::{Side, Steer, in_namespace};
use crate::{PASS, needs_root};

const BUDGET: u32 = 100;
/// The most requests of one test, and the dropped ones after which it ends.
const MOST: u32 = 200_000;
const ENOUGH: u64 = 1000;

fn syn(family: usize) -> Segment {
    Segment {
        options: stack::linux(),
        ..Segment::from_client(family, SYN)
    }
}

fn wrong_ack(family: usize) -> Segment {
    Segment {
        acknowledgement: 77,
        options: crate::frame_builder::padded_timestamps(1, 2),
        ..Segment::from_client(family, ACK)
    }
}

/// Sends a segment until enough of its replies are dropped, each time as it is: a reply in a repeated test run would be
/// the next run's input. Returns the replies and the dropped ones.
fn flood(steer: &mut Steer, segment: &Segment, reply: Counter) -> [u64; 2] {
    let frame = segment.bytes();
    let before = steer.counters();
    let moved = |steer: &Steer| {
        let after = steer.counters();
        [reply, Counter::DropReplyBudget].map(|at| after[at as usize] - before[at as usize])
    };
    for _ in 0..MOST / 500 {
        steer.beat();
        for _ in 0..500 {
            steer.run(Side::Outside, &frame);
        }
        let moved = moved(steer);
        if moved[1] >= ENOUGH {
            return moved;
        }
    }
    panic!("hardly anything was dropped: {:?}", moved(steer));
}

#[test]
fn a_prefix_gets_few_syn_acks_and_others_all_of_theirs() {
    needs_root!();
    in_namespace(|steer| {
        let mut round = 0;
        let forms = [(0, 0, false), (0, 6, false), (1, 0, false), (1, 0, true)];
        let handoffs = [handoff::SPLICE, handoff::FORWARD];
        // Workers have the SYNs that are within the budget; here there is no socket behind the worker.
        for (handoff, reply) in handoffs
            .map(|handoff| (handoff, Counter::AnsweredXdp))
            .into_iter()
            .chain(handoffs.map(|handoff| (handoff, Counter::GivenToWorker)))
        {
            if reply == Counter::GivenToWorker {
                steer.answer_by_worker();
            }
            for (family, padding, is_tagged) in forms {
                round += 1;
                steer.beat();
                steer.policy(|service| (service.handoff, service.replies) = (handoff, BUDGET));
                let victim = Segment {
                    padding,
                    tags: if is_tagged { vec![(0x8100, 7)] } else { vec![] },
                    ..syn(family)
                };
                let [answered, _] = flood(steer, &victim, reply);
                assert!(answered > 0, "{answered} answered");
                let mut other = victim.clone();
                other.source.set_ip(match family {
                    0 => IpAddr::from([198, 51, 101 + round, 2]),
                    _ => IpAddr::from([0x2001, 0xdb8, 0xd, u16::from(round), 0, 0, 0, 2]),
                });
                let moved = (0..50).filter(|number| {
                    // An edge leaves a repeated SYN to the server unless there is a flood.
                    other.source.set_port(20_000 + number);
                    steer.beat();
                    let before = steer.counters();
                    steer.run(Side::Outside, &other.bytes());
                    let at = reply as usize;
                    steer.counters()[at] > before[at]
                });
                assert_eq!(moved.count(), 50, "another prefix");
            }
        }
    });
}

/// All cells of the table have counted more than the budget of one prefix then, and no prefix has been sent that many.
#[test]
fn a_flood_from_random_addresses_uses_up_no_budget() {
    const SYNS: u32 = 120_000;
    needs_root!();
    in_namespace(|steer| {
        for (family, padding) in [(0, 0), (0, 6), (1, 0)] {
            // Half of a sample: a smaller one is exceeded by the first, and more often the slower the flood is.
            steer.policy(|service| service.replies = reply_budget::SAMPLE / 2);
            let mut segment = Segment {
                padding,
                ..syn(family)
            };
            let before = steer.counters();
            for number in 0..SYNS {
                let [a, b, ..] = number.wrapping_mul(0x9e37_79b1).to_be_bytes();
                segment.source.set_ip(match family {
                    0 => IpAddr::from([10, a, b, 1]),
                    _ => IpAddr::from([0x2001, 0xdb8, 0xd, u16::from_be_bytes([a, b]), 0, 0, 0, 2]),
                });
                steer.run(Side::Outside, &segment.bytes());
            }
            let at = Counter::DropReplyBudget as usize;
            let dropped = steer.counters()[at] - before[at];
            assert!(dropped < u64::from(SYNS) / 20, "{dropped} dropped");
        }
    });
}

#[test]
fn resets_are_bounded_too() {
    needs_root!();
    in_namespace(|steer| {
        steer.policy(|service| {
            (service.unknown_policy, service.replies) = (unknown_policy::RESET, BUDGET);
        });
        for family in [0, 1] {
            let [reset, _] = flood(steer, &wrong_ack(family), Counter::Reset);
            assert!(reset > 0, "{reset} reset");
        }
    });
}

#[test]
fn a_prefix_with_a_proven_client_has_a_larger_budget() {
    needs_root!();
    for family in [0, 1] {
        in_namespace(|steer| {
            steer.policy(|service| service.replies = 2000);
            let valid = steer.shake_hands(&syn(family)).bytes();
            let frame = syn(family).bytes();
            let before = steer.counters();
            for number in 0..20_000 {
                steer.run(Side::Outside, &frame);
                if number % 50 == 0 {
                    steer.run(Side::Outside, &valid);
                }
            }
            let at = Counter::DropReplyBudget as usize;
            let dropped = steer.counters()[at] - before[at];
            assert_eq!(dropped, 0, "a proven prefix is exempt at this rate");
        });
    }
}

/// Sends a segment from the allow-list until it often does not pass.
fn flood_allowed(steer: &mut Steer, segment: &Segment) {
    let frame = segment.bytes();
    let mut passed = 0;
    let mut others = 0;
    while others < 1000 && passed < MOST {
        let is_passed = steer.run(Side::Outside, &frame).verdict == PASS;
        *if is_passed { &mut passed } else { &mut others } += 1;
    }
    assert!(passed > BUDGET && others == 1000, "{passed} passed");
}

fn allow_clients(steer: &mut Steer) {
    steer.policy(|service| (service.listed, service.replies) = (1, BUDGET));
    steer.list("198.51.100.0/24", 1);
    steer.list("2001:db8:c::/48", 1);
}

/// Beyond the budget a SYN from the allow-list is challenged, or dropped, and no longer passed to the kernel. Nor is an ACK: the
/// server would answer it with a RST.
#[test]
fn the_allow_list_is_bounded_too() {
    needs_root!();
    for family in [0, 1] {
        for segment in [syn(family), wrong_ack(family)] {
            in_namespace(|steer| {
                allow_clients(steer);
                flood_allowed(steer, &segment);
            });
        }
    }
}

/// What a server has spoken on passes without a budget.
#[test]
fn connections_from_the_allow_list_are_not_bounded() {
    needs_root!();
    in_namespace(|steer| {
        for family in [0, 1] {
            allow_clients(steer);
            steer.run(Side::Inside, &Segment::from_server(family, ACK).bytes());
            let passed = steer.run_often(&wrong_ack(family).bytes(), MOST)(Counter::Passed);
            assert_eq!(passed, u64::from(MOST));
        }
    });
}

#[test]
fn a_client_that_is_challenged_in_spite_of_the_allow_list_has_its_connection() {
    needs_root!();
    for family in [0, 1] {
        in_namespace(|steer| {
            steer.beat();
            let ack = steer.shake_hands(&syn(family));
            allow_clients(steer);
            let before = steer.counters();
            let seen = steer.run(Side::Outside, &ack.bytes());
            let counted = [Counter::CookieValid, Counter::Waiting];
            steer.assert_counted(&before, &counted, "no socket to put it into");
            assert!(seen.meta.is_some());
        });
    }
}

#[test]
fn few_replies_are_never_counted() {
    needs_root!();
    in_namespace(|steer| {
        steer.policy(|service| service.replies = 1);
        for _ in 0..20 {
            std::thread::sleep(std::time::Duration::from_millis(11));
            let before = steer.counters();
            steer.run(Side::Outside, &syn(0).bytes());
            steer.assert_counted(&before, &[Counter::Syn, Counter::AnsweredXdp], "a few");
        }
    });
}
