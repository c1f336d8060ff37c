//! `bench rings`: the cost of a frame through the appliance's AF_XDP sockets, compared with minimal code on the same
//! rings.
//!
//! Both are bound to one veth, in copy mode, each to its own queue. They get the same batches of SYNs alternately from
//! the same thread, and send the same answers. The kernel's part is the same for both; the rounds alternate in random
//! order, so that a neighbour disturbs both alike.

mod soak;
mod syn_source;
mod veth_pair;

use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use arrayvec::ArrayVec;
use aya::EbpfLoader;
use aya::maps::XskMap;
use clap::Args;
use rustix::time::{ClockId, clock_gettime};
use synward::afxdp::{BATCH, Frame, Port};

use self::syn_source::{PATIENCE, Source, options};
use self::veth_pair::{HERE, THERE, VethPair};
use crate::cli_values::number;
use crate::echo::answer;
use crate::echo::raw_rings::Rings;
use crate::machine::Machine;
use crate::order::Order;
use crate::spread::Spread;
use crate::xdp_objects;

/// Command line of `bench rings`.
#[derive(Args)]
pub(crate) struct Options {
    /// Rounds; medians are reported
    #[arg(long, value_name = "N", default_value = "51", value_parser = clap::value_parser!(u16).range(1..=1001))]
    rounds: u16,
    /// Batches of each in a round
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(1..))]
    batches: u32,
    /// Runs on this core
    #[arg(long, value_name = "N")]
    core: Option<usize>,
    /// Send this many frames through the appliance's socket instead, and check that all of its frames stay accounted
    /// for: 1M, 100M
    #[arg(long, value_name = "N", value_parser = number, conflicts_with_all = ["rounds", "batches"])]
    packets: Option<u64>,
}

/// Measures and prints a table in Markdown.
///
/// # Errors
/// No privilege, or the kernel's refusal.
pub(crate) fn run(options: &Options) -> Result<()> {
    let machine = Machine::here(Path::new("deploy/lab"));
    if let Some(core) = options.core {
        crate::cores::pin_to_core(core)?;
    }
    let site = VethPair::new()?;
    let mut flood = xdp_objects::FLOOD.open(&mut EbpfLoader::new())?;
    site.attach(THERE, flood.load("sink")?.fd()?.as_fd())?;
    let mut object = xdp_objects::BASELINE.open(&mut EbpfLoader::new())?;
    let mut sockets = XskMap::try_from(object.take_map("ECHO_SOCKETS")?)?;
    let here = site.attach(HERE, object.load("echo")?.fd()?.as_fd())?;

    let mut port = Port::open(HERE, 0, &self::options())?;
    sockets.set(0, port.fd(), 0)?;
    let mut source = Source::new(0)?;
    if let Some(packets) = options.packets {
        return soak::run(&mut port, &mut source, packets);
    }
    let rings = Rings::open(here.index, 1)?;
    sockets.set(1, rings.fd(), 0)?;
    let mut turns = [
        Turn::new(
            Socket::Port(Box::new(port), Box::new(ArrayVec::new())),
            source,
        ),
        Turn::new(Socket::Least(Box::new(rings)), Source::new(1)?),
    ];
    measure(&mut turns, options)?;
    println!(
        "- {machine}\n- {HERE} answers SYNs in batches of {BATCH} in copy mode; median of {} rounds\n",
        options.rounds
    );
    println!(
        "| | CPU ns per frame, system calls included | until the answers are in the TX ring, in the best round |\n|---|---:|---:|"
    );
    for turn in &turns {
        let [
            Spread {
                least,
                median,
                greatest,
            },
            until,
        ] = [&turn.total, &turn.until].map(|rounds| Spread::or_nan(rounds));
        println!(
            "| {} | {median:.0} ({least:.0} to {greatest:.0}) | {:.1} |",
            turn.socket.name(),
            until.least
        );
    }
    let [port, least] = &turns;
    let ratios = port
        .total
        .iter()
        .zip(&least.total)
        .map(|(port, least)| port / least);
    let ratio = Spread::or_nan(&ratios.collect::<Vec<_>>()).median;
    println!("\nmedian ratio of the rounds: {ratio:.3}");
    Ok(())
}

fn measure(turns: &mut [Turn; 2], options: &Options) -> Result<()> {
    let mut order = Order::new(1);
    for turn in &mut *turns {
        turn.round(options.batches)?; // pages, caches, branch predictors
    }
    for _ in 0..options.rounds {
        let mut turns: Vec<_> = turns.iter_mut().collect();
        order.shuffle(&mut turns);
        for turn in turns {
            let (until, total) = turn.round(options.batches)?;
            turn.until.push(until);
            turn.total.push(total);
        }
    }
    Ok(())
}

enum Socket {
    Port(Box<Port>, Box<ArrayVec<Frame, BATCH>>),
    Least(Box<Rings>),
}

impl Socket {
    fn name(&self) -> &'static str {
        match self {
            Self::Port(..) => "the appliance's sockets",
            Self::Least(_) => "minimal code on the same rings",
        }
    }

    /// Processes one batch; returns the number of frames, and when their answers were in the TX ring.
    #[inline]
    fn batch(&mut self) -> (u32, Instant) {
        match self {
            Self::Port(port, batch) => {
                let count = port.receive(batch);
                for mut frame in batch.drain(..) {
                    let length = frame.len();
                    answer(&mut port.bytes_mut(&mut frame)[..length]);
                    port.transmit(frame);
                }
                let until = Instant::now();
                port.flush();
                (count as u32, until)
            }
            Self::Least(rings) => {
                let count = rings.turn(answer);
                let until = Instant::now();
                rings.wake();
                (count, until)
            }
        }
    }
}

/// A socket, its source of frames, and the measured times.
struct Turn {
    socket: Socket,
    source: Source,
    until: Vec<f64>,
    total: Vec<f64>,
}

impl Turn {
    fn new(socket: Socket, source: Source) -> Self {
        let (until, total) = (Vec::new(), Vec::new());
        Self {
            socket,
            source,
            until,
            total,
        }
    }

    /// Nanoseconds per frame over `batches`: until the answers are in the TX ring, and in total.
    fn round(&mut self, batches: u32) -> Result<(f64, f64)> {
        let (mut until, mut total, mut frames) = (Duration::ZERO, Duration::ZERO, 0);
        for _ in 0..batches {
            self.source.send(BATCH as u32);
            let (sent, mut left) = (Instant::now(), BATCH as u32);
            // Sometimes another kernel thread receives the frames; then they arrive later or in parts.
            while left > 0 {
                ensure!(sent.elapsed() < PATIENCE, "{left} frames did not come");
                let (cpu, start) = (processor_time(), Instant::now());
                let (count, answered) = self.socket.batch();
                if count > 0 {
                    total += processor_time().saturating_sub(cpu);
                    until += answered - start;
                    frames += count;
                    left -= count.min(left);
                }
            }
        }
        let each = |time: Duration| time.as_nanos() as f64 / f64::from(frames);
        Ok((each(until), each(total)))
    }
}

/// CPU time of this thread, including softirqs that it runs; other processes on the core do not count.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
