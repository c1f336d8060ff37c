//! Prometheus' text format, version 0.0.4: families of samples, each below its HELP and TYPE lines.

use std::fmt::{Display, Write as _};

/// The media type of the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only increases, until the process restarts.
    Counter,
    /// Increases and decreases.
    Gauge,
    /// Counts observations by size.
    Histogram,
}

impl Kind {
    /// Its name in the format.
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A family of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name, with the prefix `synward_`.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// The names of its labels, in output order.
    pub labels: &'static [&'static str],
    /// Its description, one sentence.
    pub help: &'static str,
}

/// A page under construction.
#[derive(Debug, Default)]
pub(super) struct Page(String);

impl Page {
    /// Starts a family; its samples follow.
    pub(super) fn family(&mut self, metric: &Metric) -> Family<'_> {
        let Metric {
            name, kind, help, ..
        } = *metric;
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        self.put(format_args!(
            "# HELP {name} {help}\n# TYPE {name} {}\n",
            kind.word()
        ));
        Family {
            page: self,
            metric: *metric,
        }
    }

    pub(super) fn finish(self) -> String {
        self.0
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.0.write_fmt(text);
    }
}

/// Samples of one metric.
pub(super) struct Family<'a> {
    page: &'a mut Page,
    metric: Metric,
}

impl Family<'_> {
    /// A sample with the values of the metric's labels, in order.
    pub(super) fn sample(&mut self, labels: &[&dyn Display], value: impl Display) -> &mut Self {
        self.suffixed("", labels, None, value)
    }

    /// The samples of a histogram without labels: cumulative (upper bound, count), then the count and the sum of all.
    pub(super) fn histogram(
        &mut self,
        buckets: impl Iterator<Item = (f64, u64)>,
        count: u64,
        sum: f64,
    ) {
        for (bound, cumulative) in buckets {
            self.suffixed("_bucket", &[], Some(&bound), cumulative);
        }
        self.suffixed("_bucket", &[], Some(&"+Inf"), count)
            .suffixed("_sum", &[], None, sum)
            .suffixed("_count", &[], None, count);
    }

    fn suffixed(
        &mut self,
        suffix: &str,
        labels: &[&dyn Display],
        bound: Option<&dyn Display>,
        value: impl Display,
    ) -> &mut Self {
        debug_assert_eq!(labels.len(), self.metric.labels.len());
        let pairs: Vec<_> = self
            .metric
            .labels
            .iter()
            .copied()
            .zip(labels.iter().copied())
            .chain(bound.map(|bound| ("le", bound)))
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(&value.to_string())))
            .collect();
        let name = self.metric.name;
        if pairs.is_empty() {
            self.page.put(format_args!("{name}{suffix} {value}\n"));
        } else {
            let pairs = pairs.join(",");
            self.page
                .put(format_args!("{name}{suffix}{{{pairs}}} {value}\n"));
        }
        self
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_escaped() {
        let metric = Metric {
            name: "m",
            kind: Kind::Gauge,
            labels: &["a", "b"],
            help: "One\nor \\ two.",
        };
        let mut page = Page::default();
        page.family(&metric).sample(&[&"x\"\\\n", &7], 0.5);
        assert_eq!(
            page.finish(),
            "# HELP m One\\nor \\\\ two.\n# TYPE m gauge\nm{a=\"x\\\"\\\\\\n\",b=\"7\"} 0.5\n"
        );
    }
}
