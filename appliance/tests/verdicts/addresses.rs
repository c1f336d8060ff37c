//! Addresses of one service that have policies of their own: one is under attack and challenges its clients, the other passes
//! them. What is counted for each.

use std::time::{Duration, Instant};

use aya::maps::PerCpuArray;
use synward_core::address_counts::{AddressCounts, Counted};
use synward_core::counters::Counter;
use synward_core::layout::{MAX_SERVICES, NO_PORT, Service, mode, plain_cookies};

use crate::frame_builder::{ACK, PSH, RST, SERVERS, Segment, stack};
use crate::steer::{PROFILE, Shared, Side, Steer, in_namespace, now};
use crate::unreadable::fragment;
use crate::{Case, DROP, PASS, TX, needs_root, outside};

const COUNTED: [Counted; 3] = [Counted::Syn, Counted::Proven, Counted::BadAck];
const PASSED: &[Counter] = &[Counter::Passed];

/// The policy of the address of a family.
fn policy(family: usize) -> u32 {
    MAX_SERVICES + 5 + family as u32
}

impl Steer {
    /// Gives the two addresses policies of their own. That of the service is not used.
    fn watch(&mut self, attacked: usize, change: impl Fn(&mut Service)) {
        self.policy(|service| service.mode = mode::OFF);
        for family in [0, 1] {
            let mut service = Service {
                mode: mode::OFF,
                keys: 0b11,
                plain_cookies: plain_cookies::ACCEPT,
                watched: 1,
                ..Service::default()
            };
            if family == attacked {
                service.mode = mode::ALWAYS;
                change(&mut service);
            }
            self.put_policy(policy(family), service);
            for port in [SERVERS[family].port().into(), NO_PORT] {
                self.protect_by(policy(family), SERVERS[family].ip(), port, PROFILE);
            }
        }
    }

    /// What was counted for the address of a family, by [`COUNTED`].
    fn address_counts(&mut self, family: usize) -> [u64; 3] {
        let map = PerCpuArray::<_, Shared<AddressCounts>>::try_from(self.map("ADDRESS_COUNTS"));
        let index = AddressCounts::index(policy(family));
        let cpus = map.unwrap().get(&index, 0).unwrap();
        COUNTED.map(|counted| cpus.iter().map(|Shared(cpu)| cpu.value(counted)).sum())
    }
}

#[test]
fn only_the_attacked_address_challenges() {
    needs_root!();
    in_namespace(|steer| {
        for attacked in [0, 1] {
            let other = 1 - attacked;
            steer.watch(attacked, |_| {});
            // The fast path takes the first of IPv4, the general path the others.
            for stack in [stack::linux(), stack::windows()] {
                let seen = steer.run(
                    Side::Outside,
                    &Segment::syn(attacked, stack.clone()).bytes(),
                );
                assert_eq!(seen.verdict, TX, "the attacked one answers");
                let passed = &[Counter::Syn, Counter::Passed];
                let case = outside("another passes", &Segment::syn(other, stack), PASS, passed);
                steer.check(vec![case]);
            }
            let refused = &[Counter::CookieInvalid, Counter::DropInvalidCookie];
            let piece = |what, family, verdict, counted| Case {
                what,
                frame: fragment(&Segment::syn(family, stack::linux()), 3),
                side: Side::Outside,
                verdict,
                counted,
            };
            steer.check(vec![
                outside(
                    "no cookie",
                    &Segment::ack_without_cookie(attacked),
                    DROP,
                    refused,
                ),
                outside(
                    "unchallenged",
                    &Segment::ack_without_cookie(other),
                    PASS,
                    PASSED,
                ),
                piece("a fragment", attacked, DROP, &[Counter::DropFragment]),
                piece("an unchallenged fragment", other, PASS, &[]),
            ]);
        }
    });
}

/// Adopted for a while after the begin of the attack, and those that the program knows from the server.
#[test]
fn connections_of_the_attacked_address_go_on() {
    needs_root!();
    in_namespace(|steer| {
        for attacked in [0, 1] {
            let from_server = Segment::from_server(attacked, ACK | PSH);
            let reset = Segment::from_client(attacked, RST);
            steer.watch(attacked, |service| {
                service.adopt_until = now() + 60_000_000_000;
            });
            let adopted = &[Counter::CookieInvalid, Counter::Passed];
            steer.check(vec![
                outside(
                    "half done before",
                    &Segment::ack_without_cookie(attacked),
                    PASS,
                    adopted,
                ),
                outside("of an unknown connection", &reset, PASS, PASSED),
            ]);
            steer.watch(attacked, |_| {});
            steer.check(vec![outside(
                "not adopted any more",
                &reset,
                DROP,
                &[Counter::DropUnknown],
            )]);
            let seen = steer.run(Side::Inside, &from_server.bytes());
            assert_eq!(seen.verdict, PASS);
            let known = Segment::from_client(attacked, ACK);
            steer.check(vec![outside("learned", &known, PASS, PASSED)]);
        }
    });
}

