//! SYNs and ACKs that claim to come from this machine, or from where no client is.

use std::net::{IpAddr, TcpListener};

use aya::Pod;
use synward_core::counters::Counter;
use synward_core::layout::{handoff, mode};
use synward_core::source_filter::SourceFilter;
use synward_core::wire::Address;

use crate::frame_builder::{ACK, CLIENTS, PSH, SERVERS, SYN, Segment, stack};
use crate::steer::{Shared, Side, Steer, in_namespace};
use crate::test_network::ip;
use crate::{DROP, PASS, REDIRECT, TX, needs_root, outside};

// SAFETY: a `repr(C)` array of integers.
unsafe impl Pod for Shared<Address> {}
// SAFETY: a `repr(C)` struct of integers of one size.
unsafe impl Pod for Shared<SourceFilter> {}

/// Addresses of the machine and broadcast addresses of its networks, by family.
pub(crate) const OWN: [&[&str]; 2] = [
    &["198.51.100.1", "192.0.2.1", "192.0.2.255", "203.0.113.255"],
    &["2001:db8:c::1", "2001:db8:5::1", "2001:db8:e::abcd"],
];
/// Others that differ in bits that the filter does not see.
pub(crate) const LIKE_OWN: [&[&str]; 2] = [
    &["198.51.100.65", "10.9.100.1", "192.0.66.191"],
    &["2001:db8:c::2:1", "2001:db8:7::1", "2001:db8:c::8041"],
];

impl Steer {
    /// Tells the program the machine's own sources.
    pub(crate) fn own_sources(&mut self, texts: &[&str]) {
        let mut filter = SourceFilter::default();
        let addresses: Vec<_> = texts.iter().map(|text| address(text)).collect();
        for one in &addresses {
            filter.add(&Address::from(*one));
            filter.has_reserved |= u64::from(Address::from(*one).is_reserved_v4());
        }
        let mut map = self.hash_map::<Shared<Address>, u32>("OWN_SOURCES");
        let old: Vec<_> = map.keys().flatten().collect();
        old.iter().for_each(|key| map.remove(key).unwrap());
        for one in addresses {
            map.insert(Shared(one.into()), 0, 0).unwrap();
        }
        self.set("SOURCE_FILTER", 0, Shared(filter));
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn syn_from(family: usize, source: &str) -> Segment {
    Segment {
        source: (address(source), CLIENTS[family].port()).into(),
        options: stack::linux(),
        ..Segment::from_client(family, SYN)
    }
}

const REFUSED: &[Counter] = &[Counter::DropImpossibleSource];
const SYN_REFUSED: &[Counter] = &[Counter::Syn, Counter::DropImpossibleSource];

/// Runs a test for each handoff, family and responder. The services are served: a listener, a live worker.
pub(crate) fn everywhere(test: impl Fn(&mut Steer, usize, u8) + Send + Sync) {
    for family in [0, 1] {
        for kind in [handoff::SPLICE, handoff::FORWARD, handoff::LOCAL] {
            in_namespace(|steer| {
                let _listener = (kind == handoff::LOCAL).then(|| {
                    ip("link set lo up");
                    ip("address add 192.0.2.10/32 dev sw-out");
                    ip("address add 2001:db8:5::10/128 dev sw-out nodad");
                    TcpListener::bind(SERVERS[family]).unwrap()
                });
                steer.policy(|service| service.handoff = kind);
                test(steer, family, kind);
            });
        }
    }
}

#[test]
fn syns_from_this_machines_own_addresses_are_not_answered() {
    needs_root!();
    everywhere(|steer, family, kind| {
        steer.own_sources(OWN[family]);
        for by_worker in [false, true] {
            if by_worker {
                steer.answer_by_worker();
                steer.beat();
            }
            for source in OWN[family] {
                let syn = syn_from(family, source);
                steer.check(vec![outside("an own source", &syn, DROP, SYN_REFUSED)]);
            }
            for source in LIKE_OWN[family] {
                let refused = Counter::DropImpossibleSource as usize;
                let before = steer.counters()[refused];
                let seen = steer.run(Side::Outside, &syn_from(family, source).bytes());
                assert_eq!(steer.counters()[refused], before, "{source}");
                // There is no socket behind the worker.
                if !by_worker {
                    assert_eq!(seen.verdict, TX, "{source} to handoff {kind}");
                }
            }
        }
    });
}

/// A cookie proves that its sender receives at an address, unless the machine sends to itself.
#[test]
fn acks_with_valid_cookies_from_own_addresses_are_refused() {
    needs_root!();
    everywhere(|steer, family, kind| {
        let source = OWN[family][0];
        let ack = steer.shake_hands(&syn_from(family, source));
        let data = Segment {
            flags: ACK | PSH,
            payload: b"GET /".to_vec(),
            ..ack.clone()
        };
        steer.own_sources(OWN[family]);
        steer.check(vec![
            outside("a valid cookie", &ack, DROP, REFUSED),
            outside("the same with data", &data, DROP, REFUSED),
        ]);
        // The address has moved away.
        steer.own_sources(&[]);
        let before = steer.counters();
        let seen = steer.run(Side::Outside, &ack.bytes());
        let after = steer.counters();
        let refused = Counter::DropImpossibleSource as usize;
        assert_eq!(after[refused], before[refused]);
        match kind {
            handoff::FORWARD => assert_eq!(seen.verdict, REDIRECT),
            _ => {
                let valid = Counter::CookieValid as usize;
                assert_eq!(after[valid], before[valid] + 1, "handoff {kind}");
            }
        }
    });
}

#[test]
fn reserved_sources_are_clients_only_where_this_machine_has_such_an_address() {
    needs_root!();
    in_namespace(|steer| {
        let syn = syn_from(0, "240.1.2.3");
        steer.check(vec![outside("240.0.0.0/4", &syn, DROP, SYN_REFUSED)]);
        steer.own_sources(&["240.1.0.1"]);
        assert_eq!(steer.run(Side::Outside, &syn.bytes()).verdict, TX);
        let own = syn_from(0, "240.1.0.1");
        let everyone = syn_from(0, "255.255.255.255");
        steer.check(vec![
            outside("the own address there", &own, DROP, SYN_REFUSED),
            outside("limited broadcast", &everyone, DROP, SYN_REFUSED),
        ]);
    });
}

#[test]
fn link_local_clients_reach_only_link_local_services() {
    needs_root!();
    in_namespace(|steer| {
        let mut syn = syn_from(1, "fe80::2");
        steer.check(vec![outside(
            "to a global address",
            &syn,
            DROP,
            SYN_REFUSED,
        )]);
        syn.destination = (address("fe80::10"), 80).into();
        steer.endpoint(syn.destination, crate::steer::PROFILE);
        assert_eq!(steer.run(Side::Outside, &syn.bytes()).verdict, TX);
    });
}

/// A service that challenges nobody leaves them to the kernel.
#[test]
fn monitored_services_leave_own_sources_to_the_kernel() {
    needs_root!();
    in_namespace(|steer| {
        for family in [0, 1] {
            steer.own_sources(OWN[family]);
            let would: &[Counter] = &[
                Counter::Syn,
                Counter::WouldDropImpossibleSource,
                Counter::Passed,
            ];
            for (mode, passed) in [
                (mode::OFF, &[Counter::Syn, Counter::Passed][..]),
                (mode::MONITOR, would),
            ] {
                steer.policy(|service| service.mode = mode);
                let syn = syn_from(family, OWN[family][0]);
                steer.check(vec![outside("monitored", &syn, PASS, passed)]);
            }
            steer.policy(|_| {});
        }
    });
}
