//! A SYN flood in the background of a workload.

use std::fmt;
use std::ops::AddAssign;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::netns_lab::{Lab, PATIENCE, Role};
use super::process::Process;
use crate::cli_values::number;

/// SYNs per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rate {
    None,
    PerSecond(u64),
    Max,
}

impl Rate {
    /// The command-line form.
    pub(crate) fn word(self) -> String {
        match self {
            Self::None => "0".into(),
            Self::PerSecond(rate) => rate.to_string(),
            Self::Max => "max".into(),
        }
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "0" => Ok(Self::None),
            "max" => Ok(Self::Max),
            _ => number(text).map(Self::PerSecond),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => out.write_str("no flood"),
            Self::PerSecond(rate) => write!(out, "flood of {rate} SYN/s"),
            Self::Max => out.write_str("flood at full speed"),
        }
    }
}

/// A running flood.
pub(super) struct Flood<'a>(Process<'a>);

/// The report of `bench flood`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Flooded {
    pub(crate) seconds: f64,
    pub(crate) syns: u64,
    pub(super) acks: u64,
    #[serde(default)]
    pub(crate) answers: Answers,
}

impl Flooded {
    /// `count` in thousands per second.
    pub(super) fn thousands(&self, count: u64) -> f64 {
        count as f64 / self.seconds.max(f64::MIN_POSITIVE) / 1e3
    }
}

impl AddAssign for Flooded {
    fn add_assign(&mut self, other: Self) {
        self.seconds += other.seconds;
        self.syns += other.syns;
        self.acks += other.acks;
        self.answers.syn_ack += other.answers.syn_ack;
        self.answers.rst += other.answers.rst;
    }
}

/// Frames that came back to the flood's sources.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Answers {
    pub(crate) syn_ack: u64,
    pub(super) rst: u64,
}

/// Parameters of a flood.
pub(super) struct Target<'a> {
    /// ADDRESS:PORT.
    pub(super) destination: &'a str,
    /// Prefix of the spoofed source addresses.
    pub(super) sources: &'a str,
    pub(super) core: usize,
    pub(super) flood_path: &'a FloodPath<'a>,
    /// Further options of the generator.
    pub(super) options: &'a [&'a str],
}

/// Where a flood leaves the client, and where it arrives.
pub(super) struct FloodPath<'a> {
    /// Interface of the client.
    pub(super) sent_on: &'a str,
    pub(super) role: Role,
    /// Interface of that role.
    pub(super) received_on: &'a str,
    /// Destination MAC, if there is no neighbour entry.
    pub(super) mac: Option<&'a str>,
}

impl FloodPath<'_> {
    /// The lab's own link.
    pub(super) fn front(lab: &Lab<'_>) -> Self {
        let (role, received_on) = lab.front();
        Self {
            sent_on: "client0",
            role,
            received_on,
            mac: None,
        }
    }
}

impl<'a> Flood<'a> {
    /// Starts it in the client's namespace, for `time` at most, and waits until it arrives.
    ///
    /// Answers are dropped before the client's kernel sees them: on the Internet they would go to the spoofed
    /// addresses.
    ///
    /// # Errors
    /// It does not arrive.
    pub(super) fn start(
        lab: &Lab<'a>,
        rate: Rate,
        target: &Target<'_>,
        time: Duration,
    ) -> Result<Option<Self>> {
        if rate == Rate::None {
            return Ok(None);
        }
        let rate = rate.word();
        let flood_path = target.flood_path;
        let (core, time) = (target.core.to_string(), time.as_secs_f64().to_string());
        let mut arguments = vec![
            "flood",
            "--interface",
            flood_path.sent_on,
            "--destination",
            target.destination,
            "--sources",
            target.sources,
            "--rate",
            &rate,
            "--core",
            &core,
            "--seconds",
            &time,
            "--count-answers",
            "--json",
        ];
        arguments.extend(target.options);
        if let Some(mac) = flood_path.mac {
            arguments.extend(["--mac", mac]);
        }
        Self::begin(lab, flood_path, &arguments).map(Some)
    }

    /// Starts `bench` in the client's namespace with arguments that make it flood, and waits until the flood arrives.
    ///
    /// # Errors
    /// It does not arrive.
    pub(super) fn begin(
        lab: &Lab<'a>,
        flood_path: &FloodPath<'_>,
        arguments: &[&str],
    ) -> Result<Self> {
        let arrived = || lab.received(flood_path.role, flood_path.received_on);
        let before = arrived()?;
        let mut process = lab.begin(Role::Client, lab.bench(), arguments)?;
        process.until("the flood arrives", PATIENCE, |_| {
            Ok(arrived()? > before + 100)
        })?;
        Ok(Self(process))
    }

    /// Ends it.
    ///
    /// # Errors
    /// It failed, or had ended before.
    pub(super) fn stop(self) -> Result<Flooded> {
        let report = self.0.interrupt(PATIENCE)?;
        serde_json::from_str(&report)
            .with_context(|| format!("bench flood reported something unexpected: {report}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_named() {
        assert_eq!("0".parse(), Ok(Rate::None));
        assert_eq!("max".parse(), Ok(Rate::Max));
        assert_eq!("100k".parse(), Ok(Rate::PerSecond(100_000)));
        for wrong in ["", "full", "-1", "0k"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
        assert_eq!(
            Rate::PerSecond(100_000).to_string(),
            "flood of 100000 SYN/s"
        );
    }
}
