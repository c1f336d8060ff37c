//! `bench compare connect`: the time until connections are established and answered.

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

use super::background_flood::{Flood, FloodPath, Flooded, Rate, Target};
use super::compare_options::CompareOptions;
use super::dial::{Dial, WARMING, milliseconds};
use super::work::{Column, Measured, TestBed, Work, column};
use crate::cli_values::{number, seconds};
use crate::connect::Report;

/// Connections before the measurement: they fill caches, and all must succeed.
const WARM_UP: u64 = 100;

const COLUMNS: &[Column] = &[
    column("connected p50", "ms"),
    column("p99", "ms"),
    column("p99.9", "ms"),
    column("answered p50", "ms"),
    column("p99", "ms"),
    column("p99.9", "ms"),
    column("failed", "%"),
    column("SYN sent again", "%"),
    column("begun late p99", "ms"),
    column("SYNs of the flood", "k/s"),
    column("answered", "k/s"),
];

/// Command line of `bench compare connect`.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(super) compare: CompareOptions,
    /// Rates of the floods in SYN/s, separated by commas; 0 = no flood, max = full speed
    #[arg(
        long,
        value_name = "RATES",
        value_delimiter = ',',
        default_value = "0,100k,500k,max"
    )]
    flood: Vec<Rate>,
    /// Connections per second
    #[arg(long, value_name = "R", default_value = "500", value_parser = number)]
    rate: u64,
    /// Time in which connections begin in each turn
    #[arg(long, value_name = "S", default_value = "5", value_parser = seconds)]
    seconds: Duration,
    /// Abandon a connection after this time
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    patience: Duration,
    /// Bytes of each connection's request
    #[arg(long, value_name = "BYTES", default_value = "100", value_parser = clap::value_parser!(u32).range(18..=4096))]
    data: u32,
    /// Core of the client (default: the last)
    #[arg(long, value_name = "CORE")]
    client_core: Option<usize>,
    /// Core of the flood
    #[arg(long, value_name = "CORE", default_value = "0")]
    flood_core: usize,
    /// Use IPv6
    #[arg(long)]
    ipv6: bool,
}

impl Options {
    /// The workload that the options describe.
    ///
    /// # Errors
    /// This process may not run on any core.
    pub(super) fn work(&self) -> Result<Connect> {
        Ok(Connect {
            cases: self.flood.iter().map(ToString::to_string).collect(),
            floods: self.flood.clone(),
            rate: self.rate,
            time: self.seconds,
            flood_core: self.flood_core,
            dial: Dial {
                destination: match self.ipv6 {
                    false => "192.0.2.10:80",
                    true => "[2001:db8:5::10]:80",
                },
                data: self.data,
                patience: self.patience,
                core: match self.client_core {
                    Some(core) => core,
                    None => crate::cores::last_core()?,
                },
            },
            sources: match self.ipv6 {
                false => "10.0.0.0/8",
                true => "2001:db8:f::/48",
            },
        })
    }
}

/// Connections with a request at a constant rate, beside floods of several rates.
pub(super) struct Connect {
    floods: Vec<Rate>,
    cases: Vec<String>,
    rate: u64,
    time: Duration,
    flood_core: usize,
    dial: Dial,
    sources: &'static str,
}

impl Work for Connect {
    fn name(&self) -> &'static str {
        "connect"
    }

    fn title(&self) -> String {
        "Time until connected and until answered".into()
    }

    fn conditions(&self) -> Vec<String> {
        vec![
            format!(
                "{} connections per second for {} s to {}, begun independent of earlier ones, each with an HTTP \
                 request of {} bytes to a stock nginx, closed by a RST, given up after {} s",
                self.rate,
                self.time.as_secs_f64(),
                self.dial.destination,
                self.dial.data,
                self.dial.patience.as_secs_f64()
            ),
            "times count from when a connection was due; failed connections are not in them".into(),
            format!(
                "cores: client {}, flood {}; edge, server and their interrupts share all cores",
                self.dial.core, self.flood_core
            ),
        ]
    }

    fn cases(&self) -> &[String] {
        &self.cases
    }

    fn columns(&self) -> &[Column] {
        COLUMNS
    }

    fn measure(&self, case: usize, test_bed: &TestBed<'_, '_>) -> Result<Measured> {
        let lab = test_bed.lab;
        let count = WARM_UP.to_string();
        let warm_up = self
            .dial
            .open(lab, WARMING, &["--rate", "200", "--connections", &count])?;
        ensure!(
            warm_up.answered == WARM_UP,
            "before any flood {} of {WARM_UP} connections succeeded: {:?}",
            warm_up.answered,
            warm_up.failures
        );
        // Longer than the measurement, which ends the flood.
        let time = self.dial.longest(self.time).min(Duration::from_secs(600));
        let target = Target {
            destination: self.dial.destination,
            sources: self.sources,
            core: self.flood_core,
            flood_path: &FloodPath::front(lab),
            options: &[],
        };
        let flood = Flood::start(lab, self.floods[case], &target, time)?;
        let (rate, time) = (self.rate.to_string(), self.time.as_secs_f64().to_string());
        let report = self
            .dial
            .open(lab, self.time, &["--rate", &rate, "--seconds", &time])?;
        let flooded = flood.map(Flood::stop).transpose()?;
        Ok(Measured {
            connections: warm_up.answered + report.answered,
            figures: figures(&report, flooded.as_ref()),
        })
    }
}

/// In the order of [`COLUMNS`].
fn figures(report: &Report, flood: Option<&Flooded>) -> Vec<Option<f64>> {
    let share = |count: u64| 100.0 * count as f64 / report.attempted.max(1) as f64;
    let connected = milliseconds(&report.until_connected);
    let answered = milliseconds(&report.until_answered);
    let [_, begun_late, _] = milliseconds(&report.begun_late);
    let per_second = |count: fn(&Flooded) -> u64| flood.map(|flood| flood.thousands(count(flood)));
    vec![
        connected[0],
        connected[1],
        connected[2],
        answered[0],
        answered[1],
        answered[2],
        Some(share(report.failed())),
        Some(share(report.syn_retries)),
        begun_late,
        per_second(|flood| flood.syns),
        per_second(|flood| flood.answers.syn_ack),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::background_flood::Answers;
    use super::*;
    use crate::connect::Percentiles;

    #[test]
    fn every_column_has_its_figure() {
        let times = |p50| {
            Some(Percentiles {
                p50,
                p90: 0.0,
                p99: 2.0 * p50,
                p999: 3.0 * p50,
                max: 0.0,
            })
        };
        let report = Report {
            attempted: 200,
            established: 190,
            answered: 180,
            syn_retries: 10,
            failures: [
                ("connect: given up".into(), 10),
                ("answer: given up".into(), 10),
            ]
            .into(),
            seconds: 1.0,
            per_second: 180.0,
            begun_late: times(500.0),
            until_connected: times(1000.0),
            until_answered: times(2000.0),
        };
        let flood = Flooded {
            seconds: 2.0,
            syns: 100_000,
            acks: 0,
            answers: Answers {
                syn_ack: 50_000,
                rst: 0,
            },
        };
        let found = figures(&report, Some(&flood));
        assert_eq!(found.len(), COLUMNS.len());
        let expected = [1.0, 2.0, 3.0, 2.0, 4.0, 6.0, 10.0, 5.0, 1.0, 50.0, 25.0];
        assert_eq!(found, expected.map(Some));
        assert_eq!(figures(&report, None)[9..], [None, None]);
    }
}
