//! The machine of a comparison: figures of one machine do not apply to another.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::available_parallelism;

use serde::{Deserialize, Serialize};

/// Properties of a machine that affect figures.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Machine {
    cpu: String,
    /// Cores on which this program may run.
    cores: usize,
    /// Kernel release.
    release: String,
    /// Load average of the last minute, before the start: CPU use by others.
    load: f64,
    /// The repository's commit, and whether files were changed; empty outside a repository.
    commit: String,
}

impl Machine {
    /// This machine, and the repository that has the file `lab`. Unknown values are empty.
    pub(crate) fn here(lab: &Path) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self {
            cpu: model(&read("/proc/cpuinfo")).unwrap_or("unknown").into(),
            cores: available_parallelism().map_or(0, usize::from),
            release: read("/proc/sys/kernel/osrelease").trim().into(),
            load: first_number(&read("/proc/loadavg")),
            commit: commit(lab.parent().unwrap_or(lab)).unwrap_or_default(),
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
            commit,
        } = self;
        write!(
            out,
            "Linux {release}, {cores} cores of {cpu}; load {load} before the start; commit {commit}"
        )
    }
}

/// The commit of a folder, and whether files other than results were changed.
fn commit(folder: &Path) -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .arg("-C")
            .arg(folder)
            .args(arguments)
            .stderr(Stdio::null())
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_string())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--", ":/", ":!/bench/results"])?;
    match changed.is_empty() {
        true => Some(commit),
        false => Some(format!("{commit} with changes")),
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
