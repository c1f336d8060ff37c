//! The command line of `bench connect`.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::http_request;
use super::schedule::{Pace, Schedule};
use crate::cli_values::{number, seconds};

/// Default for the time in which connections begin.
const USUAL_TIME: Duration = Duration::from_secs(10);

/// Command line of `bench connect`.
#[derive(Args)]
pub(crate) struct Options {
    /// Targets, used in turn: 192.0.2.10:80 or [2001:db8:5::10]:80
    #[allow(rustdoc::broken_intra_doc_links, reason = "an IPv6 address")]
    #[arg(required = true, value_name = "ADDRESS:PORT")]
    pub(super) targets: Vec<SocketAddr>,
    /// Connections per second (2500, 2.5k), independent of earlier ones
    #[arg(long, value_name = "R", default_value = "1000", value_parser = number)]
    rate: u64,
    /// Keep this many connections open instead, each followed by another: measures the greatest rate
    #[arg(long, value_name = "N", conflicts_with = "rate", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    closed: Option<u32>,
    /// Stop after this many connections
    #[arg(long, value_name = "N", value_parser = number)]
    connections: Option<u64>,
    /// Begin no connection after this time (default: 10, or none with --connections)
    #[arg(long, value_name = "S", value_parser = seconds)]
    seconds: Option<Duration>,
    /// Range of source ports, used in turn; taken ports are skipped (default: the kernel chooses)
    #[arg(long, value_name = "FROM-TO", value_parser = ports)]
    pub(super) source_ports: Option<RangeInclusive<u16>>,
    /// Send an HTTP request of this many bytes, and measure the time until the first byte of an answer too
    #[arg(long, value_name = "BYTES",
        value_parser = clap::value_parser!(u32).range(http_request::SHORTEST..=http_request::LONGEST))]
    pub(super) data: Option<u32>,
    /// How successful connections end
    #[arg(long, value_enum, default_value = "rst")]
    pub(super) close: Close,
    /// Abandon a connection after this time
    #[arg(long, value_name = "S", default_value = "20", value_parser = seconds)]
    pub(super) patience: Duration,
    /// Run on this core
    #[arg(long)]
    pub(super) core: Option<usize>,
    /// Print one line of JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Options {
    /// The times at which connections are due.
    pub(super) fn schedule(&self) -> Schedule {
        let pace = match self.closed {
            Some(at_once) => Pace::AtOnce(at_once as usize),
            None => Pace::PerSecond(self.rate),
        };
        let time = match (self.seconds, self.connections) {
            (Some(time), _) => time,
            (None, Some(_)) => Duration::MAX,
            (None, None) => USUAL_TIME,
        };
        Schedule::new(pace, self.connections.unwrap_or(u64::MAX), time)
    }
}

/// How a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(super) enum Close {
    /// By a RST: leaves no TIME_WAIT, so the port is free at once
    Rst,
    /// By a FIN, as most programs do
    Fin,
}

fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let range = text
        .split_once('-')
        .and_then(|(from, to)| Some(from.parse::<u16>().ok()?..=to.parse::<u16>().ok()?));
    match range {
        Some(range) if *range.start() > 0 && !range.is_empty() => Ok(range),
        _ => Err("a range of ports like 20000-29999".into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn parse(line: &str) -> Result<Options, String> {
        let words = std::iter::once("connect").chain(line.split_whitespace());
        Line::try_parse_from(words)
            .map(|line| line.options)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn both_families_and_several_targets() {
        let options = parse("192.0.2.10:80 [2001:db8:5::10]:443").unwrap();
        assert_eq!(
            options.targets,
            [
                "192.0.2.10:80".parse().unwrap(),
                "[2001:db8:5::10]:443".parse().unwrap()
            ]
        );
        assert!(parse("").is_err(), "a target is needed");
        assert!(parse("192.0.2.10").is_err(), "and its port");
    }

    #[test]
    fn it_ends_by_number_or_by_time() {
        let begun = |line: &str| {
            let mut schedule = parse(line).unwrap().schedule();
            std::iter::from_fn(|| schedule.take(Duration::from_secs(1000), 0)).count()
        };
        assert_eq!(begun("192.0.2.10:80"), 10_000);
        assert_eq!(begun("192.0.2.10:80 --rate 1 --connections 100"), 100);
        assert_eq!(
            begun("192.0.2.10:80 --rate 1 --connections 100 --seconds 5"),
            5
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in [
            "--rate 0",
            "--closed 0",
            "--closed 2 --rate 5",
            "--connections 0",
            "--seconds 0",
            "--data 17",
            "--patience 601",
            "--close slowly",
            "--source-ports 0-9",
            "--source-ports 9-8",
            "--source-ports 9",
            "--source-ports 1-65536",
        ] {
            let line = format!("192.0.2.10:80 {wrong}");
            assert!(parse(&line).is_err(), "{wrong}");
        }
        let ports = parse("192.0.2.10:80 --source-ports 7-7").unwrap();
        assert_eq!(ports.source_ports, Some(7..=7));
    }
}
