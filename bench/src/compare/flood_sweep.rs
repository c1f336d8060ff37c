//! `bench compare sweep`: legitimate connections while a flood into the same receive queue grows.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use super::background_flood::{Flood, FloodPath, Flooded, Rate, Target};
use super::compare_options::CompareOptions;
use super::dial::{Dial, WARMING, milliseconds};
use super::kernel_counters::kernel_counter;
use super::netns_lab::{Lab, Role, Site};
use super::work::{Column, Measured, TestBed, Work, column};
use crate::cli_values::{number, seconds};
use crate::connect::Report;
use crate::cores;

/// Connections before each flood: they fill caches, and verify that the defence is on the path.
const WARM_UP: u64 = 50;

const COLUMNS: &[Column] = &[
    column("flood sent", "k/s"),
    column("arrived", "k/s"),
    column("SYN-ACKs", "k/s"),
    column("goodput", "/s"),
    column("succeeded", "%"),
    column("SYNs sent again", ""),
    column("connected p50", "ms"),
    column("p99", "ms"),
    column("p99.9", "ms"),
    column("answered p50", "ms"),
    column("p99", "ms"),
    column("p99.9", "ms"),
    column("begun late p99", "ms"),
];

/// Command line of `bench compare sweep`.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(super) compare: CompareOptions,
    /// Rates of the floods in SYN/s, ascending, separated by commas; 0 = no flood, max = full speed
    #[arg(
        long,
        value_name = "RATES",
        value_delimiter = ',',
        default_value = "0,25k,50k,100k,200k,400k,800k,1600k,max"
    )]
    flood: Vec<Rate>,
    /// Connections per second
    #[arg(long, value_name = "R", default_value = "500", value_parser = number)]
    rate: u64,
    /// Time in which connections begin under each flood
    #[arg(long, value_name = "S", default_value = "4", value_parser = seconds)]
    seconds: Duration,
    /// Abandon a connection after this time
    #[arg(long, value_name = "S", default_value = "4", value_parser = seconds)]
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
}

impl Options {
    /// The workload that the options describe.
    ///
    /// # Errors
    /// This process may not run on any core.
    pub(super) fn work(&self) -> Result<Sweep> {
        Ok(Sweep {
            cases: self.flood.iter().map(ToString::to_string).collect(),
            floods: self.flood.clone(),
            rate: self.rate,
            time: self.seconds,
            core: self.flood_core,
            dial: Dial {
                destination: "192.0.2.10:80",
                data: self.data,
                patience: self.patience,
                core: match self.client_core {
                    Some(core) => core,
                    None => cores::last_core()?,
                },
            },
        })
    }
}

/// Connections at a constant rate beside floods that grow.
pub(super) struct Sweep {
    floods: Vec<Rate>,
    cases: Vec<String>,
    rate: u64,
    time: Duration,
    core: usize,
    dial: Dial,
}

impl Work for Sweep {
    fn name(&self) -> &'static str {
        "sweep"
    }

    fn title(&self) -> String {
        "Legitimate connections under a growing flood".into()
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
            "interfaces have one receive queue, shared by flood and connections; defences on the server have no \
             edge in front of them, because its kernel would lose more than they do"
                .into(),
            "times count from when a connection was due; failed connections are not in them".into(),
            "goodput: requests answered, divided by the time in which connections began; SYNs sent again: \
             TCPSynRetrans of the client's kernel"
                .into(),
            "flood sent: what the generator made; arrived: what the first receive queue took of it, which \
             overflows while the generator occupies the receiver's core"
                .into(),
            "floods follow each other in one lab, in ascending order; if a defence keeps state of them or of \
             closed connections (kernel, synproxy), each flood has its own lab"
                .into(),
            format!(
                "cores: client {}, flood {}; edge, server and their interrupts share all cores",
                self.dial.core, self.core
            ),
        ]
    }

    fn site(&self) -> Site {
        Site {
            queues: 1,
            same_path: false,
            ..Site::default()
        }
    }

    fn shares_lab(&self) -> bool {
        true
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
        // A few connections may stall because of the defence; this is measured below.
        ensure!(
            2 * warm_up.answered >= WARM_UP,
            "without a flood {} of {WARM_UP} connections succeeded: {:?}",
            warm_up.answered,
            warm_up.failures
        );
        // Longer than the measurement, which ends the flood.
        let time = self.dial.longest(self.time).min(Duration::from_secs(600));
        let target = Target {
            destination: self.dial.destination,
            sources: "10.0.0.0/8",
            core: self.core,
            flood_path: &FloodPath::front(lab),
            options: &[],
        };
        let flood = Flood::start(lab, self.floods[case], &target, time)?;
        let before = SweepCounters::now(lab)?;
        let (rate, time) = (self.rate.to_string(), self.time.as_secs_f64().to_string());
        let report = self
            .dial
            .open(lab, self.time, &["--rate", &rate, "--seconds", &time])?;
        let seen = SweepCounters::now(lab)?.since(&before);
        let flooded = flood.map(Flood::stop).transpose()?;
        Ok(Measured {
            connections: warm_up.answered + report.answered,
            figures: figures(&report, &seen, self.time, flooded.as_ref()),
        })
    }
}

