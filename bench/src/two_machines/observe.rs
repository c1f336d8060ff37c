//! `bench two-machines observe`: the device under test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Args;
use synward::config::DEFAULT_CONTROL;
use synward::observe::Snapshot;
use synward::observe::control_client::{ClientError, query_status};

use super::counter_sample::Moment;
use super::output_file::{Observed, Record, Sample};
use crate::cli_values::seconds;
use crate::interrupt::Interrupt;
use crate::machine::Machine;
use crate::spread::median_of_sorted;

/// Time between samples.
const INTERVAL: Duration = Duration::from_secs(1);

/// Command line of `bench two-machines observe`.
#[derive(Args)]
#[command(after_long_help = "\
Stop it with Ctrl-C after `bench two-machines generate` has ended on the other machine. The clocks of both must agree within \
half a second (chronyc tracking). Each sample records what is configured: synward may be restarted with another \
responder, or another zero_copy, while this goes on.")]
pub(crate) struct Options {
    /// Interface on which the flood arrives
    #[arg(long, value_name = "IF")]
    interface: String,
    /// synward's control socket [default: /run/synward/control.sock, if synward listens there]
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// Name of the configuration in the report (default: from synward's status: splice, afxdp, zero-copy, native)
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// Stop after this time, at most 600 (default: when interrupted)
    #[arg(long, value_name = "S", value_parser = seconds)]
    seconds: Option<Duration>,
    /// File for all samples, as JSON
    #[arg(long, value_name = "FILE", default_value = "observe.json")]
    output: PathBuf,
}

/// Samples once per second, and writes all samples at the end.
///
/// # Errors
/// No such interface, or nothing listens at the given control socket.
pub(crate) fn run(options: &Options) -> Result<()> {
    let interrupt = Interrupt::new()?;
    let start = Instant::now();
    let end = options.seconds.map(|time| start + time);
    let control = options.control.as_deref();
    if let Some(control) = control {
        query_status(control).with_context(|| format!("--control {}", control.display()))?;
    }
    let moment = || Moment::now(&options.interface, status(control).as_ref());
    let mut samples = Vec::new();
    let mut last = moment()?;
    let mut due = start;
    while !interrupt.requested() && end.is_none_or(|end| Instant::now() < end) {
        due += INTERVAL;
        wait(end.map_or(due, |end| due.min(end)), &interrupt);
        let now = moment()?;
        let mut sample = now.since(&last);
        if let Some(label) = &options.label {
            sample.configuration.clone_from(label);
        }
        samples.push(sample);
        last = now;
    }
    let observed = Observed {
        machine: Machine::here(&std::env::current_exe()?),
        interface: options.interface.clone(),
        medians: medians(&samples),
        samples,
    };
    Record::Observer(observed).write(&options.output)
}

/// synward's status, if it runs.
fn status(control: Option<&Path>) -> Option<Snapshot> {
    let control = control.unwrap_or(Path::new(DEFAULT_CONTROL));
    match query_status(control) {
        Ok(snapshot) => Some(snapshot),
        Err(ClientError::NotRunning(_)) => None,
        Err(error) => {
            eprintln!("bench: {error}");
            None
        }
    }
}

fn wait(until: Instant, interrupt: &Interrupt) {
    while !interrupt.requested() {
        match until.saturating_duration_since(Instant::now()) {
            Duration::ZERO => return,
            left => sleep(left.min(Duration::from_millis(50))),
        }
    }
}

/// Medians by configuration and figure; a counter that is missing in a sample grew by 0.
fn medians(samples: &[Sample]) -> BTreeMap<String, BTreeMap<String, f64>> {
    let mut by_configuration: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for sample in samples {
        let of = by_configuration.entry(sample.configuration.clone());
        of.or_default().push(sample.figures());
    }
    let of_all = |samples: Vec<BTreeMap<String, f64>>| {
        let names = samples.iter().flat_map(BTreeMap::keys).cloned();
        let names: std::collections::BTreeSet<_> = names.collect();
        let figure = |name: String| {
            let mut values: Vec<f64> = samples
                .iter()
                .map(|sample| sample.get(&name).copied().unwrap_or(0.0))
                .collect();
            values.sort_by(f64::total_cmp);
            (name, median_of_sorted(&values))
        };
        names.into_iter().map(figure).collect()
    };
    by_configuration
        .into_iter()
        .map(|(configuration, samples)| (configuration, of_all(samples)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_stands_still_counts() {
        let sample = |configuration: &str, busy, counters: &[(&str, f64)]| Sample {
            configuration: configuration.into(),
            busy: vec![busy, 0.5],
            softirq: vec![0.0, 0.25],
            counters: counters
                .iter()
                .map(|(name, rate)| ((*name).into(), *rate))
                .collect(),
            ..Sample::default()
        };
        let found = medians(&[
            sample("xdp", 0.5, &[("syn", 9.0)]),
            sample("xdp", 0.25, &[]),
            sample("xdp", 1.0, &[]),
            sample("afxdp", 1.0, &[("syn", 7.0)]),
        ]);
        assert_eq!(found["xdp"]["cores busy"], 1.0);
        assert_eq!(found["xdp"]["cores in softirqs"], 0.25);
        assert_eq!((found["xdp"]["syn"], found["afxdp"]["syn"]), (0.0, 7.0));
    }
}
