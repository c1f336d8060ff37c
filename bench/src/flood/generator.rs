//! Loads the XDP program with a plan, runs it, and reads its counters.

use std::io::ErrorKind;
use std::os::fd::AsFd as _;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use aya::EbpfLoader;
use aya::maps::{Array, PerCpuArray};
use aya::programs::{ProgramError, TestRun as _, TestRunAttrs, TestRunOptions};

use super::flood_options::Kind;
use super::flood_report::Answers;
use super::frame_template::Segment;
use super::prefix::Prefix;
use crate::device::Device;
use crate::interrupt::Interrupt;
use crate::xdp_attach::TemporaryProgram;
use crate::xdp_objects::{self, LoadedObject};

/// Runs of the program per system call; each call takes some 20 ms to set up and tear down.
const RUNS: u64 = u32::MAX as u64;
/// Time to wait for answers after the flood ends.
const STRAGGLERS: Duration = Duration::from_secs(3);
/// No more arrive if none has come for so long. A busy machine stops for a while.
const QUIET: Duration = Duration::from_millis(500);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// What to send.
pub(super) struct Plan {
    pub(super) interface: u32,
    pub(super) sources: Prefix,
    pub(super) kind: Kind,
    pub(super) syn: Segment,
    pub(super) ack: Segment,
    /// Greatest number of segments.
    pub(super) count: u64,
    /// Segments per second; `None` = full speed.
    pub(super) rate: Option<u64>,
}

/// What was sent.
pub(super) struct Sent {
    pub(super) syns: u64,
    pub(super) acks: u64,
    pub(super) seconds: f64,
}

/// The object in the kernel, set up for one plan.
pub(super) struct Generator {
    object: LoadedObject,
    /// Length of the frames that the kernel hands to the program.
    frame: usize,
    count: u64,
    rate: Option<u64>,
}

/// `WORDS` of bench/ebpf/src/flood/flood_plan.rs.
const WORDS: usize = 13;
/// `Segment` of bench/ebpf/src/flood/flood_plan.rs: words, length, tsval, ip_sum, tcp_sum.
type Global = [u8; WORDS * 8 + 16];
/// `Progress` of bench/ebpf/src/flood/main.rs: random state, SYNs, ACKs, due, start.
type Progress = [u64; 5];

