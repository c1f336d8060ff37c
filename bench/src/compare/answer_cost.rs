//! `bench compare answer`: the cost of answering a SYN, and of refusing an ACK that matches no flow.
//!
//! The generator and the receiver of its queue share one core: at full speed, more work per segment means fewer
//! segments. The generator's own cost is measured in each turn on a spare veth whose other end drops everything.

use std::ops::AddAssign;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use super::background_flood::{Flood, FloodPath, Flooded, Rate, Target};
use super::compare_options::CompareOptions;
use super::contender::{Need, Workload};
use super::cpu_time::{Moment, Span};
use super::memory_use::available;
use super::netns_lab::{Lab, PATIENCE, Role, Site};
use super::spare_veth::{SPARE, add_spare_veth};
use super::work::{Column, Measured, TestBed, Work, column};
use crate::cli_values::seconds;

/// Share of a core that other processes may keep busy while the whole machine is measured.
const QUIET: f64 = 0.1;

/// Floods of one turn, alternating with as many of the generator alone: the speed of a shared machine varies, so what
/// is subtracted must be measured at the same time.
const SLICES: u32 = 5;

/// Connections that verify that the defence is on the path.
const WARM_UP: &str = "20";

const COLUMNS: &[Column] = &[
    column("segments", "k/s"),
    column("SYN-ACKs", "k/s"),
    column("RSTs", "k/s"),
    column("generator, a segment", "ns"),
    column("lab's tasks, a segment", "ns"),
    column("lab's tasks, an answer", "ns"),
    column("whole machine, a segment", "ns"),
    column("memory that the flood took", "MiB"),
    column("program", "MiB"),
    column("its maps", "MiB"),
];

/// Command line of `bench compare answer`.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(super) compare: CompareOptions,
    /// Segments of the floods, separated by commas
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "syn,ack,ack-many"
    )]
    kind: Vec<Kind>,
    /// How long each flood is measured
    #[arg(long, value_name = "S", default_value = "3", value_parser = seconds)]
    seconds: Duration,
    /// Core of the generator; it determines the receive queue
    #[arg(long, value_name = "CORE", default_value = "0")]
    flood_core: usize,
    /// Use IPv6
    #[arg(long)]
    ipv6: bool,
}

/// Which segments arrive.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Kind {
    /// SYNs as Linux sends them
    Syn,
    /// ACKs with timestamps and random numbers: no valid cookie for any contender
    Ack,
    /// The same, with a million other connections in the flow table; only for contenders that can have them
    AckMany,
}

/// Connections in the flow table in the last case.
const MANY: u32 = 1_000_000;

impl Kind {
    fn case(self) -> &'static str {
        match self {
            Self::Syn => "SYNs at full speed",
            Self::Ack => "ACKs of no connection at full speed",
            Self::AckMany => "ACKs of no connection at full speed, a million connections open",
        }
    }
}

impl Options {
    /// The workload that the options describe.
    pub(super) fn work(&self) -> Answer {
        Answer {
            kinds: self.kind.clone(),
            cases: self.kind.iter().map(|kind| kind.case().into()).collect(),
            time: self.seconds,
            core: self.flood_core,
            destination: match self.ipv6 {
                false => "192.0.2.10:80",
                true => "[2001:db8:5::10]:80",
            },
            sources: match self.ipv6 {
                false => "10.0.0.0/8",
                true => "2001:db8:f::/48",
            },
        }
    }
}

/// Floods at full speed, and their cost.
pub(super) struct Answer {
    kinds: Vec<Kind>,
    cases: Vec<String>,
    time: Duration,
    core: usize,
    destination: &'static str,
    sources: &'static str,
}

impl Work for Answer {
    fn name(&self) -> &'static str {
        "answer"
    }

    fn title(&self) -> String {
        "Cost of answering SYNs and of refusing ACKs".into()
    }

    fn conditions(&self) -> Vec<String> {
        vec![
            format!(
                "{} s of segments to {} from random addresses of {}, made on core {}, all into the receive queue of \
                 that core; no connection is open",
                self.time.as_secs_f64(),
                self.destination,
                self.sources,
                self.core
            ),
            "a veth connects the generator to the contender: defences on the server have no edge in front of them".into(),
            format!(
                "costs are CPU time of all cores, softirqs included, minus the generator's cost on a spare veth \
                 whose other end drops everything, measured alternately in the same lab, {SLICES} times; counting an answer \
                 at the client is part of its cost"
            ),
            "lab's tasks: all processes in the lab and ksoftirqd, by the scheduler's account; whole machine: /proc/stat, \
             minus what the machine did just before; omitted if that kept more than a tenth of a core busy"
                .into(),
            "memory that the flood took: the decrease of MemAvailable from before the flood to its end, all \
             processes of the machine included; program: its own memory (RssAnon); its maps: what the kernel \
             charges for the maps that it holds (memlock in its fdinfo)"
                .into(),
        ]
    }

    fn workload(&self) -> Workload {
        Workload::Segments
    }

    fn site(&self) -> Site {
        Site {
            same_path: false,
            ..Site::default()
        }
    }

    fn need(&self, case: usize) -> Need {
        match self.kinds[case] {
            Kind::Syn => Need::Nothing,
            Kind::Ack => Need::Refusals,
            Kind::AckMany => Need::ManyFlows,
        }
    }

    fn cases(&self) -> &[String] {
        &self.cases
    }

    fn columns(&self) -> &[Column] {
        COLUMNS
    }

    fn measure(&self, case: usize, test_bed: &TestBed<'_, '_>) -> Result<Measured> {
        let lab = test_bed.lab;
        let connections = self.connect(lab)?;
        if self.kinds[case] == Kind::AckMany {
            test_bed.defence.fill(lab, MANY)?;
        }
        let spare = add_spare_veth(lab)?;
        let background = self.background(lab)?;
        let available_before = available()? as f64;
        let (mut generator, mut with) = (Outcome::default(), Outcome::default());
        for _ in 0..SLICES {
            generator += self.flood(lab, self.kinds[case], &spare)?;
            with += self.flood(lab, self.kinds[case], &FloodPath::front(lab))?;
        }
        let memory = test_bed.defence.memory(lab)?;
        let mut figures = figures(&with.flooded, &background, &generator.span, &with.span);
        figures.extend([
            Some(mebibytes(available_before - with.available)),
            memory
                .as_ref()
                .map(|memory| mebibytes(memory.program as f64)),
            memory.as_ref().map(|memory| mebibytes(memory.maps as f64)),
        ]);
        Ok(Measured {
            connections,
            figures,
        })
    }
}