/// Counters at one moment, or their differences.
struct SweepCounters {
    at: Instant,
    seconds: f64,
    /// SYNs that the client's kernel has retransmitted.
    retried: u64,
    /// Frames of the flood that arrived where it is received.
    arrived: u64,
}

impl SweepCounters {
    fn now(lab: &Lab<'_>) -> Result<Self> {
        let client = |file, group, name| {
            kernel_counter(lab, Role::Client, file, group, name)
                .context("reading the counters of the client's kernel failed")
        };
        let (role, interface) = lab.front();
        let sent = client("/proc/net/snmp", "Tcp:", "OutSegs")?
            + client("/proc/net/snmp", "Tcp:", "OutRsts")?;
        Ok(Self {
            retried: client("/proc/net/netstat", "TcpExt:", "TCPSynRetrans")?,
            arrived: lab.received(role, interface)?.saturating_sub(sent),
            at: Instant::now(),
            seconds: 0.0,
        })
    }

    fn since(&self, earlier: &Self) -> Self {
        Self {
            at: self.at,
            seconds: (self.at - earlier.at).as_secs_f64(),
            retried: self.retried - earlier.retried,
            arrived: self.arrived.saturating_sub(earlier.arrived),
        }
    }
}

/// In the order of [`COLUMNS`].
fn figures(
    report: &Report,
    seen: &SweepCounters,
    time: Duration,
    flood: Option<&Flooded>,
) -> Vec<Option<f64>> {
    let per_second =
        |count: fn(&Flooded) -> u64| flood.map_or(0.0, |flood| flood.thousands(count(flood)));
    let connected = milliseconds(&report.until_connected);
    let answered = milliseconds(&report.until_answered);
    let [_, begun_late, _] = milliseconds(&report.begun_late);
    vec![
        Some(per_second(|flood| flood.syns)),
        Some(flood.map_or(0.0, |_| seen.arrived as f64 / seen.seconds / 1e3)),
        Some(per_second(|flood| flood.answers.syn_ack)),
        Some(report.answered as f64 / time.as_secs_f64()),
        Some(100.0 * report.answered as f64 / report.attempted.max(1) as f64),
        Some(seen.retried as f64),
        connected[0],
        connected[1],
        connected[2],
        answered[0],
        answered[1],
        answered[2],
        begun_late,
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
            failures: [("connect: given up".into(), 20)].into(),
            seconds: 4.0,
            per_second: 45.0,
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
        let seen = SweepCounters {
            at: Instant::now(),
            seconds: 2.0,
            retried: 12,
            arrived: 80_000,
        };
        let found = figures(&report, &seen, Duration::from_secs(2), Some(&flood));
        assert_eq!(found.len(), COLUMNS.len());
        let expected = [
            50.0, 40.0, 25.0, 90.0, 90.0, 12.0, 1.0, 2.0, 3.0, 2.0, 4.0, 6.0, 1.0,
        ];
        assert_eq!(found, expected.map(Some));
        let found = figures(&report, &seen, Duration::from_secs(2), None);
        assert_eq!(found[..3], [Some(0.0); 3]);
    }
}
