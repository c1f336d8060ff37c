//! CPU time and frames of a span of time.
//!
//! Most of the work runs in softirqs. Without CONFIG_IRQ_TIME_ACCOUNTING the kernel charges softirq time to the
//! interrupted task. A flood's softirqs interrupt its generator, a worker or ksoftirqd. So there are two accounts. The
//! first covers these tasks, in nanoseconds: it excludes the machine's other users, but misses softirqs that interrupt
//! other tasks. The second covers the whole machine, in jiffies, all users included.

use std::fs;
use std::ops::AddAssign;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::param::clock_ticks_per_second;

use super::background_flood::FloodPath;
use super::netns_lab::{Lab, Role};

/// A measurement takes at most this many times longer than asked for.
const LONGEST: u32 = 20;

/// Counters at one moment.
pub(super) struct Moment {
    at: Instant,
    tasks: u64,
    machine: u64,
    arrived: u64,
    answered: u64,
}

/// What happened between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Span {
    pub(super) seconds: f64,
    /// CPU time of the lab's processes and ksoftirqd, in nanoseconds.
    pub(super) tasks: f64,
    /// CPU time of the whole machine, in nanoseconds.
    pub(super) machine: f64,
    /// Frames that arrived where the flood is received.
    pub(super) arrived: f64,
    /// Frames that came back to the client.
    pub(super) answered: f64,
}

impl AddAssign for Span {
    fn add_assign(&mut self, other: Self) {
        self.seconds += other.seconds;
        self.tasks += other.tasks;
        self.machine += other.machine;
        self.arrived += other.arrived;
        self.answered += other.answered;
    }
}

impl Span {
    /// A pause of `time` during a flood that arrives at `flood_path`, or of as many such times as it takes until something
    /// arrives: on a busy machine the generator may not run for longer than a short one.
    ///
    /// # Errors
    /// Nothing arrives in [`LONGEST`] times `time`, or as of [`Moment::now`].
    pub(super) fn of_flood(
        lab: &Lab<'_>,
        flood_path: &FloodPath<'_>,
        time: Duration,
    ) -> Result<Self> {
        let before = Moment::now(lab, flood_path)?;
        for _ in 0..LONGEST {
            lab.pause(time)?;
            let span = Moment::now(lab, flood_path)?.since(&before);
            if span.arrived > 0.0 {
                return Ok(span);
            }
        }
        bail!("nothing of the flood arrived")
    }
}

impl Moment {
    /// Now, for a flood that arrives at `flood_path`.
    ///
    /// # Errors
    /// /proc cannot be read, or `flood_path` is no interface of the lab.
    pub(super) fn now(lab: &Lab<'_>, flood_path: &FloodPath<'_>) -> Result<Self> {
        Ok(Self {
            answered: lab.received(Role::Client, flood_path.sent_on)?,
            arrived: lab.received(flood_path.role, flood_path.received_on)?,
            tasks: tasks(lab)?,
            machine: machine(&fs::read_to_string("/proc/stat")?)
                .context("/proc/stat has no line of all CPUs")?,
            at: Instant::now(),
        })
    }

    /// From `earlier` until this one.
    pub(super) fn since(&self, earlier: &Self) -> Span {
        // The time of a task that ended is no longer counted.
        let difference = |now: u64, then: u64| now.saturating_sub(then) as f64;
        Span {
            seconds: (self.at - earlier.at).as_secs_f64(),
            tasks: difference(self.tasks, earlier.tasks),
            machine: difference(self.machine, earlier.machine),
            arrived: difference(self.arrived, earlier.arrived),
            answered: difference(self.answered, earlier.answered),
        }
    }
}

/// CPU time, in nanoseconds, of every task in a network namespace of the lab, and of ksoftirqd.
fn tasks(lab: &Lab<'_>) -> Result<u64> {
    let namespaces = lab.namespaces()?;
    let mut total = 0;
    for process in fs::read_dir("/proc")?.filter_map(Result::ok) {
        let path = process.path();
        // Processes may end while /proc is read.
        let inhabitant = fs::metadata(path.join("ns/net"))
            .is_ok_and(|namespace| namespaces.contains(&namespace.ino()));
        if inhabitant || is_softirq_thread(&path) {
            total += of_process(&path);
        }
    }
    Ok(total)
}

fn is_softirq_thread(process: &Path) -> bool {
    fs::read_to_string(process.join("comm")).is_ok_and(|name| name.starts_with("ksoftirqd/"))
}

/// Over all its threads; the first number of schedstat is nanoseconds on a CPU (Documentation/scheduler/sched-stats.rst).
fn of_process(process: &Path) -> u64 {
    let Ok(threads) = fs::read_dir(process.join("task")) else {
        return 0;
    };
    threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("schedstat")).ok())
        .filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        .sum()
}

/// Nanoseconds that all CPUs were busy: the first line.
fn machine(stat: &str) -> Option<u64> {
    nanoseconds(stat.lines().next()?.strip_prefix("cpu ")?, &BUSY)
}

/// Columns of a CPU's line in /proc/stat that count as busy: user, nice, system, irq and softirq (proc_stat(5)).
pub(crate) const BUSY: [usize; 5] = [0, 1, 2, 5, 6];
/// Those of interrupts and softirqs.
pub(crate) const SOFTIRQ: [usize; 2] = [5, 6];

/// Nanoseconds in some of a line's columns; the line without its name.
pub(crate) fn nanoseconds(columns: &str, which: &[usize]) -> Option<u64> {
    let columns: Vec<u64> = columns
        .split_whitespace()
        .map_while(|column| column.parse().ok())
        .collect();
    let ticks = which
        .iter()
        .map(|column| columns.get(*column))
        .sum::<Option<u64>>()?;
    Some(ticks * 1_000_000_000 / clock_ticks_per_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_busy_unless_it_idles_or_waits_or_is_stolen_from() {
        let stat = "cpu  1 2 3 1000 1000 4 5 1000 1000 1000\ncpu0 9 9 9 9 9 9 9 9 9 9\n";
        let tick = 1_000_000_000 / clock_ticks_per_second();
        assert_eq!(machine(stat), Some(15 * tick));
        assert_eq!(machine("cpu  1 2 3\n"), None);
        assert_eq!(machine(""), None);
    }

    #[test]
    fn this_process_has_used_some_time() {
        assert!(of_process(Path::new("/proc/self")) > 0);
        assert_eq!(of_process(Path::new("/proc/no-such-process")), 0);
    }
}