impl Answer {
    /// Number of connections that succeed: 0 if everything is dropped.
    fn connect(&self, lab: &Lab<'_>) -> Result<u64> {
        let arguments = [
            "connect",
            self.destination,
            "--connections",
            WARM_UP,
            "--rate",
            "200",
            "--data",
            "100",
            "--patience",
            "1",
            "--json",
        ];
        let printed = lab.run(Role::Client, lab.bench(), arguments, PATIENCE)?;
        let report: crate::connect::Report = serde_json::from_str(&printed)
            .with_context(|| format!("bench connect reported something unexpected: {printed}"))?;
        Ok(report.answered)
    }

    fn flood(&self, lab: &Lab<'_>, kind: Kind, flood_path: &FloodPath<'_>) -> Result<Outcome> {
        let target = Target {
            destination: self.destination,
            sources: self.sources,
            core: self.core,
            flood_path,
            options: match kind {
                Kind::Syn => &["--kind", "syn"],
                Kind::Ack | Kind::AckMany => &["--kind", "ack", "--timestamps"],
            },
        };
        let flood = Flood::start(lab, Rate::Max, &target, self.time + PATIENCE)?
            .context("a flood at full speed has a rate")?;
        let span = Span::of_flood(lab, flood_path, self.time / SLICES)?;
        let available = available()? as f64;
        let flooded = flood.stop()?;
        Ok(Outcome {
            flooded,
            span,
            available,
        })
    }

    /// What the machine does without a flood.
    fn background(&self, lab: &Lab<'_>) -> Result<Span> {
        let before = Moment::now(lab, &SPARE)?;
        lab.pause(self.time)?;
        Ok(Moment::now(lab, &SPARE)?.since(&before))
    }
}

/// Results of floods.
#[derive(Default)]
struct Outcome {
    flooded: Flooded,
    span: Span,
    /// Bytes available at the end of the last flood.
    available: f64,
}

impl AddAssign for Outcome {
    fn add_assign(&mut self, other: Self) {
        self.flooded += other.flooded;
        self.span += other.span;
        self.available = other.available;
    }
}

fn mebibytes(bytes: f64) -> f64 {
    bytes / f64::from(1 << 20)
}

/// Figures in the order of [`COLUMNS`], without the memory columns.
fn figures(
    flooded: &Flooded,
    background: &Span,
    generator: &Span,
    with: &Span,
) -> Vec<Option<f64>> {
    let thousands = |count: u64| Some(count as f64 / flooded.seconds.max(f64::MIN_POSITIVE) / 1e3);
    let each = |cost: f64, count: f64| (count > 0.0).then_some(cost / count);
    let generated = generator.tasks / generator.arrived;
    let tasks = with.tasks - generated * with.arrived;
    // The machine's other work is the same with and without a flood, if there is CPU time for both.
    let others = background.machine / background.seconds;
    let own = |span: &Span| span.machine - others * span.seconds;
    let machine = own(with) - own(generator) / generator.arrived * with.arrived;
    let quiet = others < QUIET * 1e9;
    let answered = flooded.answers.syn_ack + flooded.answers.rst;
    vec![
        thousands(flooded.syns + flooded.acks),
        thousands(flooded.answers.syn_ack),
        thousands(flooded.answers.rst),
        Some(generated),
        each(tasks, with.arrived),
        // Too few answers to divide by.
        (answered > (flooded.syns + flooded.acks) / 100)
            .then(|| each(tasks, with.answered))
            .flatten(),
        quiet.then(|| each(machine, with.arrived)).flatten(),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::background_flood::Answers;
    use super::*;

    #[test]
    fn what_the_generator_costs_is_taken_off() {
        let flooded = |syn_ack| Flooded {
            seconds: 2.0,
            syns: 10_000,
            acks: 0,
            answers: Answers { syn_ack, rst: 0 },
        };
        let background = Span {
            seconds: 1.0,
            machine: 1e5,
            ..Span::default()
        };
        let generator = Span {
            seconds: 1.0,
            tasks: 1e6,
            machine: 1.1e6,
            arrived: 10_000.0,
            answered: 0.0,
        };
        let with = Span {
            seconds: 2.0,
            tasks: 2e6,
            machine: 2.4e6,
            arrived: 4000.0,
            answered: 2000.0,
        };
        let found = figures(&flooded(5000), &background, &generator, &with);
        assert_eq!(found.len() + 3, COLUMNS.len());
        let expected = [5.0, 2.5, 0.0, 100.0, 400.0, 800.0, 450.0];
        assert_eq!(found, expected.map(Some));
        let found = figures(&flooded(7), &background, &generator, &with);
        assert_eq!(found[5], None, "seven of ten thousand are no answers");
        let busy = Span {
            machine: 5e8,
            ..background
        };
        let found = figures(&flooded(5000), &busy, &generator, &with);
        assert_eq!(found[6], None, "other processes used half a core");
    }
}
