//! `[[service]]`: what is protected, and how.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::address;
use super::choice::choice;
use super::claims::Claims;
use super::limits;
use super::reader::{Table, Value};

/// A protected service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// 1 to 32 of `a-z 0-9 _ -`, unique; part of the service's key derivation.
    pub name: String,
    /// Where it is; host addresses have full prefix length. Not empty, unicast, none twice.
    pub addresses: Vec<IpNet>,
    /// Which ports it has there.
    pub ports: Ports,
    /// How proven clients are handed onward.
    pub handoff: Handoff,
    /// Whether clients are challenged.
    pub mode: Mode,
    /// Who is never challenged. The longest prefix of `allow` and `deny` decides; none is in both.
    pub allow: Vec<IpNet>,
    /// Whose segments are dropped.
    pub deny: Vec<IpNet>,
    /// What happens to fragments.
    pub fragments: Fragments,
    /// What happens to segments that belong to nothing.
    pub unknown: Unknown,
    /// What a client gets whose server refuses or is silent.
    pub when_down: WhenDown,
    /// Which round-trip time the server sees in the handshake.
    pub rtt: Rtt,
    /// Bytes of client data kept per opening while the server answers.
    pub hold_bytes: u32,
    /// Whose cookies the clients of a local service get.
    pub cookies: Cookies,
    /// Options to offer in place of what the server was seen to offer.
    pub offer: Offer,
    /// The line of its section in the configuration file.
    pub line: usize,
}

/// Destination ports of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Every port that no other service names for the same address.
    Any,
    /// These; not empty, none zero, none twice.
    List(Vec<u16>),
}

/// TCP options that are fixed by the configuration; `None` = learned from the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// Maximum segment size.
    pub mss: Option<u16>,
    /// Window scale, 0 to 14.
    pub wscale: Option<u8>,
    /// Selective acknowledgements.
    pub sack: Option<bool>,
    /// Timestamps.
    pub timestamps: Option<bool>,
    /// Explicit congestion notification (RFC 3168).
    pub ecn: Option<bool>,
}

choice! {
    /// How a proven client is handed onward.
    pub Handoff {
        /// A second connection to the server, sequence numbers translated in XDP.
        Splice = "splice",
        /// This machine's own kernel; the application accepts it like any other connection.
        Local = "local",
        /// The kernel of another machine that runs synward with `local` and has the service's key.
        Forward = "forward",
    }
}

choice! {
    /// Whether clients are challenged.
    pub Mode {
        /// Always.
        Always = "always",
        /// Never; SYNs and what passes are counted.
        Monitor = "monitor",
        /// Never; for now the same as `monitor`.
        Off = "off",
    }
    not_yet { "auto" }
}

choice! {
    /// What happens to IP fragments.
    pub Fragments {
        /// They are dropped and counted.
        Drop = "drop",
        /// The kernel gets them.
        Pass = "pass",
    }
}

choice! {
    /// What happens to segments that belong to no flow, no opening and no cookie.
    pub Unknown {
        /// They are dropped and counted.
        Drop = "drop",
        /// They are answered with RST.
        Reset = "reset",
        /// The kernel gets them.
        Pass = "pass",
    }
}

choice! {
    /// What a client gets whose server refuses or is silent.
    pub WhenDown {
        /// RST.
        Reset = "reset",
        /// Nothing.
        Drop = "drop",
    }
}

choice! {
    /// Which round-trip time the server sees in the handshake.
    pub Rtt {
        /// synward's own: the first byte comes a round trip sooner.
        Fast = "fast",
        /// The client's: for servers with BBR.
        True = "true",
    }
}

choice! {
    /// Whose cookies the clients of a local service get.
    pub Cookies {
        /// synward's own where this kernel takes connections from them, else the kernel's.
        Auto = "auto",
        /// The kernel's.
        Kernel = "kernel",
    }
}

impl Service {
    /// The addresses that it names exactly.
    pub fn hosts(&self) -> impl Iterator<Item = IpAddr> {
        let nets = self.addresses.iter();
        let hosts = nets.filter(|net| net.prefix_len() == net.max_prefix_len());
        hosts.map(|net| net.addr())
    }

