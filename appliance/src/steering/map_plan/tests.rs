//! Compares the plan with its rule: the longest prefix wins, and within it a listed port over "any".

use std::fs;

use synward_core::layout::{Profile, profile_flags, unknown_policy};

use super::*;
use crate::lists::Verdict;
use crate::steering::map_encoding::prefix_key;

fn config(services: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let (file, secret) = (
        folder.path().join("synward.toml"),
        folder.path().join("secret"),
    );
    crate::secret::Keyring::create(&secret).unwrap();
    let text = format!(
        "[cookie]\nsecret = {secret:?}\n[[interface]]\nname = \"eth0\"\nside = \"both\"\n{services}"
    );
    fs::write(&file, text).unwrap();
    Config::load(&file).unwrap()
}

fn plan(services: &str) -> Plan {
    let config = config(services);
    Plan::new(
        &config,
        &vec![KeySelection::default(); config.services.len()],
    )
}

/// The look-up of the XDP program (ebpf/xdp/src/service_lookup.rs).
fn found(plan: &Plan, address: &str, port: u32) -> Option<u32> {
    let address: IpAddr = address.parse().unwrap();
    let exact = plan.endpoints.get(&(address, port)).copied();
    exact
        .or_else(|| plan.by_prefix(address, port))
        .map(|endpoint| endpoint.service)
}

const OVERLAPPING: &str = r#"
    [[service]]
    name = "all"
    addresses = ["198.51.100.0/24", "2001:db8::/32"]
    ports = "any"
    [[service]]
    name = "web"
    addresses = ["198.51.100.0/24", "198.51.100.64/26"]
    ports = [80, 443]
    [[service]]
    name = "mail"
    addresses = ["198.51.100.64/26", "198.51.100.70", "2001:db8::70"]
    ports = [25, 443, 993]
    [[service]]
    name = "host"
    addresses = ["198.51.100.71", "203.0.113.9"]
    ports = "any"
    [[service]]
    name = "one"
    addresses = ["198.51.100.71", "192.0.2.1"]
    ports = [22]
"#;

#[test]
fn the_longest_prefix_wins_and_then_a_listed_port() {
    let overlapping = OVERLAPPING.replacen("ports = [25, 443, 993]", "ports = [25, 993]", 1);
    let plan = plan(&overlapping);
    let (all, web, mail, host, one) = (Some(0), Some(1), Some(2), Some(3), Some(4));
    for (address, port, service) in [
        ("198.51.100.1", 80, web),
        ("198.51.100.1", 25, all),
        ("198.51.100.1", 9999, all),
        ("198.51.100.65", 80, web),
        ("198.51.100.65", 25, mail),
        ("198.51.100.65", 9999, all),
        ("198.51.100.70", 25, mail),
        ("198.51.100.70", 443, web),
        ("198.51.100.70", 9999, all),
        ("198.51.100.71", 22, one),
        ("198.51.100.71", 80, host),
        ("198.51.100.71", 9999, host),
        ("203.0.113.9", 1, host),
        ("203.0.113.10", 1, None),
        ("192.0.2.1", 22, one),
        ("192.0.2.1", 23, None),
        ("2001:db8::70", 993, mail),
        ("2001:db8::70", 994, all),
        ("2001:db9::1", 80, None),
    ] {
        assert_eq!(found(&plan, address, port), service, "{address} {port}");
    }
}

#[test]
fn a_longer_prefix_inherits_the_ports_that_it_does_not_decide() {
    let plan = plan(
        r#"
        [[service]]
        name = "wide"
        addresses = ["198.51.100.0/24"]
        ports = [80, 81]
        [[service]]
        name = "narrow"
        addresses = ["198.51.100.0/28"]
        ports = [80]
        [[service]]
        name = "deep"
        addresses = ["198.51.100.0/30"]
        ports = "any"
    "#,
    );
    for (address, port, service) in [
        ("198.51.100.200", 80, Some(0)),
        ("198.51.100.200", 82, None),
        ("198.51.100.15", 80, Some(1)),
        ("198.51.100.15", 81, Some(0)),
        ("198.51.100.15", 82, None),
        ("198.51.100.1", 80, Some(2)),
        ("198.51.100.1", 82, Some(2)),
    ] {
        assert_eq!(found(&plan, address, port), service, "{address} {port}");
    }
    // Each prefix also has a NO_PORT entry of its own.
    assert_eq!(plan.prefix_ports.len(), 2 + 2 + 1 + 3);
}

#[test]
fn packets_with_unreadable_ports_meet_the_strictest_service() {
    let plan = plan(
        r#"
        [[service]]
        name = "lax"
        addresses = ["192.0.2.1", "192.0.2.2"]
        ports = [80]
        fragments = "pass"
        [[service]]
        name = "strict"
        addresses = ["192.0.2.1", "198.51.100.0/24"]
        ports = [443]
    "#,
    );
    assert_eq!(found(&plan, "192.0.2.1", NO_PORT), Some(1));
    assert_eq!(found(&plan, "192.0.2.2", NO_PORT), Some(0));
    assert_eq!(found(&plan, "192.0.2.3", NO_PORT), None);
    assert_eq!(found(&plan, "198.51.100.7", NO_PORT), Some(1));
    assert_eq!(found(&plan, "192.0.2.1", 0), None);
}

