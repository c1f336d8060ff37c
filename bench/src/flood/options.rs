//! The command line of `bench flood`.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::prefix::Prefix;

/// The longest flood: whoever needs more starts another.
const LONGEST: f64 = 600.0;

/// Command line of `bench flood`.
#[derive(Args)]
pub(crate) struct Options {
    /// Interface to send on: a veth, unless --i-own-this-network
    #[arg(long, value_name = "IF")]
    pub(super) interface: String,
    /// Where to: 192.0.2.10:80 or [2001:db8:5::10]:80
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(super) destination: SocketAddr,
    /// Prefix of the random source addresses: 10.0.0.0/8 or 2001:db8:f::/64
    #[arg(long, value_name = "PREFIX")]
    pub(super) sources: Prefix,
    /// What to send: SYNs, ACKs with random numbers, or both alike
    #[arg(long, value_enum, default_value = "syn")]
    pub(super) kind: Kind,
    /// TCP options of the SYNs
    #[arg(long, value_enum, default_value = "linux")]
    pub(super) profile: Profile,
    /// Give the ACKs a timestamp option
    #[arg(long)]
    pub(super) timestamps: bool,
    /// Destination MAC (default: of the destination's or its gateway's neighbour entry)
    #[arg(long, value_name = "MAC")]
    pub(super) mac: Option<String>,
    /// Stop after this time, at most 600
    #[arg(long, default_value = "10", value_parser = seconds)]
    pub(super) seconds: Duration,
    /// Stop after this many segments
    #[arg(long, value_parser = number)]
    pub(super) count: Option<u64>,
    /// Segments a second (250000, 250k, 1.5M), or max
    #[arg(long, default_value = "max", value_parser = rate)]
    pub(super) rate: Rate,
    /// Frames that the kernel makes at once
    #[arg(long, default_value = "64", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(super) batch: u32,
    /// Run on this core
    #[arg(long)]
    pub(super) core: Option<usize>,
    /// Count and drop what comes back to the sources; meanwhile takes the place of the interface's XDP program
    #[arg(long)]
    pub(super) count_answers: bool,
    /// Print one line of JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Allow an interface that is no veth
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
}

/// Whose SYN it looks like, by its TCP options.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(super) enum Profile {
    /// MSS, SACK permitted, timestamps, window scale 7
    Linux,
    /// MSS, window scale 8, SACK permitted
    Windows,
    /// MSS, window scale 6, timestamps, SACK permitted
    Macos,
    /// MSS alone
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

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= LONGEST => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!(
            "a flood lasts more than 0 and at most {LONGEST} seconds"
        )),
    }
}

/// A whole number, perhaps with k or M, at least 1.
fn number(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1e3),
        None => text
            .strip_suffix('M')
            .map_or((text, 1.0), |digits| (digits, 1e6)),
    };
    match digits.parse::<f64>() {
        Ok(number) if (1.0..=1e15).contains(&(number * unit)) => Ok((number * unit) as u64),
        _ => Err("a number like 250000, 250k or 1.5M".into()),
    }
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

    #[test]
    fn a_flood_is_bounded_in_time() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(seconds("600"), Ok(Duration::from_secs(600)));
        for wrong in ["0", "-1", "601", "inf", "NaN", "x"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
