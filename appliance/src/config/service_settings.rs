//! The settings of one service.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use super::choice::choice;
use super::prefix_file::PrefixFile;

/// A protected service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// 1 to 32 of `a-z 0-9 _ -`, unique; part of the key derivation.
    pub name: String,
    /// Its addresses and prefixes; a single address has full prefix length. Not empty, unicast, no duplicates.
    pub addresses: Vec<IpNet>,
    /// Its ports.
    pub ports: Ports,
    /// How validated clients are handed off.
    pub handoff: Handoff,
    /// Whether clients are challenged.
    pub mode: Mode,
    /// Clients that are never challenged. The longest matching prefix of `allow` and `deny` decides; no prefix is in both.
    pub allow: Vec<IpNet>,
    /// Clients whose segments are dropped.
    pub deny: Vec<IpNet>,
    /// A file with further prefixes for `allow`.
    pub allow_file: PrefixFile,
    /// A file with further prefixes for `deny`.
    pub deny_file: PrefixFile,
    /// The action for IP fragments.
    pub fragments: Fragments,
    /// The action for segments that match no flow.
    pub unknown: Unknown,
    /// How clients without timestamps are treated.
    pub plain_cookies: PlainCookies,
    /// What a client gets if its server refuses or does not answer.
    pub when_down: WhenDown,
    /// What happens to new clients while no process has been there for some seconds.
    pub when_absent: WhenAbsent,
    /// The round-trip time that the server measures in the handshake.
    pub rtt: Rtt,
    /// Bytes of client data buffered per opening until the server answers.
    pub hold_bytes: u32,
    /// Openings of the clients of one prefix (IPv4: 24 bits, IPv6: 56) at one server, for each receive queue.
    pub openings_per_source: u32,
    /// Openings of one server, for each receive queue; one that is silent has an eighth.
    pub openings_per_server: u32,
    /// Replies to one client prefix (/24, IPv6 /64) in a second from one CPU; 0: no limit.
    pub replies_per_prefix: u32,
    /// Which cookies the clients of a local service get.
    pub cookies: Cookies,
    /// When it is under attack.
    pub activation: Activation,
    /// A program and its arguments, run when an attack begins or ends; empty: none.
    pub on_event: Vec<String>,
    /// TCP options to offer instead of those learned from the server.
    pub offer: Offer,
    /// The line of its section in the configuration file.
    pub line: usize,
    /// Whether it is still in the file.
    pub standing: Standing,
}

/// Whether a service of a running appliance is in the configuration file. The programs know services by their index, so
/// the others keep their place until nothing refers to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It is.
    #[default]
    Configured,
    /// A reload has removed it or some of its addresses. Its connections there go on; it challenges nobody.
    Removed,
    /// The index is free.
    Vacant,
}

/// Destination ports of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Every port that no other service names for the same address.
    Any,
    /// These ports; not empty, none is 0, no duplicates.
    List(Vec<u16>),
}

impl Ports {
    /// Whether the port is one of them.
    pub fn contains(&self, port: u16) -> bool {
        match self {
            Self::Any => true,
            Self::List(ports) => ports.contains(&port),
        }
    }
}

/// When a service counts as under attack. `None`: in proportion to what it normally sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activation {
    /// SYNs a second from which on it is.
    pub activate_syn_rate: Option<u32>,
    /// SYNs a second below which it may no longer be; less than `activate_syn_rate`.
    pub deactivate_syn_rate: Option<u32>,
    /// How long the rate must stay below that.
    pub hold: Duration,
}

impl Default for Activation {
    fn default() -> Self {
        Self {
            activate_syn_rate: None,
            deactivate_syn_rate: None,
            hold: Duration::from_secs(60),
        }
    }
}

/// TCP options set by the configuration; `None` = learned from the server.
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
    /// How a validated client is handed off.
    pub Handoff {
        /// A second connection to the server; the XDP program translates sequence numbers.
        Splice = "splice",
        /// To this machine's kernel; the application accepts it like any other connection.
        Local = "local",
        /// To the kernel of another machine that runs synward with `local` and has the service's key.
        Forward = "forward",
    }
}

