//! Counters of the device under test, and their increase between two moments.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde::Serialize;
use synward::observe::{InterfaceView, Responder, Snapshot};

use super::output_file::{Sample, now};
use crate::compare::{BUSY, SOFTIRQ, nanoseconds};

/// Counters at one moment.
pub(super) struct Moment {
    at: f64,
    instant: Instant,
    configuration: String,
    /// Per core: nanoseconds busy, and nanoseconds in interrupts and softirqs.
    cores: Vec<(u64, u64)>,
    counters: BTreeMap<String, u64>,
}

impl Moment {
    /// Reads the counters of `interface`, and of synward if it runs.
    ///
    /// # Errors
    /// No such interface in this namespace's /sys.
    pub(super) fn now(interface: &str, synward: Option<&Snapshot>) -> Result<Self> {
        let mut counters = of_interface(interface)?;
        counters.extend(of_driver(interface));
        if let Some(snapshot) = synward {
            counters.extend(of_synward(snapshot, interface));
        }
        Ok(Self {
            at: now(),
            instant: Instant::now(),
            configuration: synward.map_or_else(
                || "no synward".into(),
                |snapshot| configuration(snapshot, interface),
            ),
            cores: cores(&fs::read_to_string("/proc/stat")?),
            counters,
        })
    }

    /// From `earlier` until this one.
    pub(super) fn since(&self, earlier: &Self) -> Sample {
        let seconds = (self.instant - earlier.instant).as_secs_f64();
        let share = |of: fn(&(u64, u64)) -> u64| -> Vec<f64> {
            let pairs = self.cores.iter().zip(&earlier.cores);
            pairs
                .map(|(now, then)| of(now).saturating_sub(of(then)) as f64 / 1e9 / seconds)
                .collect()
        };
        let grown = |(name, now): (&String, &u64)| {
            // A counter that is new, or has decreased, belongs to another process or link than before.
            let growth = now.checked_sub(*earlier.counters.get(name)?)?;
            (growth > 0).then(|| (name.clone(), growth as f64 / seconds))
        };
        Sample {
            at: self.at,
            seconds,
            configuration: self.configuration.clone(),
            busy: share(|core| core.0),
            softirq: share(|core| core.1),
            counters: self.counters.iter().filter_map(grown).collect(),
        }
    }
}

/// Each core's line of /proc/stat.
fn cores(stat: &str) -> Vec<(u64, u64)> {
    let of_core = |line: &str| {
        let (_, columns) = line
            .strip_prefix("cpu")
            .filter(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))?
            .split_once(' ')?;
        Some((
            nanoseconds(columns, &BUSY)?,
            nanoseconds(columns, &SOFTIRQ)?,
        ))
    };
    stat.lines().filter_map(of_core).collect()
}

fn of_interface(name: &str) -> Result<BTreeMap<String, u64>> {
    let folder = Path::new("/sys/class/net").join(name).join("statistics");
    let files = fs::read_dir(&folder).with_context(|| {
        format!(
            "{} does not exist: is {name} an interface of this namespace, and is its /sys mounted?",
            folder.display()
        )
    })?;
    let counter = |file: fs::DirEntry| {
        let value = fs::read_to_string(file.path()).ok()?.trim().parse().ok()?;
        Some((format!("nic.{}", file.file_name().to_string_lossy()), value))
    };
    Ok(files.filter_map(Result::ok).filter_map(counter).collect())
}

/// The driver's own counters; empty without ethtool or such statistics.
fn of_driver(name: &str) -> BTreeMap<String, u64> {
    let output = Command::new("ethtool")
        .args(["-S", name])
        .stderr(Stdio::null())
        .output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    driver_counters(&text.unwrap_or_default())
}

fn driver_counters(text: &str) -> BTreeMap<String, u64> {
    let counter = |line: &str| {
        let (name, value) = line.rsplit_once(':')?;
        Some((
            format!("ethtool.{}", name.trim()),
            value.trim().parse().ok()?,
        ))
    };
    text.lines().filter_map(counter).collect()
}

/// Sums over services, and over the sockets of `interface`.
fn of_synward(snapshot: &Snapshot, interface: &str) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    let mut add = |group: &str, counters: BTreeMap<String, u64>| {
        for (name, value) in counters {
            *sums.entry(format!("{group}.{name}")).or_default() += value;
        }
    };
    for service in &snapshot.services {
        // Counters that the appliance could not read are missing in the sample.
        if let Some(counters) = &service.counters {
            add("synward", counters_by_name(counters));
        }
        add(
            "synward",
            [("answered_afxdp".into(), service.answered_afxdp)].into(),
        );
        let handoffs = service.handoffs.iter();
        let handoffs = handoffs.map(|(result, count)| (format!("handoff_{result}"), *count));
        add("synward", handoffs.collect());
    }
    let queues = steered(snapshot, interface).into_iter();
    for queue in queues.flat_map(|interface| &interface.queues) {
        add("xsk", counters_by_name(&queue.counters));
        add("xsk", [("lost".into(), queue.counters.lost())].into());
    }
    sums
}

/// Numeric fields by name.
fn counters_by_name(counters: &impl Serialize) -> BTreeMap<String, u64> {
    let value = serde_json::to_value(counters).unwrap_or_default();
    serde_json::from_value(value).unwrap_or_default()
}

