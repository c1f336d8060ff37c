//! Problems of a file: each is printed with its line and what would be right.

mod service_problems;

use crate::{INTERFACE, SERVICE, TestFolder};

/// A file with problems, and the expected output.
struct Wrong {
    /// The file; [`TestFolder::cookie`] is appended to it.
    text: String,
    /// The printed lines, without `FILE:`.
    lines: &'static [&'static str],
}

/// A file with a service on lines 4 to 7 and its settings from line 8 on.
fn service(settings: &str, lines: &'static [&'static str]) -> Wrong {
    Wrong {
        text: format!("{INTERFACE}{SERVICE}{settings}\n"),
        lines,
    }
}

/// A file with services from line 4 on.
fn services(text: &str, lines: &'static [&'static str]) -> Wrong {
    Wrong {
        text: format!("{INTERFACE}{text}\n"),
        lines,
    }
}

/// A file with interfaces from line 5 on.
fn interfaces(text: &str, lines: &'static [&'static str]) -> Wrong {
    Wrong {
        text: format!("{SERVICE}{text}\n"),
        lines,
    }
}

/// A valid file followed by `text` from line 8 on.
fn more(text: &str, lines: &'static [&'static str]) -> Wrong {
    service(text, lines)
}

fn wrong_files() -> Vec<Wrong> {
    let mut all = wrong_shapes();
    all.extend(wrong_appliances());
    all.extend(wrong_interfaces());
    all.extend(service_problems::wrong_services());
    all.extend(service_problems::wrong_addresses());
    all.extend(service_problems::wrong_list_files());
    all
}

fn wrong_shapes() -> Vec<Wrong> {
    vec![
        Wrong {
            text: String::new(),
            lines: &[
                "1: no [[interface]]; add one with name = \"eth0\" and side = \"both\"",
                "1: no [[service]]; add one with name = \"web\", addresses = [\"192.0.2.10\"] and ports = [80, 443]",
            ],
        },
        more(
            "handoff = splice",
            &["8: this is not TOML: string values must be quoted, expected literal string"],
        ),
        more(
            "sack = true\nsack = true",
            &["9: `sack` appears twice; remove one"],
        ),
        more("[service]", &["8: `service` appears twice; remove one"]),
        more(
            "[[flows]]",
            &["8: `flows` is not written as a section; write [flows]"],
        ),
        more(
            "[flow]",
            &["8: unknown section `flow`; did you mean [flows]?"],
        ),
        more(
            "[backend]",
            &[
                "8: unknown section `backend`; the sections are [appliance], [cookie], [[interface]], [[service]], [flows]",
            ],
        ),
        Wrong {
            text: format!("ports = [80]\n{INTERFACE}{SERVICE}"),
            lines: &["1: key `ports` is outside of any section; it belongs in [[service]]"],
        },
        more(
            "adresses = []",
            &["8: unknown key `adresses` in [[service]]; did you mean `addresses`?"],
        ),
        more(
            "when-down = \"drop\"",
            &["8: unknown key `when-down` in [[service]]; did you mean `when_down`?"],
        ),
        more(
            "capacity = 5000",
            &["8: unknown key `capacity` in [[service]]; it belongs in [flows]"],
        ),
        more(
            "[flows]\nturbo = 1",
            &[
                "9: unknown key `turbo` in [flows]; its keys are capacity, idle_seconds, closing_seconds",
            ],
        ),
        more(
            "\"\\u001b[31m\\n\" = 1\n[flows]\ncapacity = 1",
            &[
                "8: unknown key `\\u{1b}[31m\\n` in [[service]]; its keys are name, addresses, ports, handoff, mode, allow, deny, \
             allow_file, deny_file, fragments, unknown, plain_cookies, when_down, when_absent, rtt, cookies, hold_bytes, \
             openings_per_source, openings_per_server, replies_per_prefix, mss, wscale, sack, timestamps, ecn, \
             activate_syn_rate, deactivate_syn_rate, hold_seconds, on_event",
                "10: `capacity` is 1; use a whole number from 1024 to 16777216",
            ],
        ),
    ]
}

