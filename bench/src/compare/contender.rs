//! The defences that compete.

mod kernel;
mod nobody;
mod synproxy;
mod synward;

use std::fmt;

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;

use self::kernel::Kernel;
use self::nobody::Nobody;
use self::synproxy::Synproxy;
use self::synward::{Place, Synward};
use super::lab::{Lab, Path};
use super::work::Matter;

/// A way to defend the lab's server. The names are those of the command line and of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Contender {
    /// Everything dropped in XDP as it arrives
    Nobody,
    /// No defence: the server's tcp_syncookies is 0
    Kernel,
    /// The server's own cookies: tcp_syncookies = 2
    Syncookies,
    /// nftables' SYNPROXY on the edge, without timestamps
    Synproxy,
    /// nftables' SYNPROXY on the edge, with timestamps
    SynproxyTs,
    /// synward on the edge, handoff splice; the XDP program answers SYNs
    SpliceXdp,
    /// synward on the edge, handoff splice; workers answer SYNs over AF_XDP
    SpliceAfxdp,
    /// synward on the server, handoff local
    Local,
}

impl Contender {
    /// All of them, in the order of the table.
    pub(super) fn all() -> Vec<Self> {
        Self::value_variants().to_vec()
    }

    /// Those of them to whom `matter` can be handed.
    pub(super) fn suited(matter: Matter) -> Vec<Self> {
        let mut contenders = Self::all();
        contenders.retain(|contender| contender.suits(matter));
        contenders
    }

    /// Whether `matter` can be handed to it.
    pub(super) fn suits(self, matter: Matter) -> bool {
        self != Self::Nobody || matter == Matter::Segments
    }

    /// The path on which it stands.
    pub(super) fn path(self, matter: Matter) -> Path {
        match (matter, self) {
            (Matter::Segments, Self::Nobody | Self::Kernel | Self::Syncookies | Self::Local) => {
                Path::Direct
            }
            _ => Path::Edge,
        }
    }

    /// A sentence on what it is.
    pub(super) fn about(self) -> String {
        let value = self.to_possible_value();
        let help = value.as_ref().and_then(|value| value.get_help());
        help.map(ToString::to_string).unwrap_or_default()
    }

    /// The defence, not raised yet.
    pub(super) fn defence<'a>(self) -> Box<dyn Defence<'a> + 'a> {
        match self {
            Self::Nobody => Box::new(Nobody),
            Self::Kernel => Box::new(Kernel { syncookies: false }),
            Self::Syncookies => Box::new(Kernel { syncookies: true }),
            Self::Synproxy => Box::new(Synproxy { timestamps: false }),
            Self::SynproxyTs => Box::new(Synproxy { timestamps: true }),
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
}

/// Whether a defence is up.
pub(super) enum Raised {
    Up,
    /// It cannot be had here, and why: no fault of this run.
    Refused(String),
}
