//! The processes that make a turn's traffic: `bench` itself, once per kind of traffic.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::generate_options::Options;
use super::output_file::{Flood, Load, Transferred};
use super::transfer;
use crate::compare::{Flooded, Process, Rate};
use crate::connect;
use crate::interrupt::Interrupt;

/// Limit beyond a process's own running time.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts processes; their output goes to a folder that is removed on drop.
pub(super) struct Loader<'a> {
    options: &'a Options,
    interrupt: &'a Interrupt,
    bench: PathBuf,
    folder: PathBuf,
}

impl<'a> Loader<'a> {
    /// Creates the folder.
    ///
    /// # Errors
    /// The folder cannot be created.
    pub(super) fn new(options: &'a Options, interrupt: &'a Interrupt) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("synward-wire-{}", std::process::id()));
        fs::create_dir_all(&folder)
            .with_context(|| format!("{} cannot be made", folder.display()))?;
        Ok(Self {
            options,
            interrupt,
            bench: std::env::current_exe().context("the path of this program is not known")?,
            folder,
        })
    }

    /// Starts a flood of this rate, if any: one process per core; the first counts the answers to all of them.
    ///
    /// # Errors
    /// It does not start.
    pub(super) fn flood(&self, rate: Rate) -> Result<Vec<Process<'a>>> {
        // It runs until it is stopped.
        let time = self.longest().min(Duration::from_secs(600));
        let Some(share) = share(rate, self.options.flood_cores.len()) else {
            return Ok(Vec::new());
        };
        let start = |(number, core)| {
            let words = flood_words(self.options, share, number, core, time);
            self.start(&format!("flood{number}"), Command::new(&self.bench), &words)
        };
        (self
            .options
            .flood_cores
            .iter()
            .copied()
            .enumerate()
            .map(start))
        .collect()
    }

    /// Starts connections at the constant rate, and transfers.
    ///
    /// # Errors
    /// One does not start.
    pub(super) fn data(&self) -> Result<Data<'a>> {
        Ok(Data {
            download: self.transfer("download", self.options.download.as_deref(), &[])?,
            upload: self.transfer("upload", self.options.upload.as_deref(), &["--store"])?,
            connections: self.connect(&[
                ("--rate", self.options.connections.to_string()),
                ("--seconds", self.options.seconds.as_secs_f64().to_string()),
            ])?,
            limit: self.longest(),
        })
    }

    /// Makes `count` connections, one after the other, which all must succeed; tries a few times.
    ///
    /// # Errors
    /// They fail.
    pub(super) fn warm_up(&self, count: u64) -> Result<()> {
        let few = [
            ("--rate", "100".to_owned()),
            ("--connections", count.to_string()),
        ];
        let mut report = self.connections(&few)?;
        // A driver may take its link down for some seconds when an XDP program is attached.
        for _ in 0..3 {
            if report.answered == count {
                return Ok(());
            }
            report = self.connections(&few)?;
        }
        ensure!(
            report.answered == count,
            "before any flood, {} of {count} connections to {} were answered ({:?}): see --help for how \
             connections get an address",
            report.answered,
            self.options.destination,
            report.failures
        );
        Ok(())
    }

    fn connections(&self, more: &[(&str, String)]) -> Result<connect::Report> {
        parse_connections(&self.connect(more)?.finish(self.longest())?)
    }

    fn connect(&self, more: &[(&str, String)]) -> Result<Process<'a>> {
        let mut words = vec!["connect".into(), self.options.destination.to_string()];
        words.extend(["--data".into(), self.options.data.to_string()]);
        let patience = self.options.patience.as_secs_f64().to_string();
        words.extend(["--patience".into(), patience, "--json".into()]);
        if let Some(core) = self.options.connect_core {
            words.extend(["--core".into(), core.to_string()]);
        }
        for (name, value) in more {
            words.extend([(*name).to_owned(), value.clone()]);
        }
        self.start("connect", self.client(), &words)
    }

    fn transfer(
        &self,
        name: &str,
        path: Option<&str>,
        more: &[&str],
    ) -> Result<Option<Process<'a>>> {
        let Some(path) = path else { return Ok(None) };
        let mut words: Vec<String> = ["two-machines", "transfer"].map(String::from).into();
        words.extend([self.options.destination.to_string(), path.into()]);
        words.extend(["--flows".into(), self.options.flows.to_string()]);
        let time = self.options.seconds.as_secs_f64().to_string();
        words.extend(["--seconds".into(), time]);
        words.extend(more.iter().map(|word| String::from(*word)));
        self.start(name, self.client(), &words).map(Some)
    }

    /// The `bench` command in the clients' namespace.
    fn client(&self) -> Command {
        match &self.options.connect_in {
            None => Command::new(&self.bench),
            Some(namespace) => {
                let mut command = Command::new("nsenter");
                command
                    .arg(format!("--net=/run/netns/{namespace}"))
                    .arg(&self.bench);
                command
            }
        }
    }

    fn start(&self, name: &str, mut command: Command, words: &[String]) -> Result<Process<'a>> {
        command.args(words);
        let log = self.folder.join(format!("{name}.log"));
        Process::start(
            &mut command,
            &format!("bench {}", words[0]),
            &log,
            self.interrupt,
        )
    }

    /// The last connection is due after `time`; it may begin one patience late, and then wait one patience.
    fn longest(&self) -> Duration {
        self.options.seconds + 2 * self.options.patience + PATIENCE
    }
}

