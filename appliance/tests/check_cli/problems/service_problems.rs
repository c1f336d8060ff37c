//! Problems of services: their settings, addresses and lists.

use super::{Wrong, more, service, services};

pub(super) fn wrong_services() -> Vec<Wrong> {
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
            "mode = \"alway\"\nfragments = \"keep\"\nunknown = \"\"\nwhen_down = \"pass\"\nrtt = true\nwhen_absent = \
            \"answer\"\nplain_cookies = \"no\"",
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
                "8: `plain_cookies` is \"refuse\" and `timestamps` is false, which together refuse every client; remove one of \
                them",
            ],
        ),
        services(
            "[[service]]\nname = \"web\"\naddresses = [\"2001:db8::10\"]\nports = [80]\nmss = 1200",
            &["8: `mss` is 1200; 2001:db8::10 is IPv6, which needs at least 1220"],
        ),
    ]
}

pub(super) fn wrong_addresses() -> Vec<Wrong> {
    vec![
        services(
            "[[service]]\nname = \"web\"\naddresses = []\nports = \"any\"",
            &[
                "6: `addresses` is an empty list; use a list of addresses and prefixes, such as [\"192.0.2.10\", \
                \"198.51.100.0/24\"]",
            ],
        ),
        services(
            "[[service]]\nname = \"web\"\naddresses = \"192.0.2.10\"\nports = \"any\"",
            &[
                "6: `addresses` is \"192.0.2.10\"; use a list of addresses and prefixes, such as [\"192.0.2.10\", \
                \"198.51.100.0/24\"]",
            ],
        ),
        services(
            "[[service]]\nname = \"web\"\naddresses = [\n  \"192.0.2.10/24\",\n  \"www.example.org\",\n  \"127.0.0.1\",\n  \
            \"ff02::1\",\n  \"::\",\n  \
             \"192.0.2.1\",\n  \"192.0.2.1/32\",\n  7,\n]\nports = \"any\"",
            &[
                "7: \"192.0.2.10/24\" has host bits set; use \"192.0.2.0/24\" or \"192.0.2.10\"",
                "8: \"www.example.org\" is not an address; use one like \"192.0.2.10\" or \"2001:db8::10\", or a prefix like \
                \"198.51.100.0/24\"",
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
                "9: \"nowhere\" is not an address; use one like \"192.0.2.10\" or \"2001:db8::10\", or a prefix like \
                \"198.51.100.0/24\"",
            ],
        ),
        service(
            "handoff = \"forward\"",
            &[
                "8: handoff = \"forward\" needs `wscale`, here and in the server's own configuration the same, such as `wscale = \
                7`",
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

/// Wrong names of files of lists; `prefix_file` tests their content.
pub(super) fn wrong_list_files() -> Vec<Wrong> {
    vec![service(
        "allow_file = \"allow\"\ndeny_file = \"/nonexistent/deny\"\nallow = [\"::ffff:192.0.2.1\"]",
        &[
            "8: `allow_file` is \"allow\"; use an absolute path, such as \"/etc/synward/deny\", or \"\" for none",
            "9: `deny_file`: /nonexistent/deny does not exist; create it (it may be empty), or remove the key",
            "10: \"::ffff:192.0.2.1\" is an IPv4-mapped IPv6 address; write the IPv4 address or prefix",
        ],
    )]
}
