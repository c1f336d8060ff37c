//! `bench compare rate`: how many connections per second are possible, and the CPU time of each.

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};

use super::background_flood::FloodPath;
use super::compare_options::CompareOptions;
use super::cpu_time::{Moment, Span};
use super::dial::{Dial, WARMING, milliseconds};
use super::work::{Column, Measured, TestBed, Work, column};
use crate::cli_values::seconds;
use crate::connect::Report;
use crate::cores;

/// Connections before the measurement.
const WARM_UP: u64 = 100;

const COLUMNS: &[Column] = &[
    column("connections", "/s"),
    column("failed", "%"),
    column("SYN sent again", "%"),
    column("whole machine, a connection", "µs"),
    column("connected p50", "ms"),
    column("p99", "ms"),
];

/// Command line of `bench compare rate`.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(super) compare: CompareOptions,
    /// Number of connections open at a time; each is followed by another
    #[arg(long, value_name = "N", default_value = "64", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    closed: u32,
    /// How connections end, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', default_value = "rst,fin")]
    close: Vec<Close>,
    /// Time in which connections begin in each turn
    #[arg(long, value_name = "S", default_value = "3", value_parser = seconds)]
    seconds: Duration,
    /// Core of the client (default: the last)
    #[arg(long, value_name = "CORE")]
    client_core: Option<usize>,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Close {
    /// The client's RST
    Rst,
    /// FINs of both sides
    Fin,
}

impl Close {
    fn name(self) -> &'static str {
        match self {
            Self::Rst => "rst",
            Self::Fin => "fin",
        }
    }

    fn case(self) -> &'static str {
        match self {
            Self::Rst => "each closed by a RST",
            Self::Fin => "each closed by FINs",
        }
    }
}

impl Options {
    /// The workload that the options describe.
    ///
    /// # Errors
    /// This process may not run on any core.
    pub(super) fn work(&self) -> Result<ConnectionRate> {
        Ok(ConnectionRate {
            cases: self.close.iter().map(|close| close.case().into()).collect(),
            closes: self.close.clone(),
            at_once: self.closed,
            time: self.seconds,
            dial: Dial {
                destination: "192.0.2.10:80",
                data: 100,
                patience: Duration::from_secs(5),
                core: match self.client_core {
                    Some(core) => core,
                    None => cores::last_core()?,
                },
            },
        })
    }
}

/// As many connections as possible, with a fixed number open at a time.
pub(super) struct ConnectionRate {
    closes: Vec<Close>,
    cases: Vec<String>,
    at_once: u32,
    time: Duration,
    dial: Dial,
}

impl Work for ConnectionRate {
    fn name(&self) -> &'static str {
        "rate"
    }

    fn title(&self) -> String {
        "Connections per second".into()
    }

    fn conditions(&self) -> Vec<String> {
        vec![
            format!(
                "{} connections at a time for {} s to {}, each with an HTTP request of {} bytes to a stock nginx and \
                 followed by another; no flood",
                self.at_once,
                self.time.as_secs_f64(),
                self.dial.destination,
                self.dial.data,
            ),
            "costs are busy time of all cores by /proc/stat, including client, server and all other processes: \
             the cost of a defence is the difference to kernel"
                .into(),
            format!(
                "cores: client {}; edge, server and their interrupts share all cores",
                self.dial.core
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
        let close = ["--close", self.closes[case].name()];
        let count = WARM_UP.to_string();
        let few = ["--rate", "200", "--connections", &count];
        let warm_up = self.dial.open(lab, WARMING, &[&few[..], &close].concat())?;
        ensure!(
            warm_up.answered == WARM_UP,
            "at 200 per second {} of {WARM_UP} connections succeeded: {:?}",
            warm_up.answered,
            warm_up.failures
        );
        let flood_path = FloodPath::front(lab);
        let (at_once, time) = (
            self.at_once.to_string(),
            self.time.as_secs_f64().to_string(),
        );
        let before = Moment::now(lab, &flood_path)?;
        let many = ["--closed", &at_once, "--seconds", &time];
        let report = self
            .dial
            .open(lab, self.time, &[&many[..], &close].concat())?;
        let span = Moment::now(lab, &flood_path)?.since(&before);
        Ok(Measured {
            connections: warm_up.answered + report.answered,
            figures: figures(&report, &span),
        })
    }
}

/// In the order of [`COLUMNS`].
fn figures(report: &Report, span: &Span) -> Vec<Option<f64>> {
    let share = |count: u64| 100.0 * count as f64 / report.attempted.max(1) as f64;
    let each = |nanoseconds: f64| {
        (report.answered > 0).then(|| nanoseconds / report.answered as f64 / 1e3)
    };
    let [p50, p99, _] = milliseconds(&report.until_connected);
    vec![
        Some(report.per_second),
        Some(share(report.failed())),
        Some(share(report.syn_retries)),
        each(span.machine),
        p50,
        p99,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_those_of_a_connection() {
        let report = Report {
            attempted: 100,
            established: 80,
            answered: 50,
            syn_retries: 1,
            failures: [("connect: given up".into(), 20)].into(),
            seconds: 2.0,
            per_second: 25.0,
            begun_late: None,
            until_connected: None,
            until_answered: None,
        };
        let span = Span {
            seconds: 2.0,
            machine: 1e7,
            ..Span::default()
        };
        let found = figures(&report, &span);
        assert_eq!(found.len(), COLUMNS.len());
        let expected = [Some(25.0), Some(20.0), Some(1.0), Some(200.0)];
        assert_eq!(found[..4], expected);
        assert_eq!(found[4..], [None, None]);
    }
}
