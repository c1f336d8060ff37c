//! A flood of SYNs that goes on beside the work.

use std::fmt;
use std::ops::AddAssign;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::netns_lab::{Lab, PATIENCE, Role};
use super::process::Process;
use crate::cli_values::number;

/// How many SYNs a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rate {
    None,
    PerSecond(u64),
    Max,
}

impl Rate {
    /// As it is written on command lines.
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

/// A flood under way.
pub(super) struct Flood<'a>(Process<'a>);

/// What `bench flood` reports.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Flooded {
    pub(crate) seconds: f64,
    pub(crate) syns: u64,
    pub(super) acks: u64,
    #[serde(default)]
    pub(crate) answers: Answers,
}

impl Flooded {
    /// So many in all, as thousands a second.
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

/// What a flood needs to know.
pub(super) struct Target<'a> {
    /// ADDRESS:PORT.
    pub(super) destination: &'a str,
    /// Prefix whose addresses it pretends to send from.
    pub(super) sources: &'a str,
    pub(super) core: usize,
    pub(super) gate: &'a Gate<'a>,
    /// More of the generator's options.
    pub(super) options: &'a [&'a str],
}

/// Where a flood leaves the client, and where it arrives.
pub(super) struct Gate<'a> {
    /// Interface of the client.
    pub(super) sent_on: &'a str,
    pub(super) role: Role,
    /// Interface of that role.
    pub(super) received_on: &'a str,
    /// Destination MAC, where no neighbour entry says it.
    pub(super) mac: Option<&'a str>,
}

impl Gate<'_> {
    /// The lab's own cable.
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
    /// Answers are dropped before the client's kernel sees them: spoofed addresses would not send them to it.
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
        let gate = target.gate;
        let (core, time) = (target.core.to_string(), time.as_secs_f64().to_string());
        let mut arguments = vec![
            "flood",
            "--interface",
            gate.sent_on,
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
        if let Some(mac) = gate.mac {
            arguments.extend(["--mac", mac]);
        }
        Self::begin(lab, gate, &arguments).map(Some)
    }

    /// Starts this program in the client's namespace with arguments that make it flood, and waits until that arrives.
    ///
    /// # Errors
    /// It does not arrive.
    pub(super) fn begin(lab: &Lab<'a>, gate: &Gate<'_>, arguments: &[&str]) -> Result<Self> {
        let arrived = || lab.received(gate.role, gate.received_on);
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
    /// It failed, or ended long ago.
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