impl Generator {
    /// Creates the maps; programs are loaded when they are needed.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(super) fn new(plan: &Plan) -> Result<Self> {
        let frame = match plan.kind {
            Kind::Syn | Kind::Handshake | Kind::Exact => plan.syn.bytes.len(),
            Kind::Ack => plan.ack.bytes.len(),
            Kind::Mixed => plan.syn.bytes.len().max(plan.ack.bytes.len()),
        };
        let (fixed, random) = plan.sources.words();
        let (syn, ack) = (global(&plan.syn), global(&plan.ack));
        let mut loader = EbpfLoader::new();
        let (length, kind) = (frame as u32, plan.kind.of_program());
        let family: u32 = if plan.sources.is_ipv4() { 4 } else { 6 };
        let interval = plan
            .rate
            .map_or(0, |rate| (1_000_000_000_u64 << 10) / rate)
            .max(plan.rate.is_some().into());
        loader
            .override_global("SYN_SEGMENT", &syn, true)
            .override_global("ACK_SEGMENT", &ack, true)
            .override_global("FRAME_LENGTH", &length, true)
            .override_global("KIND", &kind, true)
            .override_global("FAMILY", &family, true)
            .override_global("INTERFACE", &plan.interface, true)
            .override_global("LIMIT", &plan.count, true)
            .override_global("INTERVAL", &interval, true)
            .override_global("SOURCE", &fixed, true)
            .override_global("SOURCE_RANDOM", &random, true);
        let object = xdp_objects::FLOOD.open(&mut loader)?;
        let mut generator = Self {
            object,
            frame,
            count: plan.count,
            rate: plan.rate,
        };
        generator.seed()?;
        Ok(generator)
    }

    /// Seeds the source addresses with the time, so that every flood has different ones.
    fn seed(&mut self) -> Result<()> {
        let now = std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .unwrap_or_default();
        let mut progress: Array<_, Progress> = Array::try_from(self.object.map_mut("PROGRESS")?)?;
        progress.set(0, [now.as_nanos() as u64, 0, 0, 0, 0], 0)?;
        Ok(())
    }

    /// Attaches the program that processes answers, "answers" or "handshake", until the returned value is dropped.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(super) fn attach(&mut self, program: &str, device: Device) -> Result<TemporaryProgram> {
        let program = self.object.load(program)?;
        TemporaryProgram::begin(device, program.fd()?.as_fd())
    }

    /// Sends until the count or the time is reached, or a signal arrives.
    ///
    /// # Errors
    /// The kernel's refusal to run the program.
    pub(super) fn send(&mut self, time: Duration, batch: u32) -> Result<Sent> {
        self.object.load("flood")?;
        let interrupt = Interrupt::new().context("handling signals failed")?;
        let start = Instant::now();
        loop {
            let [_, syns, acks, ..] = self.progress()?;
            let left = self.count.saturating_sub(syns + acks);
            let elapsed = start.elapsed();
            if left == 0 || interrupt.requested() || elapsed >= time {
                let seconds = elapsed.as_secs_f64();
                return Ok(Sent {
                    syns,
                    acks,
                    seconds,
                });
            }
            // Runs that wait for the rate do not count as sent, so the number of runs is no limit.
            let (runs, until) = match self.rate {
                None => (RUNS.min(left), time - elapsed),
                Some(rate) => (RUNS, (time - elapsed).min(duration(left, rate))),
            };
            interrupt.after(until).context("setting a timer failed")?;
            self.run(runs, batch)?;
        }
    }

    /// Runs the program on live frames; an interruption is no error.
    fn run(&mut self, runs: u64, batch: u32) -> Result<()> {
        let program = self.object.program("flood")?;
        let frame = vec![0; self.frame];
        let done = program.test_run(TestRunOptions {
            data_in: Some(&frame),
            repeat: runs as u32,
            attrs: TestRunAttrs::new().xdp_live_frames(batch),
            ..TestRunOptions::new()
        });
        match done {
            Err(ProgramError::SyscallError(error)) if error.io_error.kind() == ErrorKind::Interrupted => Ok(()),
            done => done.map(|_| ()).context(
                "running the XDP program on live frames failed (needs Linux 5.18 or later with BPF_PROG_TEST_RUN)",
            ),
        }
    }

    /// The answers to `sent` segments: once there is one to each, or no more arrive.
    ///
    /// # Errors
    /// The kernel's refusal to read the counters.
    pub(super) fn answers(&mut self, sent: u64) -> Result<Answers> {
        let deadline = Instant::now() + STRAGGLERS;
        let (mut last, mut news) = (self.count_now()?, Instant::now());
        while last.syn_ack + last.rst + last.ack + last.other < sent
            && news.elapsed() < QUIET
            && Instant::now() < deadline
        {
            sleep(LOOK);
            let now = self.count_now()?;
            if now != last {
                (last, news) = (now, Instant::now());
            }
        }
        Ok(last)
    }

    fn count_now(&mut self) -> Result<Answers> {
        let counters: PerCpuArray<_, u64> = PerCpuArray::try_from(self.object.map_mut("ANSWERS")?)?;
        let total = |kind| {
            counters
                .get(&kind, 0)
                .map(|of_cpus| of_cpus.iter().sum::<u64>())
        };
        Ok(Answers {
            syn_ack: total(0)?,
            rst: total(1)?,
            ack: total(2)?,
            other: total(3)?,
            acknowledged: total(4)?,
        })
    }

    fn progress(&mut self) -> Result<Progress> {
        let progress: Array<_, Progress> = Array::try_from(self.object.map_mut("PROGRESS")?)?;
        Ok(progress.get(&0, 0)?)
    }
}

/// Time of `count` segments at `rate` per second, and a little more.
fn duration(count: u64, rate: u64) -> Duration {
    Duration::from_secs_f64((count as f64 / rate as f64).min(1e6)) + Duration::from_millis(1)
}

/// A template in the layout of the program's global variable.
fn global(segment: &Segment) -> Global {
    let mut bytes = segment.bytes.clone();
    bytes.resize(WORDS * 8, 0);
    for number in [
        segment.bytes.len() as u32,
        segment.tsval.unwrap_or(0) as u32,
        segment.ip_sum,
        segment.tcp_sum,
    ] {
        bytes.extend(number.to_ne_bytes());
    }
    let mut global = [0; WORDS * 8 + 16];
    global.copy_from_slice(&bytes);
    global
}