choice! {
    /// Whether clients are challenged.
    pub Mode {
        /// Always.
        Always = "always",
        /// While the service is under attack.
        Auto = "auto",
        /// Never; SYNs and passed segments are counted, and attacks are reported.
        Monitor = "monitor",
        /// Never; attacks are not reported.
        Off = "off",
    }
}

choice! {
    /// The action for IP fragments.
    pub Fragments {
        /// Drops and counts them.
        Drop = "drop",
        /// Passes them to the kernel.
        Pass = "pass",
    }
}

choice! {
    /// The action for segments that match no flow and no opening and carry no cookie.
    pub Unknown {
        /// Drops and counts them.
        Drop = "drop",
        /// Answers them with RST.
        Reset = "reset",
        /// Passes them to the kernel.
        Pass = "pass",
    }
}

choice! {
    /// How clients without timestamps are treated, whose cookies have a short MAC.
    pub PlainCookies {
        /// Wrong cookies are checked within a limit per client prefix.
        Limit = "limit",
        /// All cookies are checked.
        Accept = "accept",
        /// Their SYNs and cookies are dropped.
        Refuse = "refuse",
    }
}

choice! {
    /// What a client gets if its server refuses or does not answer.
    pub WhenDown {
        /// RST.
        Reset = "reset",
        /// Nothing.
        Drop = "drop",
    }
}

choice! {
    /// What happens to new clients of a spliced service while no process has been there for some seconds.
    pub WhenAbsent {
        /// Their SYNs are dropped: they try again, and health checks see it.
        Drop = "drop",
        /// They pass to the server unchallenged.
        Pass = "pass",
    }
}

choice! {
    /// The round-trip time that the server measures in the handshake.
    pub Rtt {
        /// That to synward: the first byte arrives one round trip earlier.
        Fast = "fast",
        /// That to the client, for servers with BBR.
        True = "true",
    }
}

choice! {
    /// Which cookies the clients of a local service get.
    pub Cookies {
        /// synward's cookies if this kernel accepts connections from them, else the kernel's.
        Auto = "auto",
        /// The kernel's cookies.
        Kernel = "kernel",
    }
}

impl Service {
    /// Whether it is in the configuration file.
    pub fn is_configured(&self) -> bool {
        self.standing == Standing::Configured
    }

    /// What is left of it when a reload has removed it. No service of a file can have the name.
    pub fn removed(mut self) -> Self {
        self.name += " (removed)";
        self.mode = Mode::Off;
        self.standing = Standing::Removed;
        self.clear_lists();
        self
    }

    /// Frees its index.
    pub fn vacate(&mut self) {
        self.name.clear();
        self.addresses.clear();
        self.clear_lists();
        self.mode = Mode::Off;
        self.handoff = Handoff::Splice;
        self.standing = Standing::Vacant;
    }

    fn clear_lists(&mut self) {
        self.allow.clear();
        self.deny.clear();
        self.allow_file = PrefixFile::default();
        self.deny_file = PrefixFile::default();
    }

    /// Its single addresses, without prefixes.
    pub fn hosts(&self) -> impl Iterator<Item = IpAddr> {
        let nets = self.addresses.iter();
        let hosts = nets.filter(|net| net.prefix_len() == net.max_prefix_len());
        hosts.map(|net| net.addr())
    }

    /// The number of pairs of an address or prefix and a port or "any".
    pub(super) fn endpoints(&self) -> usize {
        let ports = match &self.ports {
            Ports::List(ports) => ports.len(),
            Ports::Any => 1,
        };
        self.addresses.len() * ports
    }

    /// Every pair of a single address and a listed port.
    pub fn servers(&self) -> impl Iterator<Item = SocketAddr> {
        let ports = match &self.ports {
            Ports::List(ports) => ports.as_slice(),
            Ports::Any => &[],
        };
        self.hosts()
            .flat_map(move |ip| ports.iter().map(move |port| SocketAddr::new(ip, *port)))
    }
}