fn wrong_appliances() -> Vec<Wrong> {
    vec![
        more(
            "[appliance]\ncontrol = \"synward.sock\"\nmetrics = \"localhost:9470\"\ncores = []\npolling = \"lazy\"\nresponder = 1\n\
             pin = \"../bpf\"\nadopt_seconds = 3601",
            &[
                "9: `control` is \"synward.sock\"; use an absolute path, such as \"/run/synward/control.sock\"",
                "10: `metrics` is \"localhost:9470\"; use an address and a port, such as \"127.0.0.1:9470\" or \"[::1]:9470\", \
                or \"\" for none",
                "11: `cores` is an empty list; use \"auto\" or a list of CPU numbers, such as [2, 3]",
                "12: `polling` is \"lazy\"; use \"adaptive\" or \"busy\"",
                "13: `responder` is 1; use \"auto\", \"afxdp\" or \"xdp\"",
                "14: `pin` is \"../bpf\"; use an absolute path on a BPF file system, such as \"/sys/fs/bpf/synward\", or \"\" \
                for none",
                "15: `adopt_seconds` is 3601; use a whole number from 0 to 3600",
            ],
        ),
        more(
            "[appliance]\nmetrics = \"127.0.0.1:0\"",
            &[
                "9: `metrics` is \"127.0.0.1:0\"; use an address and a port, such as \"127.0.0.1:9470\" or \"[::1]:9470\", or \
                \"\" for none",
            ],
        ),
        more(
            "[appliance]\ncores = [\n  2,\n  3,\n  2,\n  -1,\n]",
            &[
                "12: `cores` holds 2 twice; remove one",
                "13: `cores` holds -1; use a whole number from 0 to 8191",
            ],
        ),
        more(
            "[flows]\ncapacity = 1.5\nidle_seconds = 0\nclosing_seconds = 1e3",
            &[
                "9: `capacity` is a number with a fraction; use a whole number from 1024 to 16777216",
                "10: `idle_seconds` is 0; use a whole number from 60 to 604800",
                "11: `closing_seconds` is a number with a fraction; use a whole number from 1 to 3600",
            ],
        ),
        more(
            "[flows]\ncapacity = 99999999999999999999999\nidle_seconds = 60",
            &[
                "9: `capacity` is 99999999999999999999999; use a whole number from 1024 to 16777216",
                "10: closing_seconds is 240, longer than idle_seconds, which is 60; use at most 60",
            ],
        ),
    ]
}

