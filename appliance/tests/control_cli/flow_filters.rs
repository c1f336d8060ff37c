//! The conditions of `flows`.

use serde_json::Value;

use crate::control_socket::TestFolder;
use crate::fake_appliance::FakeAppliance;

#[test]
fn conditions_select_flows() {
    let (folder, source) = (TestFolder::new(), FakeAppliance::new());
    let _server = folder.serve(&source);
    for (conditions, clients) in [
        (
            &["--service", "web"][..],
            &[
                "198.51.100.7:40001",
                "203.0.113.200:61234",
                "[2001:db8:1::7]:50000",
            ][..],
        ),
        (&["--state", "opening"], &["198.51.100.7:40001"]),
        (&["--state", "established"], &["203.0.113.200:61234"]),
        (&["--client", "203.0.113.200"], &["203.0.113.200:61234"]),
        (&["--client", "203.0.113.7/24"], &["203.0.113.200:61234"]),
        (
            &["--client", "2001:db8::/32", "--state", "closing"],
            &["[2001:db8:1::7]:50000"],
        ),
        (&["--client", "0.0.0.0/0", "--state", "closing"], &[]),
        (&["--limit", "1"], &["198.51.100.7:40001"]),
        (&["--limit", "0"], &[]),
    ] {
        let ran = folder.synward(&[&["flows", "--json"], conditions].concat());
        assert_eq!(ran.code, 0, "{conditions:?}: {}", ran.stderr);
        let list: Value = serde_json::from_str(&ran.stdout).unwrap();
        let found: Vec<_> = list
            .as_array()
            .unwrap()
            .iter()
            .map(|flow| flow["client"].as_str().unwrap())
            .collect();
        assert_eq!(found, clients, "{conditions:?}");
    }
}

#[test]
fn a_condition_that_makes_no_sense_is_2_and_says_what_would() {
    let (folder, source) = (TestFolder::new(), FakeAppliance::new());
    let _server = folder.serve(&source);
    for (condition, says) in [
        (["--client", "198.51.100.300"], "2001:db8::/32"),
        (["--client", "198.51.100.0/33"], "198.51.100.0/24"),
        (
            ["--client", "::ffff:198.51.100.7"],
            "write the IPv4 address",
        ),
        (["--state", "open"], "established"),
        (["--service", "W"], "1 to 32 characters"),
        (["--limit", "many"], "--limit"),
    ] {
        let ran = folder.synward(&[&["flows"], &condition[..]].concat());
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{condition:?}");
        assert!(ran.stderr.contains(says), "{condition:?}: {}", ran.stderr);
    }
}

/// So does every command that takes the name of a service.
#[test]
fn an_unknown_service_exits_with_1_and_lists_the_known_ones() {
    let (folder, source) = (TestFolder::new(), FakeAppliance::new());
    let _server = folder.serve(&source);
    for command in [
        &["flows", "--service", "wbe"][..],
        &["mode", "wbe", "monitor"],
        &["allow", "list", "--service", "wbe"],
        &["allow", "add", "192.0.2.0/24", "--service", "wbe"],
        &["deny", "remove", "192.0.2.0/24", "--service", "wbe"],
        &["capture", "--service", "wbe", "--out", "/dev/null"],
    ] {
        let ran = folder.synward(command);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{command:?}");
        assert!(
            ran.stderr
                .starts_with("synward: there is no service \"wbe\"; there is web, mail"),
            "{command:?}: {}",
            ran.stderr
        );
    }
}

#[test]
fn further_pages_are_fetched_until_the_limit() {
    let (folder, source) = (TestFolder::new(), FakeAppliance::new());
    let _server = folder.serve(&source);
    let ran = folder.synward(&["flows", "--limit", "30000"]);
    assert_eq!((ran.code, ran.stdout.lines().count()), (0, 1 + 6));
    assert_eq!(ran.stderr, "synward: 6 of 100 flows; more with --limit\n");
}
