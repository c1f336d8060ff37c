//! The defences that compete.

mod afxdp_echo;
mod filling;
mod nobody;
mod offers;
pub(super) mod server_kernel;
mod synproxy;
mod synward;
mod xdp_baseline;

use std::fmt;

use anyhow::{Result, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use self::afxdp_echo::Echo;
use self::nobody::Nobody;
use self::server_kernel::Kernel;
use self::synproxy::Synproxy;
use self::synward::{Place, Synward};
use self::xdp_baseline::Baseline;
use super::memory_use::Memory;
use super::netns_lab::{Lab, Path, Role, Site};
use super::work::{Need, Workload};

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

    /// The defence, not raised yet.
    pub(super) fn defence<'a>(self) -> Box<dyn Defence<'a> + 'a> {
        match self {
            Self::Nobody => Box::new(Nobody),
            Self::Kernel => Box::new(Kernel::default()),
            Self::KernelPass => Box::new(Kernel {
                passes: true,
                ..Kernel::default()
            }),
            Self::Syncookies => Box::new(Kernel {
                syncookies: true,
                ..Kernel::default()
            }),
            Self::Synproxy => Box::new(Synproxy { timestamps: false }),
            Self::SynproxyTs => Box::new(Synproxy { timestamps: true }),
            Self::XdpKernelCookie => Box::new(Baseline::KernelCookie { asks: true }),
            Self::XdpKernelCookieBlind => Box::new(Baseline::KernelCookie { asks: false }),
            Self::Bare => Box::new(Baseline::Bare),
            Self::AfxdpEcho => Box::new(Echo::default()),
            Self::SpliceXdp => Box::new(Synward::new(Place::Edge { responder: "xdp" })),
            Self::SpliceAfxdp => Box::new(Synward::new(Place::Edge { responder: "afxdp" })),
            Self::Local => Box::new(Synward::new(Place::Server)),
        }
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        out.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

/// What a contender does in a lab.
pub(super) trait Defence<'a> {
    /// Puts it in the way of the client's connections.
    ///
    /// # Errors
    /// It does not come up.
    fn raise(&mut self, lab: &Lab<'a>) -> Result<Raised>;

    /// How many connections it completed, by its own count; `None` if it counts none.
    ///
    /// # Errors
    /// It does not say.
    fn carried(&self, lab: &Lab<'a>) -> Result<Option<u64>>;

    /// Gives it so many connections to remember beside those of the client.
    ///
    /// # Errors
    /// It keeps none, or has no room; [`Contender::meets`] says who can be asked.
    fn fill(&self, _lab: &Lab<'a>, _flows: u32) -> Result<()> {
        bail!("this defence has no table that can be filled from outside")
    }

    /// What it takes as a program; `None` if it is none.
    ///
    /// # Errors
    /// It does not run.
    fn memory(&self, _lab: &Lab<'a>) -> Result<Option<Memory>> {
        Ok(None)
    }
}

/// Whether a defence is up.
pub(super) enum Raised {
    Up,
    /// It cannot be had here, and why: no fault of this run.
    Refused(String),
}