#[test]
fn what_comes_is_counted_for_its_address() {
    needs_root!();
    in_namespace(|steer| {
        steer.beat();
        for attacked in [0, 1] {
            let other = 1 - attacked;
            steer.watch(attacked, |_| {});
            let before = [attacked, other].map(|family| steer.address_counts(family));
            let moved = |steer: &mut Steer| {
                let after = [attacked, other].map(|family| steer.address_counts(family));
                [0, 1].map(|at| [0, 1, 2].map(|what| after[at][what] - before[at][what]))
            };
            let proof = steer.shake_hands(&Segment::syn(attacked, stack::windows()));
            steer.run(Side::Outside, &Segment::syn(other, stack::linux()).bytes());
            steer.run(Side::Outside, &Segment::syn(other, stack::linux()).bytes());
            assert_eq!(moved(steer), [[1, 0, 0], [2, 0, 0]]);
            steer.run(Side::Outside, &proof.bytes());
            steer.run(
                Side::Outside,
                &Segment::ack_without_cookie(attacked).bytes(),
            );
            steer.run(Side::Outside, &Segment::ack_without_cookie(other).bytes());
            assert_eq!(moved(steer), [[1, 1, 1], [2, 0, 0]]);
            let mut from_server = Segment::from_server(other, ACK | PSH);
            // A connection of its own: the client's SYNs are answered in the next round.
            from_server.destination.set_port(40_009);
            steer.run(Side::Inside, &from_server.bytes());
            steer.run(Side::Inside, &from_server.bytes());
            assert_eq!(moved(steer), [[1, 1, 1], [2, 1, 0]]);

            // Nothing is counted where no attack changes anything.
            steer.watch(attacked, |service| service.watched = 0);
            steer.run(
                Side::Outside,
                &Segment::syn(attacked, stack::windows()).bytes(),
            );
            steer.run(
                Side::Outside,
                &Segment::ack_without_cookie(attacked).bytes(),
            );
            assert_eq!(moved(steer), [[1, 1, 1], [2, 1, 0]]);
        }
    });
}

/// Few ACKs of a flood without timestamps are checked. The others are as bad.
#[test]
fn acks_that_are_not_checked_are_counted_for_their_address() {
    needs_root!();
    in_namespace(|steer| {
        for attacked in [0, 1] {
            steer.watch(attacked, |service| {
                service.plain_cookies = plain_cookies::LIMIT;
            });
            let before = steer.address_counts(attacked)[2];
            let bad = |steer: &mut Steer| steer.address_counts(attacked)[2] - before;
            let wrong = Segment {
                acknowledgement: 77,
                ..Segment::from_client(attacked, ACK)
            };
            let moved = steer.run_often(&wrong.bytes(), 5_000);
            assert!(moved(Counter::DropPlainLimit) > 4_000);
            assert_eq!(bad(steer), 5_000);
            steer.watch(attacked, |service| {
                service.plain_cookies = plain_cookies::REFUSE;
            });
            let moved = steer.run_often(&wrong.bytes(), 5_000);
            assert_eq!(moved(Counter::DropPlainRefused), 5_000);
            assert_eq!(bad(steer), 10_000);
        }
    });
}

/// The fast path adds what it has answered when it prepares the next answer, in a later jiffy. Each CPU keeps those of its last
/// jiffy back.
#[test]
fn the_fast_path_counts_its_syns_once_a_jiffy() {
    const SYNS: u64 = 50;
    // What the fast path has counted is left out after 64 jiffies, of a millisecond at least.
    const RECENT: Duration = Duration::from_millis(60);
    needs_root!();
    in_namespace(|steer| {
        steer.watch(0, |_| {});
        let frame = Segment::syn(0, stack::linux()).bytes();
        let (mut last, mut late) = (Instant::now(), 0);
        for _ in 0..SYNS {
            let before = now();
            while now() == before {
                std::thread::yield_now();
            }
            assert_eq!(steer.run(Side::Outside, &frame).verdict, TX);
            late += u64::from(last.elapsed() > RECENT);
            last = Instant::now();
        }
        let [syns, ..] = steer.address_counts(0);
        let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64);
        let least = (SYNS - cpus).saturating_sub(late);
        assert!(
            (least..SYNS).contains(&syns),
            "{syns} of {SYNS}, {late} late"
        );
        let all = steer.counters()[Counter::Syn as usize];
        assert_eq!(all, SYNS);
    });
}

/// The address is looked up again when a reload gives it another policy.
#[test]
fn an_endpoint_names_its_policy() {
    needs_root!();
    in_namespace(|steer| {
        steer.watch(1, |_| {});
        let frame = Segment::syn(1, stack::linux()).bytes();
        assert_eq!(steer.run(Side::Outside, &frame).verdict, TX);
        steer.protect(SERVERS[1].ip(), SERVERS[1].port().into(), PROFILE);
        assert_eq!(steer.run(Side::Outside, &frame).verdict, PASS);
    });
}