fn wrong_interfaces() -> Vec<Wrong> {
    vec![
        interfaces(
            "[[interface]]",
            &[
                "5: [[interface]] has no `name`; add name = \"eth0\"",
                "5: [[interface]] has no `side`; add side = \"both\"",
            ],
        ),
        interfaces(
            "[[interface]]\nname = \"eth0\"\nside = \"inside\"",
            &["5: no interface faces clients; set side = \"outside\" or \"both\" on one"],
        ),
        interfaces(
            "[[interface]]\nname = \"eth0\"\nside = \"left\"",
            &["7: `side` is \"left\"; use \"outside\", \"inside\" or \"both\""],
        ),
        interfaces(
            "[[interface]]\nname = \"a_name_too_long_\"\nside = \"both\"",
            &[
                "6: `name` is \"a_name_too_long_\"; use the name that `ip link` shows, 1 to 15 characters",
            ],
        ),
        more(
            "[[interface]]\nside = \"outside\"\nname = \"eth0\"",
            &["10: interface \"eth0\" already exists (line 2); remove one, or use side = \"both\""],
        ),
        interfaces(
            "[[interface]]\nname = \"eth0\"\nside = \"both\"\nxdp = \"generic\"\nzero_copy = \"on\"\nqueues = [0, 256]",
            &[
                "9: zero_copy \"on\" needs the driver's XDP, but xdp is \"generic\"; use xdp = \"native\"",
                "10: `queues` holds 256; use a whole number from 0 to 255",
            ],
        ),
        interfaces(
            "[[interface]]\nname = \"eth0\"\nside = \"both\"\nqueues = 4\nzero_copy = true",
            &[
                "8: `queues` is 4; use \"all\" or a list of queue numbers, such as [0, 1]",
                "9: `zero_copy` is true; use \"auto\", \"on\" or \"off\"",
            ],
        ),
        interfaces(
            "[[interface]]\nname = \"eth0\"\nside = \"both\"\nattach = \"generic\"\nnext = \"filter\"",
            &[
                "8: `attach` is \"generic\"; use \"native\" or \"none\"",
                "9: `next` is \"filter\"; use the absolute path of a pinned XDP program, such as \"/sys/fs/bpf/filter\", or \"\" \
                for none",
            ],
        ),
        interfaces(
            "[[interface]]\nname = \"eth0\"\nside = \"both\"\nattach = \"none\"\nxdp = \"native\"\nnext = \
            \"/sys/fs/bpf/synward/entry\"",
            &[
                "5: `next` of eth0 is /sys/fs/bpf/synward/entry, which is synward's own; name another program",
                "9: xdp says how synward attaches its program, and attach = \"none\" has it attach none; remove xdp",
            ],
        ),
        interfaces(
            "[[interface]]\nname = \"eth0\"\nside = \"both\"\nattach = \"none\"\n[appliance]\npin = \"\"",
            &[
                "5: eth0 has attach = \"none\", so another program calls synward's, which must be pinned; set pin in [appliance]",
            ],
        ),
    ]
}

#[test]
fn every_problem_is_printed_with_its_line() {
    let folder = TestFolder::new();
    let files = wrong_files();
    assert!(files.len() >= 25);
    for Wrong { text, lines } in files {
        let ran = folder.check(text.clone() + &folder.cookie());
        let expected: String = lines.iter().map(|line| format!("FILE:{line}\n")).collect();
        assert_eq!(folder.shorten(&ran.stdout), expected, "\n{text}");
        assert_eq!((ran.code, ran.stderr.as_str()), (1, ""), "\n{text}");
    }
}

#[test]
fn sections_and_lists_have_limits() {
    let folder = TestFolder::new();
    let many = |count: usize, of: fn(usize) -> String| (0..count).map(of).collect::<String>();
    let interface = |n| format!("[[interface]]\nname = \"eth{n}\"\nside = \"both\"\n");
    let service = |n| {
        format!(
            "[[service]]\nname = \"s{n}\"\naddresses = [\"10.0.{}.{}\"]\nports = \"any\"\n",
            n >> 8,
            n & 0xff
        )
    };

    let ran = folder.check(many(32, interface) + &many(1024, service) + &folder.cookie());
    assert_eq!(
        folder.shorten(&ran.stdout),
        "FILE: valid, 1024 services, 32 interfaces\n"
    );

    let ran = folder.check(many(33, interface) + &many(1025, service) + &folder.cookie());
    let expected = "FILE:97: interface 33 of 33; at most 32 are possible: keep those by which clients and servers are reached\n\
        FILE:4196: service 1025 of 1025; at most 1024 are possible: let one service have several addresses, or prefixes\n";
    assert_eq!(folder.shorten(&ran.stdout), expected);

    let ports: Vec<_> = (1..=65).collect();
    let ran = folder.check(format!(
        "{INTERFACE}[[service]]\nname = \"s\"\naddresses = [\"192.0.2.1\"]\nports = {ports:?}{}",
        folder.cookie()
    ));
    assert_eq!(
        folder.shorten(&ran.stdout),
        "FILE:7: `ports` has 65 elements; at most 64 are possible\n"
    );
}