fn steered<'a>(snapshot: &'a Snapshot, interface: &str) -> Option<&'a InterfaceView> {
    let mut interfaces = snapshot.interfaces.iter();
    interfaces.find(|view| view.name == interface)
}

/// Handoffs, responder, and the modes of its sockets and its program: `splice, afxdp, zero-copy, native`.
pub(super) fn configuration(snapshot: &Snapshot, interface: &str) -> String {
    let Some(view) = steered(snapshot, interface) else {
        return format!("synward, not on {interface}");
    };
    let handoffs = snapshot.services.iter();
    let responders = view.queues.iter().map(|queue| match queue.responder {
        Responder::Afxdp => "afxdp",
        Responder::Xdp => "xdp",
    });
    let sockets = view.queues.iter().map(|queue| match queue.zero_copy {
        Some(true) => "zero-copy",
        Some(false) => "copy",
        None => "no socket",
    });
    let words = [
        distinct(handoffs.map(|service| service.handoff.as_str())),
        distinct(responders),
        distinct(sockets),
        if view.native { "native" } else { "generic" }.into(),
    ];
    words.join(", ")
}

/// Distinct words; several if queues or services differ.
fn distinct<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: std::collections::BTreeSet<_> = words.collect();
    words.into_iter().collect::<Vec<_>>().join("+")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use synward::observe::{Counters, KernelStatistics, QueueView, ServiceView, XskCounters};

    use super::*;

    fn snapshot(responder: Responder, zero_copy: [Option<bool>; 2], native: bool) -> Snapshot {
        let queue = |zero_copy| QueueView {
            responder,
            zero_copy,
            counters: XskCounters {
                kernel: KernelStatistics {
                    rx_ring_full: 3,
                    ..KernelStatistics::default()
                },
                ..XskCounters::default()
            },
            ..QueueView::default()
        };
        Snapshot {
            interfaces: vec![InterfaceView {
                name: "eth0".into(),
                native,
                queues: zero_copy.map(queue).into(),
                ..InterfaceView::default()
            }],
            services: vec![ServiceView {
                handoff: "splice".into(),
                answered_afxdp: 5,
                counters: Some(Counters::default()),
                ..ServiceView::default()
            }],
            ..Snapshot::default()
        }
    }

    #[test]
    fn a_configuration_says_who_answers_and_how() {
        let of = |responder, zero_copy, native| {
            configuration(&snapshot(responder, zero_copy, native), "eth0")
        };
        assert_eq!(
            of(Responder::Afxdp, [Some(true); 2], true),
            "splice, afxdp, zero-copy, native"
        );
        assert_eq!(
            of(Responder::Xdp, [Some(false); 2], false),
            "splice, xdp, copy, generic"
        );
        assert_eq!(
            of(Responder::Xdp, [Some(true), None], true),
            "splice, xdp, no socket+zero-copy, native"
        );
        let elsewhere = configuration(&snapshot(Responder::Xdp, [None; 2], true), "eth9");
        assert_eq!(elsewhere, "synward, not on eth9");
    }

    #[test]
    fn synwards_counters_are_summed() {
        let sums = of_synward(&snapshot(Responder::Afxdp, [None; 2], true), "eth0");
        assert_eq!((sums["xsk.rx_ring_full"], sums["xsk.lost"]), (6, 6));
        assert_eq!(
            (sums["synward.answered_afxdp"], sums["synward.syn"]),
            (5, 0)
        );
    }

    #[test]
    fn every_core_has_a_line() {
        let tick = nanoseconds("1", &[0]).unwrap();
        let stat =
            "cpu  9 9 9 9 9 9 9 9\ncpu0 1 2 3 90 90 4 5 9\ncpu10 0 0 0 1 0 0 0 0\nintr 7 7\n";
        assert_eq!(cores(stat), [(15 * tick, 9 * tick), (0, 0)]);
    }

    #[test]
    fn a_driver_tells_numbers() {
        let text = "NIC statistics:\n     rx_queue_0_drops: 7\n     name: text\n     a:b: 2\n";
        let found = driver_counters(text);
        assert_eq!(found["ethtool.rx_queue_0_drops"], 7);
        assert_eq!(found.get("ethtool.a:b"), Some(&2));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn counters_become_rates() {
        let instant = Instant::now();
        let moment = |at: u64, busy, counters: &[(&str, u64)]| Moment {
            at: at as f64,
            instant: instant + std::time::Duration::from_secs(at),
            configuration: "x".into(),
            cores: vec![(busy, busy / 2)],
            counters: counters
                .iter()
                .map(|(name, value)| ((*name).into(), *value))
                .collect(),
        };
        let before = moment(10, 0, &[("a", 100), ("b", 5), ("back", 9)]);
        let after = moment(
            12,
            1_000_000_000,
            &[("a", 300), ("b", 5), ("back", 1), ("new", 8)],
        );
        let sample = after.since(&before);
        assert_eq!((sample.busy[0], sample.softirq[0]), (0.5, 0.25));
        assert_eq!(sample.counters, [("a".into(), 100.0)].into());
    }
}
