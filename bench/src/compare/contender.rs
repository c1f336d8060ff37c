//! The defences that compete.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::netns_lab::{Path, Role, Site};

/// A way to defend the lab's server. The names are those of the command line and of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Contender {
    /// Everything dropped in XDP as it arrives
    Nobody,
    /// No defence: the server's tcp_syncookies is 0
    Kernel,
    /// The same, behind an XDP program on every interface that lets everything pass: what XDP costs a veth
    KernelPass,
    /// The server's own cookies: tcp_syncookies = 2
    Syncookies,
    /// nftables' SYNPROXY on the edge, without timestamps
    Synproxy,
    /// nftables' SYNPROXY on the edge, with timestamps
    SynproxyTs,
    /// An XDP program on the server that answers with the kernel's own cookies, and asks its socket table before
    XdpKernelCookie,
    /// The same, but answers every SYN without asking
    XdpKernelCookieBlind,
    /// The least XDP program: one SipHash, fixed options, no look-up; IPv4 alone
    Bare,
    /// The least AF_XDP program: SYNs turned into SYN-ACKs where they lie, on the cores of synward's workers; IPv4 alone
    AfxdpEcho,
    /// synward on the edge, handoff splice; the XDP program answers SYNs
    SpliceXdp,
    /// synward on the edge, handoff splice; workers answer SYNs over AF_XDP
    SpliceAfxdp,
    /// synward on the server, handoff local
    Local,
}

impl Contender {
    /// All of them, in the order of the table.
    pub(crate) fn all() -> Vec<Self> {
        Self::value_variants().to_vec()
    }

    /// Those of them to whom `matter` can be handed.
    pub(super) fn suited(matter: Workload) -> Vec<Self> {
        let mut contenders = Self::all();
        contenders.retain(|contender| contender.suits(matter));
        contenders
    }

    /// Whether connections come through it.
    pub(crate) fn carries(self) -> bool {
        !matches!(
            self,
            Self::Nobody | Self::Bare | Self::AfxdpEcho | Self::XdpKernelCookieBlind
        )
    }

    /// Whether `matter` can be handed to it.
    pub(super) fn suits(self, matter: Workload) -> bool {
        match matter {
            Workload::Connections => self.carries(),
            Workload::Segments => self != Self::KernelPass,
        }
    }

    /// The path on which it stands.
    pub(super) fn path(self, site: Site) -> Path {
        let on_edge = matches!(
            self,
            Self::Synproxy | Self::SynproxyTs | Self::SpliceXdp | Self::SpliceAfxdp
        );
        if on_edge || site.same_path {
            Path::Edge
        } else {
            Path::Direct
        }
    }

    /// Whether it can be asked for more than `matter` implies.
    pub(super) fn meets(self, need: Need) -> bool {
        match need {
            Need::Nothing => true,
            Need::Refusals => !matches!(self, Self::Bare | Self::AfxdpEcho),
            Need::ManyFlows => self == Self::SpliceXdp,
            Need::Forwarding => matches!(
                self,
                Self::Kernel
                    | Self::Synproxy
                    | Self::SynproxyTs
                    | Self::SpliceXdp
                    | Self::SpliceAfxdp
            ),
        }
    }

    /// Whether floods and connections leave nothing behind in it that would be in the way of what comes next.
    pub(super) fn forgets_floods(self) -> bool {
        // Half-open connections stay in the kernel's queue for about a minute, and closed ones in connection tracking.
        !matches!(
            self,
            Self::Kernel | Self::KernelPass | Self::Synproxy | Self::SynproxyTs
        )
    }

    /// Interfaces of the path over the edge whose programs are there for floods, or for what XDP transmits, alone:
    /// without them the kernel's offloads work. None if it forwards in XDP, where a checksum that is left to the hardware
    /// is lost.
    pub(super) fn spared(self) -> &'static [(Role, &'static str)] {
        match self {
            Self::SpliceXdp | Self::SpliceAfxdp | Self::KernelPass => &[],
            // What the server's program transmits arrives at the inner interface.
            Self::XdpKernelCookie
            | Self::XdpKernelCookieBlind
            | Self::Bare
            | Self::AfxdpEcho
            | Self::Local => &[(Role::Client, "client0"), (Role::Edge, "out0")],
            Self::Nobody | Self::Kernel | Self::Syncookies | Self::Synproxy | Self::SynproxyTs => {
                &[
                    (Role::Client, "client0"),
                    (Role::Edge, "out0"),
                    (Role::Edge, "in0"),
                    (Role::Server, "server0"),
                ]
            }
        }
    }

    /// A sentence on what it is.
    pub(crate) fn about(self) -> String {
        let value = self.to_possible_value();
        let help = value.as_ref().and_then(|value| value.get_help());
        help.map(ToString::to_string).unwrap_or_default()
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        out.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

/// What not every contender can do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Need {
    Nothing,
    /// To tell a segment that belongs to nothing from others.
    Refusals,
    /// To be given a million connections at once.
    ManyFlows,
    /// To forward, or to stand beside what forwards, on the edge.
    Forwarding,
}

/// What is handed to a defence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Workload {
    /// Connections from client to server.
    Connections,
    /// Segments that come to nothing.
    Segments,
}
