//! A flood of SYNs that goes on beside the work.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::lab::{Lab, PATIENCE, Role};
use super::process::Process;
use crate::quantity::number;

/// How many SYNs a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Rate {
    None,
    PerSecond(u64),
    Max,
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
pub(super) struct Flooded {
    pub(super) seconds: f64,
    pub(super) syns: u64,
    pub(super) answers: Answers,
}

/// Frames that came back to the flood's sources.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Answers {
    pub(super) syn_ack: u64,
}

/// What a flood needs to know.
pub(super) struct Target<'a> {
    /// ADDRESS:PORT.
    pub(super) destination: &'a str,
    /// Prefix whose addresses it pretends to send from.
    pub(super) sources: &'a str,
    pub(super) core: usize,
}

impl<'a> Flood<'a> {
    /// Starts it in the client's namespace, for `time` at most, and waits until it arrives at the edge.
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
        let rate = match rate {
            Rate::None => return Ok(None),
            Rate::PerSecond(rate) => rate.to_string(),
            Rate::Max => "max".into(),
        };
        let before = arrived(lab)?;
        let (core, time) = (target.core.to_string(), time.as_secs_f64().to_string());
        let mut process = lab.begin(
            Role::Client,
            lab.bench(),
            [
                "flood",
                "--interface",
                "client0",
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
            ],
        )?;
        process.until("the flood arrives at the edge", PATIENCE, |_| {
            Ok(arrived(lab)? > before + 100)
        })?;
        Ok(Some(Self(process)))
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

/// Frames that the edge has received from the client.
fn arrived(lab: &Lab<'_>) -> Result<u64> {
    let devices = lab.run(Role::Edge, "cat", ["/proc/net/dev"], PATIENCE)?;
    received(&devices, "out0").context("/proc/net/dev of the edge has no out0")
}

/// The second column of /proc/net/dev: packets received.
fn received(devices: &str, interface: &str) -> Option<u64> {
    devices.lines().find_map(|line| {
        let (name, columns) = line.split_once(':')?;
        let packets = columns.split_whitespace().nth(1)?;
        (name.trim() == interface)
            .then(|| packets.parse().ok())
            .flatten()
    })
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

    #[test]
    fn received_packets_are_found_by_interface() {
        let devices = "Inter-|   Receive |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets
    lo:       0       1    0    0    0     0          0         0        0       0
  out0: 1234567      42    0    0    0     0          0         0        0       7
";
        assert_eq!(received(devices, "out0"), Some(42));
        assert_eq!(received(devices, "in0"), None);
    }
}
