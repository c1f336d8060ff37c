//! The table of all keys of the configuration file: whether each is implemented, its default, and its description in
//! [`example`]. One line per key, so rustfmt skips the tables.

use std::fmt::Write as _;

/// A section of the file.
pub(super) struct Section {
    /// Its name, without brackets.
    pub(super) name: &'static str,
    /// True for an array of tables: `[[name]]`, once per item.
    pub(super) many: bool,
    /// Its keys, in the order in which the example shows them.
    pub(super) keys: &'static [Key],
}

/// A key of a section.
pub(super) struct Key {
    /// Its name, left of the equals sign.
    pub(super) name: &'static str,
    /// Whether it can be set, and its default.
    pub(super) state: State,
    /// A short description. The example puts its further lines below the first.
    pub(super) note: &'static str,
}

/// Whether a key can be set, and what happens without it.
pub(super) enum State {
    /// Optional, with this default (TOML).
    Default(&'static str),
    /// Optional, without a default value. The example shows this value (TOML), commented out.
    Optional(&'static str),
    /// Required. The example shows this value (TOML).
    Required(&'static str),
}

use State::{Default, Optional, Required};

impl Section {
    /// The section's header.
    pub(super) fn title(&self) -> String {
        if self.many {
            format!("[[{}]]", self.name)
        } else {
            format!("[{}]", self.name)
        }
    }
}

const fn key(name: &'static str, state: State, note: &'static str) -> Key {
    Key { name, state, note }
}

/// `[appliance]`
#[rustfmt::skip]
pub(super) const APPLIANCE: Section = Section {
    name: "appliance",
    many: false,
    keys: &[
        key("control", Default(r#""/run/synward/control.sock""#), "control socket, used by `synward status` and other commands"),
        key("metrics", Default(r#""127.0.0.1:9470""#), r#"GET /metrics (Prometheus), /healthz, /readyz; "" turns it off"#),
        key("cores", Default(r#""auto""#), "CPUs of the workers, or [2, 3]"),
        key("polling", Default(r#""adaptive""#), r#"or "busy": never sleep; poll the NIC's NAPI if napi_defer_hard_irqs is set"#),
        key("responder", Default(r#""auto""#), r#"what answers SYNs: AF_XDP on zero-copy queues, else XDP; "afxdp" | "xdp""#),
        key("pin", Default(r#""/sys/fs/bpf/synward""#),
            r#"directory on a BPF file system; "" = nothing is pinned, nothing survives a restart"#),
        key("adopt_seconds", Default("10"),
            "after the start, segments that match no flow pass this long; 0 to 3600, 0 = enforce at once"),
    ],
};

/// `[cookie]`
#[rustfmt::skip]
pub(super) const COOKIE: Section = Section {
    name: "cookie",
    many: false,
    keys: &[key(
        "secret",
        Optional(r#""/etc/synward/secret""#),
        "mode 0600; 1 to 4 lines from `synward secret`: the first issues cookies, all are accepted;\n\
         this default file is created at first start; a file that is set here must exist",
    )],
};

/// `[[interface]]`
#[rustfmt::skip]
pub(super) const INTERFACE: Section = Section {
    name: "interface",
    many: true,
    keys: &[
        key("name", Required(r#""eth0""#), "interface name, as in `ip link`"),
        key("side", Required(r#""both""#), r#""outside" = clients, "inside" = servers, "both" = one-armed"#),
        key("xdp", Default(r#""auto""#), r#""native" | "generic""#),
        key("zero_copy", Default(r#""auto""#), r#""on" (refuse to start without) | "off""#),
        key("queues", Default(r#""all""#), "or [0, 1]"),
        key("attach", Default(r#""native""#), r#""none" = load and pin only: another program calls PIN/entry (docs/chaining.md)"#),
        key("next", Default(r#""""#), "pinned XDP program that gets what belongs to no service"),
    ],
};

/// `[[service]]`
#[rustfmt::skip]
pub(super) const SERVICE: Section = Section {
    name: "service",
    many: true,
    keys: &[
        key("name", Required(r#""web""#), "1 to 32 of a-z 0-9 _ -; part of the key derivation: the same on every node"),
        key("addresses", Required(r#"["192.0.2.10", "2001:db8::10"]"#),
            "addresses and prefixes; the longest matching prefix wins; leaves out this machine's own addresses"),
        key("ports", Required("[80, 443]"), r#"or "any"; a named port wins over "any""#),
        key("handoff", Default(r#""splice""#),
            r#"a second connection, from the client's address; "local" (this machine) | "forward" (to one with local)"#),
        key("mode", Default(r#""always""#),
            r#""auto" (under attack) | "monitor" (count only) | "off"; at run time: `synward mode web monitor`"#),
        key("allow", Default("[]"), "prefixes that are never challenged"),
        key("deny", Default("[]"), "prefixes whose segments are dropped"),
        key("allow_file", Default(r#""""#), "file with further prefixes for `allow`: one a line, # begins a comment"),
        key("deny_file", Default(r#""""#), "the same for `deny`"),
        key("fragments", Default(r#""drop""#), r#"or "pass""#),
        key("unknown", Default(r#""drop""#), r#"segments that match no flow: "drop" | "reset" | "pass""#),
        key("plain_cookies", Default(r#""limit""#),
            r#"clients without timestamps: "limit" (wrong cookies per client prefix) | "accept" (no limit) | "refuse""#),
        key("when_down", Default(r#""reset""#), r#"if the server refuses or does not answer: "reset" | "drop""#),
        key("when_absent", Default(r#""drop""#),
            r#"SYNs (splice) after some seconds without a process: "drop" | "pass" (unchallenged)"#),
        key("rtt", Default(r#""fast""#), r#"or "true": the server measures the client's RTT (for BBR); costs one round trip"#),
        key("cookies", Default("\"auto\""),
            "local only: synward's cookies if the kernel accepts them (Linux 6.9), else the kernel's; or \"kernel\""),
        key("hold_bytes", Default("16384"), "client data buffered per opening until the server answers; 1460 to 65536"),
        key("openings_per_source", Default("1024"),
            "clients of one prefix (/24, IPv6 /56) that wait for one server, per worker; 1 to 8192"),
        key("openings_per_server", Default("4096"),
            "clients that wait for one server, per worker; an eighth while it is silent; 1 to 8192"),
        key("replies_per_prefix", Default("1000"),
            "SYN-ACKs and RSTs a second to one prefix (/24, IPv6 /64) from one CPU; 0 = no limit"),
        key("mss", Optional("1460"), "this key and the next four: learned from the server unless set"),
        key("wscale", Optional("7"), "0 to 14"),
        key("sack", Optional("true"), ""),
        key("timestamps", Optional("true"), ""),
        key("ecn", Optional("false"), ""),
        key("activate_syn_rate", Optional("10000"),
            "under attack from this many SYNs a second on; unless set, 4 times what is normal, at least 1000"),
        key("deactivate_syn_rate", Optional("5000"), "the attack is over below so many; unless set, half of the former"),
        key("hold_seconds", Default("60"), "for how long it must be; 1 to 86400"),
        key("on_event", Default("[]"),
            r#"or ["/path/of/program", "argument"]: gets each event of this service as JSON on its standard input"#),
    ],
};

/// `[flows]`
#[rustfmt::skip]
pub(super) const FLOWS: Section = Section {
    name: "flows",
    many: false,
    keys: &[
        key("capacity", Default("1048576"), "maximum number of spliced connections; 1024 to 16777216"),
        key("idle_seconds", Default("7500"), "longer than the two hours of TCP keepalive (RFC 5382)"),
        key("closing_seconds", Default("240"), "after both FINs, or a RST"),
    ],
};

/// Every section, in the order of the file.
pub(super) const SECTIONS: [&Section; 5] = [&APPLIANCE, &COOKIE, &INTERFACE, &SERVICE, &FLOWS];

/// A valid configuration file that shows every key with its default and description.
pub(super) fn example() -> String {
    let mut text = String::from(
        "# Every key of synward's configuration. Only [[interface]] and [[service]] are required.\n",
    );
    for section in SECTIONS {
        let _ = writeln!(text, "\n{}", section.title());
        for key in section.keys {
            let setting = match key.state {
                Default(value) | Required(value) => format!("{} = {value}", key.name),
                Optional(value) => format!("# {} = {value}", key.name),
            };
            let mut notes = key.note.lines();
            match notes.next() {
                Some(note) => _ = writeln!(text, "{setting:<46}  # {note}"),
                None => _ = writeln!(text, "{setting}"),
            }
            for note in notes {
                let _ = writeln!(text, "{:<46}  # {note}", "");
            }
        }
    }
    text
}
