//! `bench compare carry`: the throughput of established connections, and the cost of a packet.
//!
//! Bulk transfers are measured twice. *At its best*: XDP programs that a defence does not need are detached, so the
//! kernel's offloads work wherever possible. *Offloads equalised*: all offloads are off, so that packets have the same
//! size for all. For the cost of a packet, one segment of a real connection is sent repeatedly and dropped in XDP where
//! the server would receive it; the cost of generator and reception is measured on a spare veth and subtracted.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};
use serde_json::Value;

use super::background_flood::{Flood, FloodPath};
use super::compare_options::CompareOptions;
use super::contender::{Contender, Need};
use super::cpu_time::Span;
use super::netns_lab::{Lab, PATIENCE, Role, Site};
use super::process::Process;
use super::spare_veth::{SPARE, add_spare_veth};
use super::work::{Column, Measured, TestBed, Work, column};
use crate::cli_values::seconds;

/// Port on which iperf3 listens.
const PORT: u16 = 5201;
const SERVER: &str = "192.0.2.10";
const PATH: [(Role, &str); 4] = [
    (Role::Client, "client0"),
    (Role::Edge, "out0"),
    (Role::Edge, "in0"),
    (Role::Server, "server0"),
];

const COLUMNS: &[Column] = &[
    column("down", "Gbit/s"),
    column("up", "Gbit/s"),
    column("sent", "k/s"),
    column("forwarded", "k/s"),
    column("generator, a packet", "ns"),
    column("lab's tasks, a packet", "ns"),
    column("packets by a CPU", "k/s"),
];
/// Columns of bulk transfers.
const BULK: usize = 2;

/// Command line of `bench compare carry`.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(super) compare: CompareOptions,
    /// Kinds of traffic, separated by commas
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "best,equal,packets"
    )]
    kind: Vec<Kind>,
    /// Duration of each transfer and each packet flow
    #[arg(long, value_name = "S", default_value = "3", value_parser = seconds)]
    seconds: Duration,
    /// Core of the generator of packets
    #[arg(long, value_name = "CORE", default_value = "0")]
    flood_core: usize,
}

/// Traffic of established connections.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Kind {
    /// Bulk transfers, with all offloads that the defence permits
    Best,
    /// Bulk transfers without offloads
    Equal,
    /// One segment, sent repeatedly
    Packets,
}

impl Kind {
    fn case(self) -> &'static str {
        match self {
            Self::Best => "bulk, each at its best",
            Self::Equal => "bulk, offloads equalised",
            Self::Packets => "one connection's packets at full speed",
        }
    }
}

impl Options {
    /// The workload that the options describe.
    pub(super) fn work(&self) -> Carry {
        Carry {
            cases: self.kind.iter().map(|kind| kind.case().into()).collect(),
            kinds: self.kind.clone(),
            time: self.seconds,
            core: self.flood_core,
        }
    }
}

/// Bulk transfers and small packets through established connections.
pub(super) struct Carry {
    kinds: Vec<Kind>,
    cases: Vec<String>,
    time: Duration,
    core: usize,
}

impl Work for Carry {
    fn name(&self) -> &'static str {
        "carry"
    }

    fn title(&self) -> String {
        "What established connections carry".into()
    }

    fn conditions(&self) -> Vec<String> {
        vec![
            format!(
                "bulk: iperf3 over one connection, {} s from server to client (down), then as long from client \
                 to server, CUBIC; all share all cores",
                self.time.as_secs_f64()
            ),
            "at its best: XDP programs that the defence does not need are detached, and checksum, segmentation \
             and receive offloads are on, except where it forwards in XDP; equalised: offloads are off on all \
             interfaces (tx, sg, tso, \
             gso, gro)"
                .into(),
            format!(
                "packets: a data segment of 16 bytes, made on core {}, dropped in XDP at the server; costs as in `answer`, \
                 minus the cost of generator and reception on a spare veth; packets by a CPU: packets forwarded \
                  by a CPU that does nothing else",
                self.core
            ),
        ]
    }

    fn site(&self) -> Site {
        Site {
            ports: &[80, PORT],
            ..Site::default()
        }
    }

    fn need(&self, case: usize) -> Need {
        match self.kinds[case] {
            Kind::Best | Kind::Equal => Need::Nothing,
            Kind::Packets => Need::Forwarding,
        }
    }

    /// Starts iperf3 before the defence, which may probe the server's listeners for their options.
    fn prepare<'a>(&self, lab: &Lab<'a>) -> Result<Vec<Process<'a>>> {
        let port = PORT.to_string();
        let arguments = ["-s", "-p", &port, "--forceflush"];
        let mut server = lab
            .begin(Role::Server, "iperf3", arguments)
            .context("iperf3 is needed: apt-get install iperf3")?;
        server.until("iperf3 listens", PATIENCE, |server| {
            Ok(server.printed().contains("listening"))
        })?;
        Ok(vec![server])
    }

    fn cases(&self) -> &[String] {
        &self.cases
    }

    fn columns(&self) -> &[Column] {
        COLUMNS
    }

    fn measure(&self, case: usize, test_bed: &TestBed<'_, '_>) -> Result<Measured> {
        match self.kinds[case] {
            Kind::Best => {
                detach_spared(test_bed.lab, test_bed.contender)?;
                self.bulk(test_bed.lab)
            }
            Kind::Equal => {
                for (role, interface) in PATH {
                    offloads(test_bed.lab, role, interface, "off")?;
                }
                self.bulk(test_bed.lab)
            }
            Kind::Packets => self.packets(test_bed.lab),
        }
    }
}

