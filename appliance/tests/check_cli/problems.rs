//! Problems of a file: each is printed with its line and what would be right.

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
    all.extend(wrong_services());
    all.extend(wrong_addresses());
    all.extend(wrong_list_files());
    all
}

/// Wrong names of files of lists; `prefix_file` tests their content.
fn wrong_list_files() -> Vec<Wrong> {
    vec![service(
        "allow_file = \"allow\"\ndeny_file = \"/nonexistent/deny\"\nallow = [\"::ffff:192.0.2.1\"]",
        &[
            "8: `allow_file` is \"allow\"; use an absolute path, such as \"/etc/synward/deny\", or \"\" for none",
            "9: `deny_file`: /nonexistent/deny does not exist; create it (it may be empty), or remove the key",
            "10: \"::ffff:192.0.2.1\" is an IPv4-mapped IPv6 address; write the IPv4 address or prefix",
        ],
    )]
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
                "10: `metrics` is \"localhost:9470\"; use an address and a port, such as \"127.0.0.1:9470\" or \"[::1]:9470\", or \"\" for none",
                "11: `cores` is an empty list; use \"auto\" or a list of CPU numbers, such as [2, 3]",
                "12: `polling` is \"lazy\"; use \"adaptive\" or \"busy\"",
                "13: `responder` is 1; use \"auto\", \"afxdp\" or \"xdp\"",
                "14: `pin` is \"../bpf\"; use an absolute path on a BPF file system, such as \"/sys/fs/bpf/synward\", or \"\" for none",
                "15: `adopt_seconds` is 3601; use a whole number from 0 to 3600",
            ],
        ),
        more(
            "[appliance]\nmetrics = \"127.0.0.1:0\"",
            &[
                "9: `metrics` is \"127.0.0.1:0\"; use an address and a port, such as \"127.0.0.1:9470\" or \"[::1]:9470\", or \"\" for none",
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
                "9: `next` is \"filter\"; use the absolute path of a pinned XDP program, such as \"/sys/fs/bpf/filter\", or \"\" for none",
            ],
        ),
        interfaces(
            "[[interface]]\nname = \"eth0\"\nside = \"both\"\nattach = \"none\"\nxdp = \"native\"\nnext = \"/sys/fs/bpf/synward/entry\"",
            &[
                "5: `next` of eth0 is /sys/fs/bpf/synward/entry, which is synward's own; name the program of somebody else",
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

fn wrong_services() -> Vec<Wrong> {
    vec![
        services(
            "[[service]]",
            &[
                "4: [[service]] has no `name`; add name = \"web\"",
                "4: [[service]] has no `addresses`; add addresses = [\"192.0.2.10\", \"2001:db8::10\"]",
                "4: [[service]] has no `ports`; add ports = [80, 443]",
            ],
        ),
        services(
            "[[service]]\nname = \"Web\"\naddresses = [\"192.0.2.10\"]\nports = [80]",
            &["5: `name` is \"Web\"; use 1 to 32 characters of a-z, 0-9, _ and -"],
        ),
        more(
            "[[service]]\nname = \"web\"\naddresses = [\"192.0.2.11\"]\nports = [80]",
            &["9: service \"web\" already exists (line 5); give each service a name of its own"],
        ),
        services(
            "[[service]]\nname = \"web\"\naddresses = [\"192.0.2.10\"]\nports = [0, 80, 80, 65536, \"443\"]",
            &[
                "7: `ports` holds 0; use a whole number from 1 to 65535",
                "7: `ports` holds 80 twice; remove one",
                "7: `ports` holds 65536; use a whole number from 1 to 65535",
                "7: `ports` holds \"443\"; use a whole number from 1 to 65535",
            ],
        ),
        services(
            "[[service]]\nname = \"web\"\naddresses = [\"192.0.2.10\"]\nports = \"all\"",
            &["7: `ports` is \"all\"; use a list of ports, such as [80, 443], or \"any\""],
        ),
        service(
            "mode = \"alway\"\nfragments = \"keep\"\nunknown = \"\"\nwhen_down = \"pass\"\nrtt = true\nwhen_absent = \"answer\"\nplain_cookies = \"no\"",
            &[
                "8: `mode` is \"alway\"; use \"always\", \"auto\", \"monitor\" or \"off\"",
                "9: `fragments` is \"keep\"; use \"drop\" or \"pass\"",
                "10: `unknown` is \"\"; use \"drop\", \"reset\" or \"pass\"",
                "11: `when_down` is \"pass\"; use \"reset\" or \"drop\"",
                "12: `rtt` is true; use \"fast\" or \"true\"",
                "13: `when_absent` is \"answer\"; use \"drop\" or \"pass\"",
                "14: `plain_cookies` is \"no\"; use \"limit\", \"accept\" or \"refuse\"",
            ],
        ),
        service(
            "hold_bytes = 1459\nopenings_per_source = 0\nopenings_per_server = 8193\nreplies_per_prefix = 1000001",
            &[
                "8: `hold_bytes` is 1459; use a whole number from 1460 to 65536",
                "9: `openings_per_source` is 0; use a whole number from 1 to 8192",
                "10: `openings_per_server` is 8193; use a whole number from 1 to 8192",
                "11: `replies_per_prefix` is 1000001; use a whole number from 0 to 1000000",
            ],
        ),
        service(
            "hold_bytes = 1459\nmss = 535\nwscale = 15\nsack = \"yes\"\ntimestamps = 1\necn = []",
            &[
                "8: `hold_bytes` is 1459; use a whole number from 1460 to 65536",
                "9: `mss` is 535; use a whole number from 536 to 65495",
                "10: `wscale` is 15; use a whole number from 0 to 14",
                "11: `sack` is \"yes\"; use true or false",
                "12: `timestamps` is 1; use true or false",
                "13: `ecn` is a list; use true or false",
            ],
        ),
        service(
            "plain_cookies = \"refuse\"\ntimestamps = false",
            &[
                "8: `plain_cookies` is \"refuse\" and `timestamps` is false, which together refuse every client; remove one of them",
            ],
        ),
        services(
            "[[service]]\nname = \"web\"\naddresses = [\"2001:db8::10\"]\nports = [80]\nmss = 1200",
            &["8: `mss` is 1200; 2001:db8::10 is IPv6, which needs at least 1220"],
        ),
    ]
}

fn wrong_addresses() -> Vec<Wrong> {
    vec![
        services(
            "[[service]]\nname = \"web\"\naddresses = []\nports = \"any\"",
            &[
                "6: `addresses` is an empty list; use a list of addresses and prefixes, such as [\"192.0.2.10\", \"198.51.100.0/24\"]",
            ],
        ),
        services(
            "[[service]]\nname = \"web\"\naddresses = \"192.0.2.10\"\nports = \"any\"",
            &[
                "6: `addresses` is \"192.0.2.10\"; use a list of addresses and prefixes, such as [\"192.0.2.10\", \"198.51.100.0/24\"]",
            ],
        ),
        services(
            "[[service]]\nname = \"web\"\naddresses = [\n  \"192.0.2.10/24\",\n  \"www.example.org\",\n  \"127.0.0.1\",\n  \"ff02::1\",\n  \"::\",\n  \
             \"192.0.2.1\",\n  \"192.0.2.1/32\",\n  7,\n]\nports = \"any\"",
            &[
                "7: \"192.0.2.10/24\" has host bits set; use \"192.0.2.0/24\" or \"192.0.2.10\"",
                "8: \"www.example.org\" is not an address; use one like \"192.0.2.10\" or \"2001:db8::10\", or a prefix like \"198.51.100.0/24\"",
                "9: \"127.0.0.1\" is loopback; use the address at which clients reach the server",
                "10: \"ff02::1\" is multicast; use the address at which clients reach the server",
                "11: \"::\" is unspecified; use the address at which clients reach the server",
                "13: `addresses` holds \"192.0.2.1/32\" twice; remove one",
                "14: `addresses` holds 7; use a list of addresses and prefixes, such as [\"192.0.2.10\", \"198.51.100.0/24\"]",
            ],
        ),
        more(
            "[[service]]\nname = \"api\"\naddresses = [\"192.0.2.11\", \"192.0.2.10/32\"]\nports = [443, 80]",
            &[
                "10: 192.0.2.10 port 80 belongs to service \"web\" already (line 6); remove it from one of them",
            ],
        ),
        services(
            "[[service]]\nname = \"a\"\naddresses = [\"198.51.100.0/24\"]\nports = \"any\"\n\
             [[service]]\nname = \"b\"\naddresses = [\"198.51.100.0/24\"]\nports = \"any\"",
            &[
                "10: 198.51.100.0/24 port \"any\" belongs to service \"a\" already (line 6); remove it from one of them",
            ],
        ),
        service(
            "allow = [\"203.0.113.1/24\"]\ndeny = [\"nowhere\"]",
            &[
                "8: \"203.0.113.1/24\" has host bits set; use \"203.0.113.0/24\" or \"203.0.113.1\"",
                "9: \"nowhere\" is not an address; use one like \"192.0.2.10\" or \"2001:db8::10\", or a prefix like \"198.51.100.0/24\"",
            ],
        ),
        service(
            "handoff = \"forward\"",
            &[
                "8: handoff = \"forward\" needs `wscale`, here and in the server's own configuration the same, such as `wscale = 7`",
            ],
        ),
        service(
            "cookies = \"kernel\"",
            &[
                "8: `cookies` is \"kernel\", which is for handoff = \"local\" only, and this service's is \"splice\"; remove it",
            ],
        ),
        service(
            "handoff = \"local\"\ncookies = \"theirs\"",
            &["9: `cookies` is \"theirs\"; use \"auto\" or \"kernel\""],
        ),
        service(
            "mode = \"sometimes\"\nactivate_syn_rate = 0\ndeactivate_syn_rate = -1\nhold_seconds = 0",
            &[
                "8: `mode` is \"sometimes\"; use \"always\", \"auto\", \"monitor\" or \"off\"",
                "9: `activate_syn_rate` is 0; use a whole number from 1 to 1000000000",
                "10: `deactivate_syn_rate` is -1; use a whole number from 1 to 1000000000",
                "11: `hold_seconds` is 0; use a whole number from 1 to 86400",
            ],
        ),
        service(
            "mode = \"auto\"\nactivate_syn_rate = 100\ndeactivate_syn_rate = 100",
            &[
                "10: `deactivate_syn_rate` is 100; use a number below `activate_syn_rate`, which is 100",
            ],
        ),
        service(
            "on_event = [\"notify\", 1]",
            &[
                "8: `on_event` holds 1; use a list of a program's path and its arguments, such as \
                 [\"/usr/local/bin/notify\", \"web\"]",
                "8: `on_event` is a list; its first element must be the absolute path of a program",
            ],
        ),
        service(
            "deny = [\"203.0.113.0/24\"]\nallow = [\"0.0.0.0/0\", \"203.0.113.0/24\"]",
            &["8: 203.0.113.0/24 is in `allow` too (line 9); remove it from one of them"],
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