    /// The addresses and ports that it names exactly.
    pub fn servers(&self) -> impl Iterator<Item = SocketAddr> {
        let ports = match &self.ports {
            Ports::List(ports) => ports.as_slice(),
            Ports::Any => &[],
        };
        self.hosts()
            .flat_map(move |ip| ports.iter().map(move |port| SocketAddr::new(ip, *port)))
    }

    /// The services that `tables` describe; fewer if something is wrong with one.
    pub(super) fn read_all(tables: &[Table<'_>]) -> Vec<Self> {
        if let Some(table) = tables.get(limits::SERVICES) {
            table.problem(
                table.line,
                format!(
                    "service {} of {}; at most {} are possible",
                    limits::SERVICES + 1,
                    tables.len(),
                    limits::SERVICES
                ),
            );
        }
        let mut names = HashMap::new();
        let mut claims = Claims::default();
        tables
            .iter()
            .filter_map(|table| Self::read(table, &mut names, &mut claims))
            .collect()
    }

    fn read(
        table: &Table<'_>,
        names: &mut HashMap<String, usize>,
        claims: &mut Claims,
    ) -> Option<Self> {
        let name = table.required("name").and_then(|value| name(&value, names));
        let addresses = table
            .required("addresses")
            .and_then(|value| addresses(&value));
        let ports = table.required("ports").and_then(|value| ports(&value));
        let deny = prefixes(table, "deny");
        let allow = prefixes(table, "allow");
        refuse_both(&allow, &deny);
        let offer = offer(table, addresses.as_deref().unwrap_or_default());
        let handoff = table.choice_or("handoff", Handoff::Splice);
        require_wscale(table, handoff, &offer);
        let cookies = table.choice_or("cookies", Cookies::Auto);
        refuse_cookies(table, handoff, cookies);
        let hold_bytes = table.number_or("hold_bytes", limits::HOLD_BYTES, 16384);
        let service = Self {
            handoff,
            mode: table.choice_or("mode", Mode::Always),
            fragments: table.choice_or("fragments", Fragments::Drop),
            unknown: table.choice_or("unknown", Unknown::Drop),
            when_down: table.choice_or("when_down", WhenDown::Reset),
            rtt: table.choice_or("rtt", Rtt::Fast),
            hold_bytes: u32::try_from(hold_bytes).ok()?,
            cookies,
            offer,
            line: table.line,
            name: name?,
            addresses: addresses.iter().flatten().map(|(_, net)| *net).collect(),
            ports: ports?,
            allow: allow.into_iter().map(|(_, net)| net).collect(),
            deny: deny.into_iter().map(|(_, net)| net).collect(),
        };
        for (value, net) in addresses? {
            claims.claim(&value, net, &service);
        }
        Some(service)
    }
}

/// A value that was read, and what it says.
type Listed<'a> = (Value<'a>, IpNet);

/// Whether `name` can be a service's: 1 to 32 of `a-z 0-9 _ -`.
pub fn is_name(name: &str) -> bool {
    let known = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    (1..=limits::SERVICE_NAME).contains(&name.len()) && name.bytes().all(known)
}

fn name(value: &Value<'_>, names: &mut HashMap<String, usize>) -> Option<String> {
    let cure = format!(
        "use 1 to {} characters of a-z, 0-9, _ and -",
        limits::SERVICE_NAME
    );
    let name = value.text(&cure)?;
    if !is_name(name) {
        value.wrong(&cure);
        return None;
    }
    if let Some(line) = names.insert(name.to_owned(), value.line) {
        value.problem(format!(
            "service \"{name}\" is there already (line {line}); give each service a name of its own"
        ));
        return None;
    }
    Some(name.to_owned())
}

fn addresses<'a>(value: &Value<'a>) -> Option<Vec<Listed<'a>>> {
    let cure = r#"use a list of addresses and prefixes, such as ["192.0.2.10", "198.51.100.0/24"]"#;
    let elements = value.list(limits::ADDRESSES, cure)?;
    if elements.is_empty() {
        value.problem(format!("`addresses` is an empty list; {cure}"));
        return None;
    }
    nets(elements, cure, address::parse_unicast)
}

