//! `[[interface]]`: the network interfaces that receive and transmit.

use std::collections::HashMap;
use std::path::PathBuf;

use super::appliance_section::absolute_path;
use super::choice::choice;
use super::limits;
use super::section_reader::{Table, Value};

/// A network interface with an XDP program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's name for it: 1 to 15 bytes, unique.
    pub name: String,
    /// Whether it faces clients, servers or both.
    pub side: Side,
    /// How the XDP program is attached.
    pub xdp: XdpMode,
    /// How AF_XDP sockets are bound.
    pub zero_copy: ZeroCopy,
    /// Which receive queues get a socket.
    pub queues: Queues,
    /// Who has the kernel run the XDP program.
    pub attach: Attach,
    /// The pinned XDP program that gets what belongs to no service.
    pub next: Option<PathBuf>,
    /// The line of its section in the configuration file.
    pub line: usize,
}

choice! {
    /// What an interface faces.
    pub Side {
        /// Clients, including spoofed ones.
        Outside = "outside",
        /// Protected servers.
        Inside = "inside",
        /// Both: the one-armed appliance.
        Both = "both",
    }
}

impl Side {
    /// Whether clients are on this side.
    pub fn faces_clients(self) -> bool {
        self != Self::Inside
    }

    /// Whether servers are on this side.
    pub fn faces_servers(self) -> bool {
        self != Self::Outside
    }
}

choice! {
    /// How the XDP program is attached.
    pub XdpMode {
        /// In the driver if it supports XDP, else generic.
        Auto = "auto",
        /// In the driver.
        Native = "native",
        /// In the kernel's receive path (XDP_FLAGS_SKB_MODE).
        Generic = "generic",
    }
}

choice! {
    /// How AF_XDP sockets are bound.
    pub ZeroCopy {
        /// With zero-copy if the driver supports it.
        Auto = "auto",
        /// With zero-copy; without it, the start fails.
        On = "on",
        /// In copy mode.
        Off = "off",
    }
}

choice! {
    /// Who has the kernel run the XDP program on an interface.
    pub Attach {
        /// synward attaches it.
        Native = "native",
        /// Another program calls it.
        None = "none",
    }
}

/// Which receive queues get a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Queues {
    /// Every queue of the interface.
    All,
    /// These queues; not empty, no duplicates, each below [`limits::QUEUES`].
    List(Vec<u32>),
}

impl Interface {
    /// How to attach the XDP program. Zero-copy needs the driver's XDP: with generic XDP, sockets receive copies.
    pub fn attach_mode(&self) -> XdpMode {
        match self.zero_copy {
            ZeroCopy::On => XdpMode::Native,
            ZeroCopy::Auto | ZeroCopy::Off => self.xdp,
        }
    }

    /// The settings that let the program be attached where the driver has no XDP.
    pub fn cure_for_native(&self) -> &'static str {
        match self.zero_copy {
            ZeroCopy::On => r#"zero_copy = "auto", which takes what the driver can"#,
            ZeroCopy::Auto | ZeroCopy::Off => r#"xdp = "auto" or "generic""#,
        }
    }

    /// Reads the interfaces in `tables`. One with a problem is left out.
    pub(super) fn read_all(tables: &[Table<'_>]) -> Vec<Self> {
        if let Some(table) = tables.get(limits::INTERFACES) {
            table.problem(
                table.line,
                format!(
                    "interface {} of {}; at most {} are possible: keep those by which clients and servers are reached",
                    limits::INTERFACES + 1,
                    tables.len(),
                    limits::INTERFACES
                ),
            );
        }
        let mut seen = HashMap::new();
        tables
            .iter()
            .filter_map(|table| Self::read(table, &mut seen))
            .collect()
    }

    fn read(table: &Table<'_>, seen: &mut HashMap<String, usize>) -> Option<Self> {
        let name = table.required("name").and_then(|value| name(&value, seen));
        let side = table.required("side").and_then(|value| value.choice());
        let xdp = table.choice_or("xdp", XdpMode::Auto);
        let zero_copy = table.choice_or("zero_copy", ZeroCopy::Auto);
        if let (XdpMode::Generic, ZeroCopy::On, Some(value)) =
            (xdp, zero_copy, table.value("zero_copy"))
        {
            value.problem(
                "zero_copy \"on\" needs the driver's XDP, but xdp is \"generic\"; use xdp = \"native\"",
            );
        }
        let attach = table.choice_or("attach", Attach::Native);
        if let (Attach::None, XdpMode::Native | XdpMode::Generic, Some(value)) =
            (attach, xdp, table.value("xdp"))
        {
            value.problem(
                "xdp says how synward attaches its program, and attach = \"none\" has it attach none; remove xdp",
            );
        }
        let queues = table
            .value("queues")
            .and_then(|value| queues(&value))
            .unwrap_or(Queues::All);
        Some(Self {
            name: name?,
            side: side?,
            xdp,
            zero_copy,
            queues,
            attach,
            next: table.value("next").and_then(|value| next(&value)),
            line: table.line,
        })
    }
}

/// Reads a name that the kernel accepts (dev_valid_name, net/core/dev.c) and that no earlier section has.
fn name(value: &Value<'_>, seen: &mut HashMap<String, usize>) -> Option<String> {
    let cure = format!(
        "use the name that `ip link` shows, 1 to {} characters",
        limits::INTERFACE_NAME
    );
    let name = value.text(&cure)?;
    let strange = |c: char| c == '/' || c == ':' || c == '\0' || c.is_whitespace();
    if name.is_empty()
        || name.len() > limits::INTERFACE_NAME
        || name == "."
        || name == ".."
        || name.contains(strange)
    {
        value.wrong(&cure);
        return None;
    }
    if let Some(line) = seen.insert(name.to_owned(), value.line) {
        value.problem(format!(
            "interface \"{name}\" already exists (line {line}); remove one, or use side = \"both\""
        ));
        return None;
    }
    Some(name.to_owned())
}

fn next(value: &Value<'_>) -> Option<PathBuf> {
    let cure = r#"use the absolute path of a pinned XDP program, such as "/sys/fs/bpf/filter", or "" for none"#;
    if value.as_text() == Some("") {
        return None;
    }
    absolute_path(value, cure)
}

fn queues(value: &Value<'_>) -> Option<Queues> {
    let cure = r#"use "all" or a list of queue numbers, such as [0, 1]"#;
    let queues = value.word_or_numbers("all", limits::QUEUE, limits::QUEUES, cure)?;
    Some(queues.map_or(Queues::All, Queues::List))
}