impl Carry {
    fn bulk(&self, lab: &Lab<'_>) -> Result<Measured> {
        let down = self.transfer(lab, &["--reverse"])?;
        let up = self.transfer(lab, &[])?;
        let mut figures = vec![Some(down), Some(up)];
        figures.resize(COLUMNS.len(), None);
        // Each transfer has a control connection and a data connection.
        Ok(Measured {
            connections: 4,
            figures,
        })
    }

    /// Gbit/s received.
    fn transfer(&self, lab: &Lab<'_>, more: &[&str]) -> Result<f64> {
        let (port, time) = (PORT.to_string(), self.time.as_secs_f64().ceil().to_string());
        let mut arguments = vec!["-c", SERVER, "-p", &port, "-t", &time, "--json"];
        arguments.extend(more);
        let printed = lab
            .begin(Role::Client, "iperf3", arguments)?
            .finish(self.time + PATIENCE)?;
        let report: Value = serde_json::from_str(&printed)
            .with_context(|| format!("iperf3 reported something unexpected: {printed}"))?;
        report
            .pointer("/end/sum_received/bits_per_second")
            .and_then(Value::as_f64)
            .map(|bits| bits / 1e9)
            .with_context(|| format!("iperf3 reports no throughput: {printed}"))
    }

    fn packets(&self, lab: &Lab<'_>) -> Result<Measured> {
        let flood_path = add_spare_veth(lab)?;
        let generator = {
            let flood = self.flood(lab, &flood_path, &["--onto", SPARE.sent_on])?;
            let span = Span::of_flood(lab, &flood_path, self.time)?;
            flood.stop()?;
            span
        };
        let flood_path = FloodPath::front(lab);
        let flood = self.flood(lab, &flood_path, &[])?;
        // Attached only now: the connection has to be established first.
        let drop_all = ["pass", "--interface", "server0", "--drop"];
        lab.run(Role::Server, lab.bench(), drop_all, PATIENCE)?;
        let before = lab.received(Role::Server, "server0")?;
        let with = Span::of_flood(lab, &flood_path, self.time)?;
        let forwarded = lab.received(Role::Server, "server0")? - before;
        flood.stop()?;
        ensure!(
            forwarded > 0,
            "no frame of the connection arrived at the server"
        );
        Ok(Measured {
            connections: 2,
            figures: packet_figures(&generator, &with, forwarded as f64),
        })
    }

    fn flood<'a>(
        &self,
        lab: &Lab<'a>,
        flood_path: &FloodPath<'_>,
        more: &[&str],
    ) -> Result<Flood<'a>> {
        let (core, time) = (self.core.to_string(), (self.time + PATIENCE).as_secs());
        let (destination, time) = (format!("{SERVER}:80"), time.to_string());
        let mut arguments = vec![
            "repeat",
            "--destination",
            &destination,
            "--interface",
            "client0",
            "--core",
            &core,
            "--seconds",
            &time,
            "--json",
        ];
        arguments.extend(more);
        Flood::begin(lab, flood_path, &arguments)
    }
}

/// Detaches the programs that the contender does not need, so that the kernel's offloads work.
fn detach_spared(lab: &Lab<'_>, contender: Contender) -> Result<()> {
    for (role, interface) in contender.spared() {
        let detach = ["pass", "--interface", interface, "--detach"];
        lab.run(*role, lab.bench(), detach, PATIENCE)?;
    }
    if !contender.spared().is_empty() {
        for (role, interface) in PATH {
            offloads(lab, role, interface, "on")?;
        }
    }
    Ok(())
}

fn offloads(lab: &Lab<'_>, role: Role, interface: &str, to: &str) -> Result<()> {
    let all = [
        "-K", interface, "tx", to, "sg", to, "tso", to, "gso", to, "gro", to,
    ];
    lab.run(role, "ethtool", all, PATIENCE).map(drop)
}

/// In the order of [`COLUMNS`].
fn packet_figures(generator: &Span, with: &Span, forwarded: f64) -> Vec<Option<f64>> {
    let generated = generator.tasks / generator.arrived.max(1.0);
    let cost = (with.tasks - generated * with.arrived) / forwarded;
    let thousands = |count: f64| Some(count / with.seconds / 1e3);
    let mut figures = vec![None; BULK];
    figures.extend([
        thousands(with.arrived),
        thousands(forwarded),
        Some(generated),
        Some(cost),
        (cost > 0.0).then_some(1e6 / cost),
    ]);
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_costs_what_the_generator_does_not() {
        let generator = Span {
            seconds: 1.0,
            tasks: 1e6,
            arrived: 10_000.0,
            ..Span::default()
        };
        let with = Span {
            seconds: 2.0,
            tasks: 2e6,
            arrived: 4000.0,
            ..Span::default()
        };
        let found = packet_figures(&generator, &with, 3200.0);
        assert_eq!(found.len(), COLUMNS.len());
        let expected = [2.0, 1.6, 100.0, 500.0, 2000.0];
        assert_eq!(found[BULK..], expected.map(Some));
    }
}
