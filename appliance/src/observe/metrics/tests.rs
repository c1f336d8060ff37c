//! Parses the output with a parser written from the specification of the format, independent of our writer.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::observe::sample_snapshot;

/// A sample: its labels and its value.
type Sample = (BTreeMap<String, String>, f64);

/// A page: kinds by family, samples by name.
#[derive(Default)]
struct Parsed {
    helped: BTreeSet<String>,
    kinds: BTreeMap<String, String>,
    samples: BTreeMap<String, Vec<Sample>>,
}

impl Parsed {
    fn new(page: &str) -> Self {
        assert!(page.ends_with('\n'), "the last line must end");
        let mut parsed = Self::default();
        page.lines().for_each(|line| parsed.line(line));
        parsed
    }

    fn line(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(!help.is_empty());
            assert!(self.helped.insert(name.into()), "{name} is there twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            let before = self.kinds.insert(name.into(), kind.into());
            assert_eq!(before, None, "{name} is there twice");
        } else {
            self.sample(line);
        }
    }

    fn sample(&mut self, line: &str) {
        let name_end = line.find(['{', ' ']).unwrap();
        let (name, mut rest) = line.split_at(name_end);
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(name.chars().all(legal), "{line}");
        let mut labels = BTreeMap::new();
        if let Some(inner) = rest.strip_prefix('{') {
            rest = inner;
            while !rest.starts_with('}') {
                let (label, after) = rest.split_once("=\"").unwrap();
                let (value, after) = quoted(after);
                assert_eq!(labels.insert(label.to_owned(), value), None, "{line}");
                rest = after.strip_prefix(',').unwrap_or(after);
            }
            rest = &rest[1..];
        }
        let value = rest.strip_prefix(' ').unwrap().parse().unwrap();
        let samples = self.samples.entry(name.to_owned()).or_default();
        assert!(
            samples.iter().all(|(known, _)| *known != labels),
            "{line} is there twice"
        );
        samples.push((labels, value));
    }

    /// The value of the sample with exactly these labels.
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted: BTreeMap<_, _> = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let found = self.samples[name]
            .iter()
            .find(|(known, _)| *known == wanted);
        found.unwrap_or_else(|| panic!("no {name}{labels:?}")).1
    }
}

/// The text up to the closing quote, and the rest after it.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => match chars.next().unwrap().1 {
                'n' => value.push('\n'),
                c @ ('"' | '\\') => value.push(c),
                c => panic!("\\{c}"),
            },
            c => value.push(c),
        }
    }
    panic!("{text}: no closing quote");
}

/// Samples of a histogram have suffixes.
fn family(sample: &str) -> &str {
    ["_bucket", "_sum", "_count"]
        .iter()
        .filter_map(|suffix| sample.strip_suffix(suffix))
        .find(|name| *name == HANDOFF_SECONDS.name)
        .unwrap_or(sample)
}

#[test]
fn the_page_has_exactly_the_listed_metrics() {
    let page = Parsed::new(&render(&sample_snapshot::snapshot()));
    let listed: BTreeMap<_, _> = METRICS
        .iter()
        .map(|metric| (metric.name.to_owned(), metric.kind.word().to_owned()))
        .collect();
    assert_eq!(listed.len(), METRICS.len(), "a name is there twice");
    assert_eq!(page.kinds, listed);
    assert!(page.helped.iter().eq(listed.keys()));
    let sampled: BTreeSet<_> = page.samples.keys().map(|name| family(name)).collect();
    assert!(sampled.into_iter().eq(listed.keys()));
}

#[test]
fn samples_have_the_labels_of_the_list() {
    let page = Parsed::new(&render(&sample_snapshot::snapshot()));
    for (name, samples) in &page.samples {
        let metric = METRICS
            .iter()
            .find(|metric| metric.name == family(name))
            .unwrap();
        let mut wanted: BTreeSet<_> = metric.labels.iter().copied().collect();
        if name.ends_with("_bucket") {
            wanted.insert("le");
        }
        for (labels, _) in samples {
            assert!(labels.keys().eq(wanted.iter()), "{name}{labels:?}");
        }
    }
}

#[test]
fn names_follow_the_conventions() {
    for metric in METRICS {
        let total = metric.name.ends_with("_total");
        assert_eq!(total, metric.kind == Kind::Counter, "{}", metric.name);
        assert!(metric.name.starts_with("synward_"));
        assert!(metric.help.ends_with('.'), "{}", metric.name);
        assert!(!metric.help.contains(['|', '\n']), "{}", metric.name);
    }
}

