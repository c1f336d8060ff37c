//! Every key of the configuration file, once: what is known, what is not built yet, and the words that
//! [`example`] puts beside each. A table: one line a key, so rustfmt keeps out.

use std::fmt::Write as _;

/// A section of the file.
pub(super) struct Section {
    /// Its name without brackets.
    pub(super) name: &'static str,
    /// True if it is written `[[name]]`, once per item.
    pub(super) many: bool,
    /// Its keys, in the order in which they are best read.
    pub(super) keys: &'static [Key],
}

/// A key of a section.
pub(super) struct Key {
    /// The word before the equals sign.
    pub(super) name: &'static str,
    /// What may be done with it.
    pub(super) state: State,
    /// What it does, in a few words; lines after the first go below.
    pub(super) note: &'static str,
}

/// How far a key is.
pub(super) enum State {
    /// May be left out, and then has this value (TOML).
    Default(&'static str),
    /// May be left out, which is not the same as setting it; the example shows this value (TOML), commented out.
    Optional(&'static str),
    /// Must be there; the example shows this value (TOML).
    Required(&'static str),
    /// Documented, and refused by this version.
    NotYet,
}

use State::{Default, NotYet, Optional, Required};

impl Section {
    /// How the section's header is written.
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
        key("control", Default(r#""/run/synward/control.sock""#), "where `synward status` and the like reach the process"),
        key("metrics", Default(r#""127.0.0.1:9470""#), r#"GET /metrics (Prometheus), GET /healthz; "" turns it off"#),
        key("cores", Default(r#""auto""#), "CPUs of the workers, or [2, 3]"),
        key("polling", Default(r#""adaptive""#), r#"or "busy": never sleep, and drive the NIC where it has napi_defer_hard_irqs"#),
        key("responder", Default(r#""auto""#), r#"who answers SYNs: AF_XDP on zero-copy queues, else XDP; "afxdp" | "xdp""#),
        key("pin", Default(r#""/sys/fs/bpf/synward""#), r#"a BPF file system; "" = nothing pinned, nothing survives a restart"#),
        key("adopt_seconds", Default("10"), "at start, segments of unknown connections pass this long; 0 to 3600, 0 = enforce at once"),
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
        "mode 0600; 1 to 4 lines made by `synward secret`: the first issues, all are accepted;\n\
         this one is made at first start; if the key is set, the file must be there",
    )],
};

/// `[[interface]]`
#[rustfmt::skip]
pub(super) const INTERFACE: Section = Section {
    name: "interface",
    many: true,
    keys: &[
        key("name", Required(r#""eth0""#), "as `ip link` shows it"),
        key("side", Required(r#""both""#), r#""outside" = clients, "inside" = servers, "both" = one-armed"#),
        key("xdp", Default(r#""auto""#), r#""native" | "generic""#),
        key("zero_copy", Default(r#""auto""#), r#""on" (refuse to start without) | "off""#),
        key("queues", Default(r#""all""#), "or [0, 1]"),
    ],
};

/// `[[service]]`
#[rustfmt::skip]
pub(super) const SERVICE: Section = Section {
    name: "service",
    many: true,
    keys: &[
        key("name", Required(r#""web""#), "1 to 32 of a-z 0-9 _ -; part of its key: the same on every node"),
        key("addresses", Required(r#"["192.0.2.10", "2001:db8::10"]"#), "addresses and prefixes; of overlapping ones the longest wins"),
        key("ports", Required("[80, 443]"), r#"or "any"; a named port wins over "any""#),
        key("handoff", Default(r#""splice""#), r#"a connection to the server, in the client's name; "local" (this machine's kernel) | "forward" (to one with local)"#),
        key("mode", Default(r#""always""#), r#""monitor" (count only) | "off"; at run time: `synward mode web monitor`"#),
        key("allow", Default("[]"), "prefixes that are never challenged"),
        key("deny", Default("[]"), "prefixes whose segments are dropped"),
        key("fragments", Default(r#""drop""#), r#"or "pass""#),
        key("unknown", Default(r#""drop""#), r#"segments that belong to nothing: "drop" | "reset" | "pass""#),
        key("when_down", Default(r#""reset""#), r#"the server refuses or is silent: "reset" | "drop""#),
        key("rtt", Default(r#""fast""#), r#"or "true": for servers with BBR, one round trip later"#),
        key("cookies", Default("\"auto\""), "local: synward's cookies where this kernel takes clients from them (6.9), else the kernel's; or \"kernel\""),
        key("hold_bytes", Default("16384"), "client data kept while the server answers, per opening; 1460 to 65536"),
        key("mss", Optional("1460"), "this and the next four: learned from the server unless set"),
        key("wscale", Optional("7"), "0 to 14"),
        key("sack", Optional("true"), ""),
        key("timestamps", Optional("true"), ""),
        key("ecn", Optional("false"), ""),
        key("activate_syn_rate", NotYet, ""),
        key("deactivate_syn_rate", NotYet, ""),
        key("hold_seconds", NotYet, ""),
        key("openings_per_source", NotYet, ""),
        key("replies_per_prefix", NotYet, ""),
    ],
};

/// `[flows]`
#[rustfmt::skip]
pub(super) const FLOWS: Section = Section {
    name: "flows",
    many: false,
    keys: &[
        key("capacity", Default("1048576"), "spliced connections at a time; 1024 to 16777216"),
        key("idle_seconds", Default("7500"), "over the two hours of TCP keepalive (RFC 5382)"),
        key("closing_seconds", Default("240"), "after FIN or RST"),
    ],
};

/// The whole file.
pub(super) const SECTIONS: [&Section; 5] = [&APPLIANCE, &COOKIE, &INTERFACE, &SERVICE, &FLOWS];

/// A valid configuration file that shows every key with its default and its meaning.
pub(super) fn example() -> String {
    let mut text = String::from(
        "# Every key of synward's configuration. Only [[interface]] and [[service]] must be there.\n",
    );
    for section in SECTIONS {
        let _ = writeln!(text, "\n{}", section.title());
        for key in section.keys {
            let setting = match key.state {
                Default(value) | Required(value) => format!("{} = {value}", key.name),
                Optional(value) => format!("# {} = {value}", key.name),
                NotYet => continue,
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
