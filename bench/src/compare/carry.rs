//! `bench compare carry`: established connections: how much they carry, and what a packet costs.
//!
//! Bulk transfers are measured twice. *At its best*: what a defence does not need is taken off the path, and the
//! kernel's offloads work wherever they can. *Offloads equalised*: none anywhere, so that a packet is a packet for all.
//! For the cost of a packet, one segment of a real connection is sent over and over, and dropped in XDP where the server
//! would receive it; what generator and reception cost is measured on a spare veth and taken off.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};
use serde_json::Value;

use super::background_flood::{Flood, Gate};
use super::compare_options::CompareOptions;
use super::contender::{Contender, Need};
use super::cpu_time::{Moment, Span};
use super::netns_lab::{Lab, PATIENCE, Role, Site};
use super::process::Process;
use super::spare_veth::{SPARE, add_spare_veth};
use super::work::{Column, Measured, Stand, Work, column};
use crate::cli_values::seconds;

/// Where iperf3 listens.
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
    /// What is carried, separated by commas
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "best,equal,packets"
    )]
    kind: Vec<Kind>,
    /// How long each transfer and each flow of packets is measured
    #[arg(long, value_name = "S", default_value = "3", value_parser = seconds)]
    seconds: Duration,
    /// Core of the generator of packets
    #[arg(long, value_name = "CORE", default_value = "0")]
    flood_core: usize,
}

/// What established connections do.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Kind {
    /// Bulk transfers, with all offloads that the defence leaves
    Best,
    /// Bulk transfers without offloads
    Equal,
    /// One segment over and over
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
    /// The work that is asked for.
    pub(super) fn work(&self) -> Carry {
        Carry {
            cases: self.kind.iter().map(|kind| kind.case().into()).collect(),
            kinds: self.kind.clone(),
            time: self.seconds,
            core: self.flood_core,
        }
    }
}

/// Bulk transfers and small packets through connections that are there.
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
                "bulk: iperf3 over one connection, {} s from server to client (down), then as long the other way, CUBIC; \
                 all share all cores",
                self.time.as_secs_f64()
            ),
            "at its best: XDP programs that the defence does not need are taken off, and checksum, segmentation and receive \
             offloads are on, except where it forwards in XDP; equalised: they are off on all interfaces (tx, sg, tso, \
             gso, gro)"
                .into(),
            format!(
                "packets: a data segment of 16 bytes, made on core {}, dropped in XDP at the server; costs as in `answer`, \
                 without what generator and reception cost on a spare veth; packets by a CPU: forwarded, if a CPU did \
                 nothing else",
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

    /// Before the defence, which may ask the server's listeners what they promise.
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

    fn measure(&self, case: usize, stand: &Stand<'_, '_>) -> Result<Measured> {
        match self.kinds[case] {
            Kind::Best => {
                unburden(stand.lab, stand.contender)?;
                self.bulk(stand.lab)
            }
            Kind::Equal => {
                for (role, interface) in PATH {
                    offloads(stand.lab, role, interface, "off")?;
                }
                self.bulk(stand.lab)
            }
            Kind::Packets => self.packets(stand.lab),
        }
    }
}

impl Carry {
    fn bulk(&self, lab: &Lab<'_>) -> Result<Measured> {
        let down = self.transfer(lab, &["--reverse"])?;
        let up = self.transfer(lab, &[])?;
        let mut figures = vec![Some(down), Some(up)];
        figures.resize(COLUMNS.len(), None);
        // Each has a connection of control and one of data.
        Ok(Measured {
            connections: 4,
            figures,
        })
    }

    /// Gbit/s that were received.
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
        let gate = add_spare_veth(lab)?;
        let generator = {
            let flood = self.flood(lab, &gate, &["--onto", SPARE.sent_on])?;
            let span = self.span(lab, &gate)?;
            flood.stop()?;
            span
        };
        let gate = Gate::front(lab);
        let flood = self.flood(lab, &gate, &[])?;
        // Only now, because the connection had to be made.
        let drop_all = ["pass", "--interface", "server0", "--drop"];
        lab.run(Role::Server, lab.bench(), drop_all, PATIENCE)?;
        let before = lab.received(Role::Server, "server0")?;
        let with = self.span(lab, &gate)?;
        let forwarded = lab.received(Role::Server, "server0")? - before;
        flood.stop()?;
        ensure!(
            forwarded > 0,
            "nothing of the connection came to the server"
        );
        Ok(Measured {
            connections: 2,
            figures: packet_figures(&generator, &with, forwarded as f64),
        })
    }

    fn flood<'a>(&self, lab: &Lab<'a>, gate: &Gate<'_>, more: &[&str]) -> Result<Flood<'a>> {
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
        Flood::begin(lab, gate, &arguments)
    }

    fn span(&self, lab: &Lab<'_>, gate: &Gate<'_>) -> Result<Span> {
        let before = Moment::now(lab, gate)?;
        lab.pause(self.time)?;
        Ok(Moment::now(lab, gate)?.since(&before))
    }
}

/// Takes off the path what the contender does not need, so that the kernel's offloads work.
fn unburden(lab: &Lab<'_>, contender: Contender) -> Result<()> {
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
