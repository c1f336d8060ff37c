//! Joins what the generator and the device under test did at the same time.

use std::collections::BTreeMap;

use super::output_file::{Generated, Load, Observed, Sample, Turn};
use crate::compare::Rate;
use crate::spread::median_of_sorted;

/// Seconds cut from a turn's beginning and end: the two clocks may differ by this much.
const MARGIN: f64 = 0.5;
/// Greatest share of unanswered SYNs of a loss-free flood.
const LOSS_FREE: f64 = 1e-4;
/// Configuration of a turn without samples.
const UNSEEN: &str = "not observed";

/// One rate with one configuration, and the figures of its rounds.
pub(super) struct Row {
    pub(super) configuration: String,
    pub(super) rate: Rate,
    pub(super) rounds: Vec<Figures>,
}

impl Row {
    /// A figure of all rounds that have it.
    pub(super) fn all(&self, figure: fn(&Figures) -> Option<f64>) -> Vec<f64> {
        self.rounds.iter().filter_map(figure).collect()
    }

    /// Whether, in every round, every SYN was answered and no connection failed or needed a second SYN.
    pub(super) fn loss_free(&self) -> bool {
        self.rounds.iter().all(|round| {
            round.lost.unwrap_or(0.0) <= LOSS_FREE && round.failed == 0.0 && round.retried == 0.0
        })
    }

    fn median(&self, figure: fn(&Figures) -> Option<f64>) -> Option<f64> {
        let mut all = self.all(figure);
        all.sort_by(f64::total_cmp);
        (!all.is_empty()).then(|| median_of_sorted(&all))
    }
}

/// A round of a row. Counts are per second, times in milliseconds, throughput in Gbit/s, shares from 0 to 1.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Figures {
    pub(super) sent: Option<f64>,
    pub(super) answered: Option<f64>,
    /// Share of SYNs that were not answered.
    pub(super) lost: Option<f64>,
    pub(super) connect: Option<[f64; 2]>,
    pub(super) answer: Option<[f64; 2]>,
    /// Share of connections.
    pub(super) failed: f64,
    pub(super) retried: f64,
    pub(super) down: Option<f64>,
    pub(super) up: Option<f64>,
    /// Cores of the device under test that were busy, and in softirqs.
    pub(super) busy: Option<f64>,
    pub(super) softirq: Option<f64>,
    /// SYNs that it received, by the counters of the NIC or of synward.
    pub(super) arrived: Option<f64>,
    /// SYN-ACKs that it sent, by its own counters.
    pub(super) answered_there: Option<f64>,
    /// CPU ns per answer that the flood cost it.
    pub(super) cost: Option<f64>,
}

/// All turns that succeeded, by configuration and rate.
pub(super) fn join(generated: &[Generated], observed: &[Observed]) -> Vec<Row> {
    let mut rows: BTreeMap<(String, u64), Row> = BTreeMap::new();
    for turn in generated.iter().flat_map(|file| &file.turns) {
        let (Some(load), Ok(rate)) = (&turn.load, turn.rate.parse()) else {
            continue;
        };
        let samples = during(turn, observed);
        let configuration = samples
            .first()
            .map_or(UNSEEN, |sample| sample.configuration.as_str());
        let key = (configuration.to_owned(), order(rate));
        let row = rows.entry(key).or_insert_with(|| Row {
            configuration: configuration.to_owned(),
            rate,
            rounds: Vec::new(),
        });
        row.rounds.push(figures(load, &samples));
    }
    let mut rows: Vec<Row> = rows.into_values().collect();
    compute_costs(&mut rows);
    rows
}

/// Samples within the time of a turn, all of one configuration.
fn during<'a>(turn: &Turn, observed: &'a [Observed]) -> Vec<&'a Sample> {
    let (begin, end) = (turn.begin + MARGIN, turn.end - MARGIN);
    let samples = observed.iter().map(|file| -> Vec<&Sample> {
        let within = |sample: &&Sample| sample.at - sample.seconds >= begin && sample.at <= end;
        file.samples.iter().filter(within).collect()
    });
    let mut samples = samples.max_by_key(Vec::len).unwrap_or_default();
    if let Some(first) = samples.first().map(|first| first.configuration.clone()) {
        samples.retain(|sample| sample.configuration == first);
    }
    samples
}

fn figures(load: &Load, samples: &[&Sample]) -> Figures {
    let flood = load.flood.filter(|flood| flood.sent > 0);
    let connections = &load.connections;
    let part = |count: u64| count as f64 / connections.attempted.max(1) as f64;
    let times = |times: &Option<crate::connect::Percentiles>| {
        times
            .as_ref()
            .map(|times| [times.p50 / 1e3, times.p99 / 1e3])
    };
    let of = |figure: &dyn Fn(&Sample) -> f64| -> Option<f64> {
        let mut values: Vec<f64> = samples.iter().map(|sample| figure(sample)).collect();
        values.sort_by(f64::total_cmp);
        (!values.is_empty()).then(|| median_of_sorted(&values))
    };
    let counted = |sample: &Sample, name: &str| sample.counters.get(name).copied().unwrap_or(0.0);
    Figures {
        sent: flood.map(|flood| flood.sent as f64 / flood.seconds),
        answered: flood.map(|flood| flood.answered as f64 / flood.seconds),
        lost: flood.map(|flood| 1.0 - (flood.answered as f64 / flood.sent as f64).min(1.0)),
        connect: times(&connections.until_connected),
        answer: times(&connections.until_answered),
        failed: part(connections.failed()),
        retried: part(connections.syn_retries),
        down: load.download.map(|down| down.gigabits),
        up: load.upload.map(|up| up.gigabits),
        busy: of(&|sample| sample.busy.iter().sum()),
        softirq: of(&|sample| sample.softirq.iter().sum()),
        arrived: of(&|sample| {
            let by_nic = counted(sample, "nic.rx_packets");
            by_nic.max(counted(sample, "synward.syn"))
        }),
        answered_there: of(&|sample| {
            counted(sample, "synward.answered_xdp") + counted(sample, "synward.answered_afxdp")
        })
        .filter(|answered| *answered > 0.0),
        cost: None,
    }
}

