//! The defences that compete.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::netns_lab::{Path, Role, Site};

/// A defence of the lab's server. The command line and the tables use the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Contender {
    /// Everything is dropped in XDP on arrival
    Nobody,
    /// No defence: the server's tcp_syncookies is 0
    Kernel,
    /// The same, behind an XDP program on every interface that passes everything: what XDP costs a veth
    KernelPass,
    /// The server's own cookies: tcp_syncookies = 2
    Syncookies,
    /// nftables' SYNPROXY on the edge, without timestamps
    Synproxy,
    /// nftables' SYNPROXY on the edge, with timestamps
    SynproxyTs,
    /// An XDP program on the server that answers with the kernel's own cookies after a socket look-up
    XdpKernelCookie,
    /// The same without the socket look-up
    XdpKernelCookieBlind,
    /// The least XDP program: one SipHash, fixed options, no look-up; IPv4 only
    Bare,
    /// The least AF_XDP program: SYNs rewritten into SYN-ACKs in place, on the cores of synward's workers; IPv4 only
    AfxdpEcho,
    /// synward on the edge, handoff splice; the XDP program answers SYNs
    SpliceXdp,
    /// synward on the edge, handoff splice; workers answer SYNs over AF_XDP
    SpliceAfxdp,
    /// synward on the edge, handoff splice, mode auto without an attack: the kernel forwards
    SpliceInactive,
    /// synward on the server, handoff local
    Local,
}

impl Contender {
    /// All contenders, in the order of the table.
    pub(crate) fn all() -> Vec<Self> {
        Self::value_variants().to_vec()
    }

    /// The contenders that accept `workload`.
    pub(super) fn suited(workload: Workload) -> Vec<Self> {
        let mut contenders = Self::all();
        contenders.retain(|contender| contender.suits(workload));
        contenders
    }

    /// Whether connections pass through it to the server.
    pub(crate) fn carries(self) -> bool {
        !matches!(
            self,
            Self::Nobody | Self::Bare | Self::AfxdpEcho | Self::XdpKernelCookieBlind
        )
    }

    /// Whether it accepts `workload`.
    pub(super) fn suits(self, workload: Workload) -> bool {
        match workload {
            Workload::Connections => self.carries(),
            Workload::Segments => !matches!(self, Self::KernelPass | Self::SpliceInactive),
        }
    }

    /// The path on which it is installed.
    pub(super) fn path(self, site: Site) -> Path {
        let on_edge = matches!(
            self,
            Self::Synproxy
                | Self::SynproxyTs
                | Self::SpliceXdp
                | Self::SpliceAfxdp
                | Self::SpliceInactive
        );
        if on_edge || site.same_path {
            Path::Edge
        } else {
            Path::Direct
        }
    }

    /// Whether it can do what a case needs beyond its workload.
    pub(super) fn meets(self, need: Need) -> bool {
        match need {
            // A flood would activate it.
            Need::Nothing => self != Self::SpliceInactive,
            Need::Refusals => !matches!(self, Self::Bare | Self::AfxdpEcho),
            Need::ManyFlows => self == Self::SpliceXdp,
            Need::Forwarding => matches!(
                self,
                Self::Kernel
                    | Self::KernelPass
                    | Self::Synproxy
                    | Self::SynproxyTs
                    | Self::SpliceXdp
                    | Self::SpliceAfxdp
                    | Self::SpliceInactive
            ),
        }
    }

    /// Whether floods and connections leave no state in it that affects the next case.
    pub(super) fn forgets_floods(self) -> bool {
        // Half-open connections stay in the kernel's queue for about a minute, closed ones in connection tracking.
        !matches!(
            self,
            Self::Kernel
                | Self::KernelPass
                | Self::Synproxy
                | Self::SynproxyTs
                | Self::SpliceInactive
        )
    }

    /// Interfaces of the path over the edge whose XDP programs serve only floods, or frames that XDP transmits: without
    /// these programs the kernel's offloads work. Empty if the contender forwards in XDP, where a checksum that is left
    /// to the hardware is lost.
    pub(super) fn spared(self) -> &'static [(Role, &'static str)] {
        match self {
            Self::SpliceXdp | Self::SpliceAfxdp | Self::SpliceInactive | Self::KernelPass => &[],
            // Frames that the server's program transmits arrive at the inner interface.
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

    /// Its description on the command line.
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

/// What only some contenders can do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Need {
    Nothing,
    /// To tell a segment that matches no flow from others.
    Refusals,
    /// To have a million connections added at once.
    ManyFlows,
    /// To forward on the edge, or to run beside what forwards.
    Forwarding,
}

/// What a defence receives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Workload {
    /// Connections from client to server.
    Connections,
    /// Segments that open no connection.
    Segments,
}
