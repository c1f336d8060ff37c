//! `bench flow-table`: the cost of a look-up and an insertion in each table that could hold the flows.
//!
//! The look-ups run in the kernel by BPF_PROG_TEST_RUN (`bench/ebpf/src/flow_table`), so the figures are what the
//! steering program pays; the empty run is subtracted. Rounds of all contenders alternate, so that a neighbour on the
//! machine disturbs all of them alike.

mod buckets;
mod flow_table_report;
mod test_run;

use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Args;
use synward_core::flow::FlowKey;
use synward_core::flow_time::FlowTime;
use synward_core::layout::{Flow, state};
use synward_core::multilinear;

pub(crate) use self::buckets::Buckets;
use self::flow_table_report::{Report, Row};
use self::test_run::{Kernel, KernelMap};
use synward_bench_ebpf::flow_draw::{Plan, flow};

/// Flows of the measurement with a warm cache.
const HOT: u32 = 1024;

/// Command line of `bench flow-table`.
#[derive(Args)]
pub(crate) struct Options {
    /// Flows in each table; a power of two
    #[arg(long, value_name = "N", default_value = "1048576", value_parser = flows)]
    flows: u32,
    /// IPv6 flows
    #[arg(long)]
    ipv6: bool,
    /// Rounds; medians are reported
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u16).range(1..=101))]
    rounds: u16,
    /// Runs of a program in each round
    #[arg(long, value_name = "N", default_value = "1000000", value_parser = clap::value_parser!(u32).range(1000..))]
    runs: u32,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

/// Measures and prints.
///
/// # Errors
/// Not enough memory, no privilege, or a table that lost a flow.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut bench = Bench::new(options)?;
    for _ in 0..options.rounds {
        bench.look_up()?;
    }
    // Insertions come last, because an LRU map evicts flows long before it is full.
    for _ in 0..options.rounds {
        bench.insert()?;
    }
    let report = bench.report();
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{report}");
    }
    Ok(())
}

struct Bench<'a> {
    options: &'a Options,
    kernel: Kernel,
    buckets: Buckets,
    /// Flows for which two full buckets had no room.
    refused: u32,
    rows: Vec<Row>,
}

impl<'a> Bench<'a> {
    /// Fills all tables with the same flows.
    fn new(options: &'a Options) -> Result<Self> {
        // One eighth more, for the insertions.
        let room = options.flows + fresh(options.flows);
        let needed = buckets::needed(options.flows);
        let mut kernel = Kernel::load(room, needed)?;
        let mut buckets = Buckets::map(
            kernel.array("TAGS")?,
            kernel.array("FLOWS")?,
            kernel.array("OCCUPANCY")?,
            needed,
            multilinear::PI,
        )?;
        let mut refused = 0;
        for number in 0..options.flows {
            let key = flow(number, options.ipv6);
            refused += u32::from(!buckets.insert(&established(key)));
            kernel.insert(KernelMap::Hash, &key)?;
            kernel.insert(KernelMap::Lru, &key)?;
        }
        Ok(Self {
            options,
            kernel,
            buckets,
            refused,
            rows: Vec::new(),
        })
    }

    /// Looks up flows that are in the tables (any flow, and the same few), and flows that are not.
    fn look_up(&mut self) -> Result<()> {
        let all = self.options.flows - 1;
        let cases = [
            ("hit", 0, all, true),
            ("hit, warm cache", 0, HOT - 1, true),
            ("miss", self.options.flows * 2, all, false),
        ];
        for (what, first, mask, is_there) in cases {
            let empty = self.measure("baseline", first, mask)?.0;
            self.note(what, "empty run", empty);
            for (table, program) in [
                ("bucketed", "bucketed"),
                ("kernel hash", "hash"),
                ("kernel LRU hash", "lru"),
            ] {
                let (time, found) = self.measure(program, first, mask)?;
                let expected = if is_there {
                    self.options.runs.into()
                } else {
                    0
                };
                // The bucketed table may have refused a few flows in a million.
                ensure!(
                    found <= expected && expected - found <= expected / 1000,
                    "{table} found {found} of {expected} flows"
                );
                self.note(what, table, time - empty);
            }
        }
        Ok(())
    }

    /// Inserts new flows, from user space and from eBPF.
    fn insert(&mut self) -> Result<()> {
        let numbers = self.options.flows..self.options.flows + fresh(self.options.flows);
        let each = f64::from(fresh(self.options.flows));
        let keys: Vec<_> = numbers
            .clone()
            .map(|number| flow(number, self.options.ipv6))
            .collect();

        let start = Instant::now();
        for key in &keys {
            self.buckets.insert(&established(*key));
        }
        self.note(
            "insert, user space",
            "bucketed",
            start.elapsed().as_nanos() as f64 / each,
        );
        for key in &keys {
            self.buckets.remove(key);
        }

        for (table, map, program) in [
            ("kernel hash", KernelMap::Hash, "hash_insert"),
            ("kernel LRU hash", KernelMap::Lru, "lru_insert"),
        ] {
            let start = Instant::now();
            for key in &keys {
                self.kernel.insert(map, key)?;
            }
            self.note(
                "insert, user space",
                table,
                start.elapsed().as_nanos() as f64 / each,
            );
            self.kernel.remove(map, &keys)?;

            let plan = Plan {
                first: numbers.start,
                mask: u32::MAX,
                in_turn: 1,
                random: u64::MAX, // the first draw adds one
                v6: self.options.ipv6.into(),
                found: 0,
            };
            let runs = fresh(self.options.flows);
            let empty = self.kernel.run("baseline", plan, runs)?.0;
            let (time, done) = self.kernel.run(program, plan, runs)?;
            ensure!(
                done == u64::from(runs),
                "{table} took {done} of {runs} flows"
            );
            self.note("insert, eBPF", table, time - empty);
            self.kernel.remove(map, &keys)?;
        }
        Ok(())
    }

    /// Nanoseconds per run, and how many runs found their flow.
    fn measure(&mut self, program: &str, first: u32, mask: u32) -> Result<(f64, u64)> {
        let plan = Plan {
            first,
            mask,
            random: 1,
            v6: self.options.ipv6.into(),
            ..Plan::default()
        };
        // Brings the hot flows into the cache; other flows are cached as in real traffic.
        if mask < HOT {
            self.kernel.run(program, plan, 100_000)?;
        }
        self.kernel.run(program, plan, self.options.runs)
    }

    fn note(&mut self, what: &'static str, table: &'static str, nanoseconds: f64) {
        match self
            .rows
            .iter_mut()
            .find(|row| row.what == what && row.table == table)
        {
            Some(row) => row.rounds.push(nanoseconds),
            None => self.rows.push(Row {
                what,
                table,
                rounds: vec![nanoseconds],
            }),
        }
    }

    fn report(self) -> Report {
        Report {
            flows: self.options.flows,
            ipv6: self.options.ipv6,
            runs: self.options.runs,
            refused: self.refused,
            rows: self.rows,
        }
    }
}

/// A flow that counts as found.
fn established(key: FlowKey) -> Flow {
    Flow {
        key,
        last_seen: FlowTime::from_word(1),
        state: state::ESTABLISHED,
        ..Flow::default()
    }
}

/// Number of flows inserted in each round.
fn fresh(flows: u32) -> u32 {
    flows / 8
}

fn flows(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(number) if number.is_power_of_two() && (4096..=1 << 24).contains(&number) => Ok(number),
        _ => Err("a power of two from 4096 to 16777216".into()),
    }
}