fn prefixes<'a>(table: &Table<'a>, key: &'static str) -> Vec<Listed<'a>> {
    let cure = r#"use a list of prefixes, such as ["203.0.113.0/24"]"#;
    let elements = table
        .value(key)
        .and_then(|value| value.list(limits::LISTED, cure));
    elements
        .and_then(|elements| nets(elements, cure, address::parse))
        .unwrap_or_default()
}

/// What the elements say; `None` if something is wrong with one.
fn nets<'a>(
    elements: Vec<Value<'a>>,
    cure: &str,
    parse: fn(&str) -> Result<IpNet, String>,
) -> Option<Vec<Listed<'a>>> {
    let count = elements.len();
    let mut nets: Vec<Listed<'a>> = Vec::with_capacity(count);
    for element in elements {
        match element.text(cure).map(parse) {
            Some(Ok(net)) if nets.iter().any(|(_, known)| *known == net) => element.twice(),
            Some(Ok(net)) => nets.push((element, net)),
            Some(Err(what)) => element.problem(what),
            None => {}
        }
    }
    (nets.len() == count).then_some(nets)
}

fn ports(value: &Value<'_>) -> Option<Ports> {
    let cure = r#"use a list of ports, such as [80, 443], or "any""#;
    let ports = value.word_or_numbers("any", limits::PORT, limits::PORTS, cure)?;
    Some(ports.map_or(Ports::Any, Ports::List))
}

/// The same prefix cannot be in `allow` and in `deny`; of different ones the longest wins.
fn refuse_both(allow: &[Listed<'_>], deny: &[Listed<'_>]) {
    for (value, net) in deny {
        if let Some((first, _)) = allow.iter().find(|(_, allowed)| allowed == net) {
            let shown = address::shown(*net);
            value.problem(format!(
                "{shown} is in `allow` too (line {}); take it out of one of them",
                first.line
            ));
        }
    }
}

/// Nobody asks a server on another machine what it does, and what is promised for it has to hold there.
fn require_wscale(table: &Table<'_>, handoff: Handoff, offer: &Offer) {
    if handoff == Handoff::Forward
        && offer.wscale.is_none()
        && let Some(value) = table.value("handoff")
    {
        value.problem(
            "handoff = \"forward\" needs `wscale`, here and in the server's own configuration the same, such as `wscale = 7`",
        );
    }
}

/// The kernel's cookies are of use to the kernel alone.
fn refuse_cookies(table: &Table<'_>, handoff: Handoff, cookies: Cookies) {
    if handoff != Handoff::Local
        && cookies == Cookies::Kernel
        && let Some(value) = table.value("cookies")
    {
        value.problem(format!(
            "`cookies` is \"kernel\", which is for handoff = \"local\" alone, and this service's is \"{handoff}\"; take it out"
        ));
    }
}

fn offer(table: &Table<'_>, addresses: &[Listed<'_>]) -> Offer {
    let number = |key, range| {
        table
            .value(key)
            .and_then(|value| Some((value, value.number(range)?)))
    };
    let mss =
        number("mss", limits::MSS).and_then(|(value, mss)| Some((value, u16::try_from(mss).ok()?)));
    if let Some((value, mss)) = mss
        && mss < limits::MSS_IPV6
        && let Some((_, net)) = addresses
            .iter()
            .find(|(_, net)| matches!(net, IpNet::V6(_)))
    {
        let shown = address::shown(*net);
        value.wrong(&format!(
            "{shown} is IPv6, which needs at least {}",
            limits::MSS_IPV6
        ));
    }
    Offer {
        mss: mss.map(|(_, mss)| mss),
        wscale: number("wscale", limits::WSCALE).and_then(|(_, wscale)| u8::try_from(wscale).ok()),
        sack: table.boolean("sack"),
        timestamps: table.boolean("timestamps"),
        ecn: table.boolean("ecn"),
    }
}
