//! Where a comparison ran: figures of one machine say little about another.

use std::fmt;
use std::fs;
use std::thread::available_parallelism;

use serde::Serialize;

/// What of a machine decides about figures.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    cpu: String,
    /// On which this program may run.
    cores: usize,
    /// Of the kernel.
    release: String,
    /// Runnable tasks of the last minute, at the start: others that were busy.
    load: f64,
}

impl Machine {
    /// This one. What it does not tell is empty.
    pub(crate) fn here() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self {
            cpu: model(&read("/proc/cpuinfo")).unwrap_or("unknown").into(),
            cores: available_parallelism().map_or(0, usize::from),
            release: read("/proc/sys/kernel/osrelease").trim().into(),
            load: first_number(&read("/proc/loadavg")),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cpu,
            cores,
            release,
            load,
        } = self;
        write!(
            out,
            "Linux {release}, {cores} cores of {cpu}; load {load} before the start"
        )
    }
}

fn model(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, model)| model.trim())
}

fn first_number(text: &str) -> f64 {
    let first = text.split_whitespace().next();
    first.and_then(|word| word.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_named() {
        let cpuinfo = "processor\t: 0\nmodel name\t: A CPU @ 2 GHz\n";
        assert_eq!(model(cpuinfo), Some("A CPU @ 2 GHz"));
        assert_eq!(model(""), None);
        assert_eq!(first_number("0.25 1.00 2.00 1/100 7"), 0.25);
    }
}