/// CPU time per answer, minus the CPU time of the same data without a flood.
fn compute_costs(rows: &mut [Row]) {
    let idle: BTreeMap<String, f64> = rows
        .iter()
        .filter(|row| row.rate == Rate::None)
        .filter_map(|row| Some((row.configuration.clone(), row.median(|round| round.busy)?)))
        .collect();
    for row in rows.iter_mut().filter(|row| row.rate != Rate::None) {
        let idle = idle.get(&row.configuration).copied().unwrap_or(0.0);
        for round in &mut row.rounds {
            let answered = round.answered_there.or(round.answered);
            round.cost = round
                .busy
                .zip(answered)
                .filter(|(busy, answered)| *busy > idle && *answered > 0.0)
                .map(|(busy, answered)| (busy - idle) * 1e9 / answered);
        }
    }
}

/// Sort key of a rate, ascending.
fn order(rate: Rate) -> u64 {
    match rate {
        Rate::None => 0,
        Rate::PerSecond(rate) => rate,
        Rate::Max => u64::MAX,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// A minute of two configurations, 30 s each, and turns of 10 s in both.
    pub(in super::super) fn files() -> (Generated, Observed) {
        let machine =
            json!({"cpu": "A CPU", "cores": 2, "release": "6.18", "load": 0.0, "commit": "abc"});
        let turn = |round: u16, rate: &str, begin: f64, sent: u64, answered: u64| {
            let flood = json!({"sent": sent, "answered": answered, "seconds": 10.0});
            let times = json!({"p50": 300.0, "p90": 1.0, "p99": 900.0, "p999": 1.0, "max": 1.0});
            json!({
                "round": round, "rate": rate, "begin": begin, "end": begin + 10.0,
                "load": {
                    "flood": if rate == "0" { json!(null) } else { flood },
                    "connections": {
                        "attempted": 1000, "established": 1000, "answered": 1000, "syn_retries": 0, "failures": {},
                        "seconds": 10.0, "per_second": 100.0, "begun_late": null, "until_connected": times,
                        "until_answered": times,
                    },
                    "download": {"bytes": 1, "seconds": 10.0, "gigabits": 9.4, "broken": 0},
                    "upload": null,
                },
            })
        };
        let generated = json!({
            "machine": machine, "conditions": ["SYNs on eth1"], "seed": 7, "rounds": 1,
            "turns": [
                turn(0, "1000000", 1000.2, 10_000_000, 10_000_000),
                turn(0, "0", 1015.2, 0, 0),
                turn(0, "1000000", 1030.2, 10_000_000, 9_000_000),
                turn(0, "max", 5000.0, 10, 10),
                {"round": 0, "rate": "max", "begin": 1045.0, "end": 1055.0, "load": null, "error": "no"},
            ],
        });
        let sample = |second: u32| {
            let flood = !(1014..1026).contains(&second);
            json!({
                "at": f64::from(second), "seconds": 1.0,
                "configuration": if second < 1028 { "xdp" } else { "afxdp" },
                "busy": if flood { [0.75, 0.5] } else { [0.25, 0.25] }, "softirq": [0.25, 0.0],
                "counters": {"nic.rx_packets": 1_100_000.0, "synward.answered_xdp": if flood { 1e6 } else { 0.0 }},
            })
        };
        let observed = json!({
            "machine": machine, "interface": "eth0", "medians": {},
            "samples": (1000..1060).map(sample).collect::<Vec<_>>(),
        });
        (
            serde_json::from_value(generated).unwrap(),
            serde_json::from_value(observed).unwrap(),
        )
    }

    #[test]
    fn turns_meet_the_samples_of_their_time() {
        let (generated, observed) = files();
        let turn = &generated.turns[0];
        let times: Vec<f64> = during(turn, &[observed])
            .iter()
            .map(|sample| sample.at)
            .collect();
        // From 1000.7 to 1009.7: none that reaches out of it.
        assert_eq!(
            times,
            [
                1002.0, 1003.0, 1004.0, 1005.0, 1006.0, 1007.0, 1008.0, 1009.0
            ]
        );
    }

    #[test]
    fn rows_are_of_a_configuration_and_a_rate() {
        let (generated, observed) = files();
        let rows = join(&[generated], &[observed]);
        let names: Vec<_> = rows
            .iter()
            .map(|row| (row.configuration.as_str(), row.rate.word(), row.loss_free()))
            .collect();
        assert_eq!(
            names,
            [
                ("afxdp", "1000000".into(), false),
                ("not observed", "max".into(), true),
                ("xdp", "0".into(), true),
                ("xdp", "1000000".into(), true),
            ]
        );
        // Half a core was busy without the flood: (1.25 − 0.5) cores for a million answers per second.
        assert_eq!(rows[3].rounds[0].cost, Some(750.0));
        // Nothing to take off there.
        assert_eq!(rows[0].rounds[0].cost, Some(1250.0));
        assert!((rows[0].rounds[0].lost.unwrap() - 0.1).abs() < 1e-9);
        assert_eq!(
            (rows[2].rounds[0].cost, rows[2].rounds[0].sent),
            (None, None)
        );
        assert_eq!(rows[3].rounds[0].connect, Some([0.3, 0.9]));
        assert_eq!(
            (rows[1].rounds[0].busy, rows[3].rounds[0].down),
            (None, Some(9.4))
        );
    }
}