impl Drop for Loader<'_> {
    fn drop(&mut self) {
        // If this fails, the folder stays in the temporary directory.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Running connections and transfers.
pub(super) struct Data<'a> {
    connections: Process<'a>,
    download: Option<Process<'a>>,
    upload: Option<Process<'a>>,
    limit: Duration,
}

impl Data<'_> {
    /// Waits for them, then ends the flood; returns the results of both.
    ///
    /// # Errors
    /// One failed.
    pub(super) fn finish(self, flood: Vec<Process<'_>>) -> Result<Load> {
        let transferred = |process: Option<Process<'_>>| -> Result<Option<Transferred>> {
            let printed = process
                .map(|process| process.finish(self.limit))
                .transpose()?;
            printed.as_deref().map(transfer::parse).transpose()
        };
        let connections = parse_connections(&self.connections.finish(self.limit)?)?;
        let download = transferred(self.download)?;
        let upload = transferred(self.upload)?;
        // The first process counts the answers to all, so it ends last.
        let reports = flood.into_iter().rev().map(|process| {
            let printed = process.interrupt(PATIENCE)?;
            serde_json::from_str(&printed)
                .with_context(|| format!("bench flood reported something unexpected: {printed}"))
        });
        let reports: Vec<Flooded> = reports.collect::<Result<_>>()?;
        let flood = (!reports.is_empty()).then(|| total(&reports));
        ensure!(
            flood.is_none_or(|flood| flood.sent > 0),
            "no frame of the flood was sent: does the driver support XDP redirects to it?"
        );
        Ok(Load {
            flood,
            connections,
            download,
            upload,
        })
    }
}

fn parse_connections(printed: &str) -> Result<connect::Report> {
    serde_json::from_str(printed)
        .with_context(|| format!("bench connect reported something unexpected: {printed}"))
}

/// Each core's share of a rate; `None` without a flood.
fn share(rate: Rate, cores: usize) -> Option<Rate> {
    match rate {
        Rate::None => None,
        Rate::PerSecond(rate) => Some(Rate::PerSecond(rate.div_ceil(cores.max(1) as u64))),
        Rate::Max => Some(Rate::Max),
    }
}

fn flood_words(
    options: &Options,
    rate: Rate,
    number: usize,
    core: usize,
    time: Duration,
) -> Vec<String> {
    let mut words = vec!["flood".to_owned(), "--json".into()];
    for (name, value) in [
        ("--interface", options.interface.clone()),
        ("--destination", options.destination.to_string()),
        ("--sources", options.sources.clone()),
        ("--rate", rate.word()),
        ("--core", core.to_string()),
        ("--seconds", time.as_secs_f64().to_string()),
    ] {
        words.extend([name.to_owned(), value]);
    }
    if let Some(mac) = &options.mac {
        words.extend(["--mac".to_owned(), mac.clone()]);
    }
    if number == 0 {
        words.push("--count-answers".into());
    }
    if options.i_own_this_network {
        words.push("--i-own-this-network".into());
    }
    words
}

/// Of the processes of one flood, which ran at the same time.
fn total(reports: &[Flooded]) -> Flood {
    let seconds = reports.iter().map(|report| report.seconds);
    Flood {
        sent: reports.iter().map(|report| report.syns).sum(),
        answered: reports.iter().map(|report| report.answers.syn_ack).sum(),
        seconds: seconds.fold(0.0, f64::max),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::generate_options::tests::parse;
    use super::*;

    #[test]
    fn cores_share_a_rate() {
        assert_eq!(share(Rate::None, 2), None);
        assert_eq!(share(Rate::Max, 2), Some(Rate::Max));
        let half = Some(Rate::PerSecond(500_001));
        assert_eq!(share(Rate::PerSecond(1_000_001), 2), half);
    }

    #[test]
    fn one_process_counts_what_is_answered_to_all() {
        let options = parse("--mac 02:53:57:00:00:02 --i-own-this-network").unwrap();
        let words =
            |number| flood_words(&options, Rate::Max, number, 3, Duration::from_secs(20)).join(" ");
        assert_eq!(
            words(0),
            "flood --json --interface eth1 --destination 192.0.2.10:80 --sources 10.0.0.0/8 --rate max --core 3 \
             --seconds 20 --mac 02:53:57:00:00:02 --count-answers --i-own-this-network"
        );
        assert!(!words(1).contains("--count-answers"));
        let report = |syns, answered| -> Flooded {
            serde_json::from_value(serde_json::json!({
                "seconds": 2.0, "syns": syns, "acks": 0, "answers": {"syn_ack": answered, "rst": 0}
            }))
            .unwrap()
        };
        let flood = total(&[report(100, 0), report(110, 200)]);
        assert_eq!((flood.sent, flood.answered, flood.seconds), (210, 200, 2.0));
    }
}