#[test]
fn initial_profiles_apply_the_configured_offer() {
    let plan = plan(
        r#"
        [[service]]
        name = "plain"
        addresses = ["192.0.2.1", "2001:db8::1"]
        ports = [80]
        [[service]]
        name = "fixed"
        addresses = ["192.0.2.0/24"]
        ports = "any"
        mss = 1200
        wscale = 3
        sack = false
        ecn = true
        hold_bytes = 1460
    "#,
    );
    let at = |address: &str| plan.endpoints[&(address.parse().unwrap(), 80)].now;
    assert_eq!(at("192.0.2.1"), Profile::default());
    assert_eq!(
        at("2001:db8::1"),
        Profile {
            mss: 1440,
            ..Profile::default()
        }
    );
    let fixed = plan.by_prefix("192.0.2.77".parse().unwrap(), 1).unwrap();
    let expected = Profile {
        mss: 1200,
        window: 1460,
        window_scale: 3,
        flags: profile_flags::TIMESTAMPS | profile_flags::ECN,
        reserved: [0; 2],
    };
    assert_eq!(
        (fixed.now, fixed.before, fixed.since),
        (expected, expected, 0)
    );
}

#[test]
fn encodes_services_and_lists() {
    let plan = plan(
        r#"
        [[service]]
        name = "a"
        addresses = ["192.0.2.1"]
        ports = [80]
        mode = "monitor"
        unknown = "reset"
        [[service]]
        name = "b"
        addresses = ["192.0.2.2"]
        ports = [80]
        fragments = "pass"
        allow = ["203.0.113.0/24"]
        deny = ["2001:db8::/32"]
    "#,
    );
    let [a, b] = plan.services[..] else { panic!() };
    assert_eq!(
        (a.mode, a.unknown_policy, a.pass_fragments, a.listed),
        (mode::MONITOR, unknown_policy::RESET, 0, 0)
    );
    assert_eq!(
        (b.mode, b.unknown_policy, b.pass_fragments, b.listed),
        (mode::ALWAYS, unknown_policy::DROP, 1, 1)
    );
    let (allow, deny) = (
        "203.0.113.0/24".parse().unwrap(),
        "2001:db8::/32".parse().unwrap(),
    );
    let lists: Vec<_> = plan.lists.iter().collect();
    assert_eq!(
        lists,
        [
            (&(1, allow), Verdict::Allowed),
            (&(1, deny), Verdict::Denied)
        ]
    );
    assert_eq!(prefix_key(allow).length, 96 + 24);
    assert_eq!(prefix_key(deny).length, 32);
}

const AROUND_OWN: &str = r#"
    [[service]]
    name = "all"
    addresses = ["192.0.2.0/24", "2001:db8::/64"]
    ports = "any"
    [[service]]
    name = "here"
    addresses = ["192.0.0.0/16"]
    ports = [443]
    handoff = "local"
    fragments = "pass"
    [[service]]
    name = "named"
    addresses = ["192.0.2.2", "192.0.2.3", "2001:db8::3"]
    ports = [80]
    [[service]]
    name = "whole"
    addresses = ["192.0.2.4"]
    ports = "any"
"#;

fn addresses(list: &[&str]) -> BTreeSet<IpAddr> {
    list.iter().map(|one| one.parse().unwrap()).collect()
}

/// An address of this machine belongs to local services, and to those that name it.
#[test]
fn own_addresses_are_left_out_of_prefixes() {
    let (all, here, named, whole) = (Some(0), Some(1), Some(2), Some(3));
    let mut plan = plan(AROUND_OWN);
    assert_eq!(found(&plan, "192.0.2.1", 22), all);
    let own = [
        "192.0.2.1",
        "192.0.2.2",
        "192.0.2.4",
        "2001:db8::1",
        "2001:db8::3",
        "10.0.0.1",
    ];
    let changes = plan.leave_out(addresses(&own));
    let added: Vec<_> = changes.added.iter().map(|added| added.net.addr()).collect();
    assert_eq!(added.len(), 4, "{added:?}");
    for (address, port, service) in [
        ("192.0.2.1", 22, None),
        ("192.0.2.1", 443, here),
        ("192.0.2.1", NO_PORT, here),
        ("192.0.2.2", 22, None),
        ("192.0.2.2", 80, named),
        ("192.0.2.4", 22, whole),
        ("192.0.2.5", 22, all),
        ("2001:db8::1", 22, None),
        ("2001:db8::1", NO_PORT, None),
        ("2001:db8::2", 22, all),
        ("2001:db8::3", 80, named),
    ] {
        assert_eq!(found(&plan, address, port), service, "{address} {port}");
    }
    let left_out = plan.left_out();
    assert!(left_out.iter().all(|one| one.service == 0) && left_out.len() == 4);
    let (line, text) = left_out[0].describe(&config(AROUND_OWN));
    assert_eq!(line, 7);
    assert!(
        text.starts_with("service \"all\": 192.0.2.1 is an address of this machine"),
        "{text}"
    );
}

#[test]
fn own_addresses_that_move_away_are_protected_again() {
    let mut plan = plan(AROUND_OWN);
    let before = (plan.prefixes.clone(), plan.prefix_ports.len());
    plan.leave_out(addresses(&["192.0.2.1", "2001:db8::1"]));
    let changes = plan.leave_out(addresses(&["192.0.2.9", "2001:db8::1"]));
    assert_eq!((changes.removed.len(), changes.added.len()), (1, 1));
    assert_eq!(found(&plan, "192.0.2.1", 22), Some(0));
    assert_eq!(found(&plan, "192.0.2.9", 22), None);
    let same = plan.leave_out(addresses(&["192.0.2.9", "2001:db8::1"]));
    assert_eq!(same, crate::steering::left_out::PrefixChanges::default());
    plan.leave_out(BTreeSet::new());
    assert_eq!((plan.prefixes, plan.prefix_ports.len()), before);
}
