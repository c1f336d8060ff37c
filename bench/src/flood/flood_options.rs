//! The command line of `bench flood`.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::prefix::Prefix;
use crate::cli_values::{number, seconds};

/// Command line of `bench flood`.
#[derive(Args)]
pub(crate) struct Options {
    /// Interface to send on: a veth, unless --i-own-this-network
    #[arg(long, value_name = "IF")]
    pub(super) interface: String,
    /// Destination: 192.0.2.10:80 or [2001:db8:5::10]:80
    #[allow(rustdoc::broken_intra_doc_links, reason = "an IPv6 address")]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(super) destination: SocketAddr,
    /// Prefix of the random source addresses: 10.0.0.0/8 or 2001:db8:f::/64
    #[arg(long, value_name = "PREFIX")]
    pub(super) sources: Prefix,
    /// Segments to send: SYNs, ACKs with random numbers, both in equal parts, or whole handshakes
    #[arg(long, value_enum, default_value = "syn")]
    pub(super) kind: Kind,
    /// TCP options of the SYNs
    #[arg(long, value_enum, default_value = "linux")]
    pub(super) profile: Profile,
    /// Give the ACKs a timestamp option
    #[arg(long)]
    pub(super) timestamps: bool,
    /// Destination MAC (default: from the neighbour entry of the destination or its gateway)
    #[arg(long, value_name = "MAC")]
    pub(super) mac: Option<String>,
    /// Stop after this time, at most 600
    #[arg(long, default_value = "10", value_parser = seconds)]
    pub(super) seconds: Duration,
    /// Stop after this many segments
    #[arg(long, value_parser = number)]
    pub(super) count: Option<u64>,
    /// Segments per second (250000, 250k, 1.5M), or max
    #[arg(long, default_value = "max", value_parser = rate)]
    pub(super) rate: Rate,
    /// Frames that the kernel makes in one batch
    #[arg(long, default_value = "64", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(super) batch: u32,
    /// Run on this core
    #[arg(long)]
    pub(super) core: Option<usize>,
    /// Send SYNs from packet sockets on these cores, in bursts a millisecond apart, and sleep in between: for rates that
    /// need no core of their own. The system under test gets the rest of the cores
    #[arg(
        long,
        value_name = "CORES",
        value_delimiter = ',',
        requires = "rate",
        conflicts_with = "core"
    )]
    pub(super) bursts_from: Vec<usize>,
    /// Count and drop answers to the sources; replaces the interface's XDP program meanwhile, as handshakes do
    #[arg(long)]
    pub(super) count_answers: bool,
    /// Print one line of JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Allow an interface other than a veth
    #[arg(long)]
    pub(super) i_own_this_network: bool,
}

/// Which segments a flood consists of.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Syn,
    Ack,
    Mixed,
    /// SYNs, and ACKs of their SYN-ACKs: connections that are opened and never used
    Handshake,
    /// One segment of a connection, unchanged: `bench repeat`.
    #[value(skip)]
    Exact,
}

impl Kind {
    /// `KIND` of bench/ebpf/src/flood/flood_plan.rs.
    pub(super) fn of_program(self) -> u32 {
        match self {
            Self::Syn | Self::Handshake => 0,
            Self::Ack => 1,
            Self::Mixed => 2,
            Self::Exact => 3,
        }
    }
}

/// The system whose TCP options the SYN has.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(super) enum Profile {
    /// MSS, SACK permitted, timestamps, window scale 7
    Linux,
    /// MSS, window scale 8, SACK permitted
    Windows,
    /// MSS, window scale 6, timestamps, SACK permitted
    Macos,
    /// MSS only
    Old,
    /// No options
    Bare,
}

/// How fast to send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Rate {
    Max,
    PerSecond(u64),
}

fn rate(text: &str) -> Result<Rate, String> {
    match text {
        "max" => Ok(Rate::Max),
        _ => number(text).map(Rate::PerSecond),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_take_units() {
        assert_eq!(rate("max"), Ok(Rate::Max));
        assert_eq!(rate("250k"), Ok(Rate::PerSecond(250_000)));
        assert_eq!(rate("1.5M"), Ok(Rate::PerSecond(1_500_000)));
        assert_eq!(rate("7"), Ok(Rate::PerSecond(7)));
        for wrong in ["", "0", "-1", "k", "1G", "NaN", "inf"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
