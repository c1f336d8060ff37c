//! What a reload exchanges: policies, by their bank, and the key that issues cookies.

use synward_core::counters::Counter;
use synward_core::layout::{KeySlot, Service, key_slot, mode, policy_slot};

use crate::frame_builder::{Segment, stack};
use crate::steer::{EPOCH, SERVICE, Shared, Side, Steer, in_namespace, key};
use crate::{PASS, TX, needs_root};

/// Puts a policy into each bank, then the one of `generation` in force.
fn with_banks(steer: &mut Steer, policies: [Service; 2]) {
    for (generation, policy) in (0..).zip(policies) {
        steer.set("SERVICES", policy_slot(SERVICE, generation), Shared(policy));
    }
}

#[test]
fn the_generation_says_which_policy_is_in_force() {
    needs_root!();
    in_namespace(|steer| {
        let always = Service {
            mode: mode::ALWAYS,
            keys: 1,
            ..Service::default()
        };
        with_banks(steer, [always, Service::default()]);
        // The fast path takes the first of these SYNs, the general path the second.
        for stack in [stack::linux(), stack::windows()] {
            let syn = Segment::syn(0, stack).bytes();
            for _ in 0..2 {
                let verdict = |steer: &mut Steer, generation| {
                    steer.in_generation(generation);
                    steer.run(Side::Outside, &syn).verdict
                };
                assert_eq!(verdict(steer, 10), TX);
                assert_eq!(verdict(steer, 11), PASS);
            }
        }
    });
}

#[test]
fn the_policy_names_the_key_that_issues_and_those_that_are_accepted() {
    needs_root!();
    in_namespace(|steer| {
        let slot = KeySlot {
            epoch: EPOCH,
            keys: [key(EPOCH, 0), [0; 2], [5, 6], [0; 2]],
        };
        steer.set("KEYS", key_slot(SERVICE, EPOCH), Shared(slot));
        for stack in [stack::linux, stack::windows] {
            let issued = |steer: &mut Steer, issuer| {
                steer.policy(|policy| (policy.keys, policy.issuer) = (0b101, issuer));
                steer.shake_hands(&Segment::syn(0, stack()))
            };
            let (old, new) = (issued(steer, 0), issued(steer, 2));
            assert_ne!(old.acknowledgement, new.acknowledgement);
            for (keys, accepted) in [
                (0b101, [&old, &new].as_slice()),
                (0b100, &[&new]),
                (0b001, &[&old]),
                (0b010, &[]),
            ] {
                steer.policy(|policy| policy.keys = keys);
                for ack in [&old, &new] {
                    let valid = accepted.iter().any(|one| std::ptr::eq(*one, ack));
                    let counted = steer.run_often(&ack.bytes(), 1);
                    assert_eq!(counted(Counter::CookieValid), u64::from(valid), "{keys:b}");
                    assert_eq!(
                        counted(Counter::CookieInvalid),
                        u64::from(!valid),
                        "{keys:b}"
                    );
                }
            }
        }
    });
}