#[test]
fn values_are_those_of_the_snapshot() {
    let page = Parsed::new(&render(&sample_snapshot::snapshot()));
    let web = ("service", "web");
    assert_eq!(
        page.value("synward_build_info", &[("version", "0.1.0")]),
        1.0
    );
    assert_eq!(page.value("synward_syns_total", &[web]), 12e6);
    let cookies = |result| page.value("synward_cookies_total", &[web, ("result", result)]);
    let expected = [12e6, 1_204.0, 3e6, 7.0];
    assert_eq!(
        ["sent", "valid", "invalid", "expired"].map(cookies),
        expected
    );
    let answers = |by| page.value("synward_answers_total", &[web, ("by", by)]);
    assert_eq!(["xdp", "afxdp"].map(answers), [10e6, 2e6]);
    let handoff = ("handoff", "splice");
    let handoffs = |result| {
        page.value(
            "synward_handoffs_total",
            &[web, handoff, ("result", result)],
        )
    };
    assert_eq!(["ok", "table_full"].map(handoffs), [1_200.0, 0.0]);
    let queue = [("interface", "eth0"), ("queue", "0")];
    assert_eq!(page.value("synward_xsk_rx_ring_full_total", &queue), 4.0);
    assert_eq!(
        page.value("synward_worker_busy_ratio", &[("core", "2")]),
        0.873
    );
    let fill = [queue[0], queue[1], ("place", "fill")];
    assert_eq!(page.value("synward_xsk_frames", &fill), 2_048.0);
}

#[test]
fn every_counter_of_the_program_has_a_sample() {
    let page = Parsed::new(&render(&sample_snapshot::snapshot()));
    for counter in NAMES {
        let apart = APART.iter().any(|apart| NAMES[*apart as usize] == *counter);
        let service = ("service", "mail");
        if let Some(reason) = counter.strip_prefix("would_drop_") {
            page.value("synward_would_drop_total", &[service, ("reason", reason)]);
            continue;
        }
        match counter.strip_prefix("drop_") {
            Some(reason) => page.value("synward_drops_total", &[service, ("reason", reason)]),
            None if apart => continue,
            None => page.value("synward_segments_total", &[service, ("fate", counter)]),
        };
    }
}

#[test]
fn buckets_are_cumulative_up_to_the_count() {
    let page = Parsed::new(&render(&sample_snapshot::snapshot()));
    let buckets = &page.samples["synward_handoff_seconds_bucket"];
    assert!(buckets.is_sorted_by(|a, b| a.1 <= b.1));
    let bound = |sample: &Sample| sample.0["le"].parse::<f64>().unwrap();
    assert!(buckets.is_sorted_by(|a, b| bound(a) < bound(b)));
    assert_eq!(buckets.last().unwrap().0["le"], "+Inf");
    assert_eq!(buckets.last().unwrap().1, 4.0);
    assert_eq!(
        page.value("synward_handoff_seconds_bucket", &[("le", "0.00025")]),
        2.0
    );
    assert_eq!(page.value("synward_handoff_seconds_count", &[]), 4.0);
    let sum = page.value("synward_handoff_seconds_sum", &[]);
    assert!((sum - 0.001_72).abs() < 1e-9, "{sum}");
}

#[test]
fn workers_on_one_core_share_a_sample() {
    let mut snapshot = sample_snapshot::snapshot();
    snapshot.workers[1].core = Some(2);
    snapshot.workers[1].busy_ratio = 0.1;
    let page = Parsed::new(&render(&snapshot));
    assert_eq!(
        page.value("synward_worker_busy_ratio", &[("core", "2")]),
        0.973
    );
}

#[test]
fn special_characters_in_interface_names_are_escaped() {
    let mut snapshot = sample_snapshot::snapshot();
    snapshot.interfaces[0].name = "a\"b\\c".into();
    let page = Parsed::new(&render(&snapshot));
    assert_eq!(
        page.value("synward_interface_native", &[("interface", "a\"b\\c")]),
        1.0
    );
}

#[test]
fn counters_that_cannot_be_read_have_no_samples() {
    let mut snapshot = sample_snapshot::snapshot();
    snapshot.services[0].counters = None;
    let page = Parsed::new(&render(&snapshot));
    for name in [
        "syns_total",
        "cookies_total",
        "drops_total",
        "segments_total",
    ] {
        let samples = &page.samples[&format!("synward_{name}")];
        let of_service = |service: &str| {
            let samples = samples.iter();
            samples
                .filter(|(labels, _)| labels["service"] == service)
                .count()
        };
        assert_eq!(of_service("web"), 0, "{name}");
        assert!(of_service("mail") > 0, "{name}");
    }
}

#[test]
fn the_documentation_has_a_row_for_each() {
    let table = families();
    assert_eq!(table.lines().count(), METRICS.len() + 2);
    assert!(table.lines().all(|line| line.matches('|').count() == 4));
    assert!(table.contains("| `synward_cookies_total{service,result}` | counter | "));
}

#[test]
fn the_documentation_lists_every_metric() {
    let documented = include_str!("../../../../deploy/README.md");
    assert!(
        documented.contains(&markdown()),
        "deploy/README.md is out of date: put the output of `cargo run --example metrics_markdown` there"
    );
}
