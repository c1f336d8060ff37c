//! Results of the connections.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use thiserror::Error;

use super::connection_report::{Percentiles, Report};

/// Linux retransmits a SYN after one second; a connection that took nearly as long needed that.
const SYN_RETRY: Duration = Duration::from_millis(900);
/// Greatest time of the histograms, in nanoseconds, with three significant digits.
const LONGEST: u64 = 3_600_000_000_000;
const DIGITS: u8 = 3;

/// Why a connection failed. Failures are counted by this text.
#[derive(Debug, Error)]
pub(super) enum Failure {
    /// Not established.
    #[error("connect: {}", errno(.0))]
    Connect(io::Error),
    /// Established, but the request could not be sent or no answer could be read.
    #[error("answer: {}", errno(.0))]
    Answer(io::Error),
    /// Established, and ended by the server before it answered.
    #[error("answer: ended without one")]
    NoAnswer,
    /// Not established within the patience.
    #[error("connect: given up")]
    GaveUpConnecting,
    /// Established, but no answer within the patience.
    #[error("answer: given up")]
    GaveUpWaiting,
    /// Due, but this machine was too slow to begin it.
    #[error("never begun")]
    NeverBegun,
}

/// Times of successful connections, and the number of failed ones by reason.
pub(super) struct Record {
    attempted: u64,
    syn_retries: u64,
    failures: BTreeMap<String, u64>,
    lag: Histogram<u64>,
    connected: Histogram<u64>,
    answered: Histogram<u64>,
}

impl Record {
    pub(super) fn new() -> Result<Self> {
        let histogram = || Histogram::new_with_bounds(1, LONGEST, DIGITS);
        Ok(Self {
            attempted: 0,
            syn_retries: 0,
            failures: BTreeMap::new(),
            lag: histogram()?,
            connected: histogram()?,
            answered: histogram()?,
        })
    }

    /// Records a connection that began `lag` after it was due.
    pub(super) fn begun(&mut self, lag: Duration) {
        self.attempted += 1;
        note(&mut self.lag, lag);
    }

    /// Records an established connection: time since it was due, and since its first SYN.
    pub(super) fn connected(&mut self, since_intended: Duration, since_syn: Duration) {
        note(&mut self.connected, since_intended);
        self.syn_retries += u64::from(since_syn >= SYN_RETRY);
    }

    /// Records the first byte of an answer: time since the connection was due.
    pub(super) fn answered(&mut self, since_intended: Duration) {
        note(&mut self.answered, since_intended);
    }

    /// Records `count` connections that failed for this reason.
    pub(super) fn failed(&mut self, failure: &Failure, count: u64) {
        if count > 0 {
            *self.failures.entry(failure.to_string()).or_default() += count;
        }
    }

    /// The report of a run that took `time`.
    pub(super) fn report(self, time: Duration) -> Report {
        let never_begun = self.failures.get(&Failure::NeverBegun.to_string());
        let succeeded = match self.answered.len() {
            0 => self.connected.len(),
            answered => answered,
        };
        Report {
            attempted: self.attempted + never_begun.copied().unwrap_or(0),
            established: self.connected.len(),
            answered: self.answered.len(),
            syn_retries: self.syn_retries,
            failures: self.failures,
            seconds: time.as_secs_f64(),
            per_second: succeeded as f64 / time.as_secs_f64().max(f64::MIN_POSITIVE),
            begun_late: percentiles(&self.lag),
            until_connected: percentiles(&self.connected),
            until_answered: percentiles(&self.answered),
        }
    }
}

fn note(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(LONGEST));
}

fn percentiles(histogram: &Histogram<u64>) -> Option<Percentiles> {
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    (!histogram.is_empty()).then(|| Percentiles {
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        max: histogram.max() as f64 / 1000.0,
    })
}

/// The error's symbol, if it is one that connections get.
fn errno(error: &io::Error) -> String {
    let Some(number) = error.raw_os_error() else {
        return error.to_string();
    };
    let symbol = match number {
        libc::EACCES => "EACCES",
        libc::EADDRINUSE => "EADDRINUSE",
        libc::EADDRNOTAVAIL => "EADDRNOTAVAIL",
        libc::EAGAIN => "EAGAIN",
        libc::ECONNABORTED => "ECONNABORTED",
        libc::ECONNREFUSED => "ECONNREFUSED",
        libc::ECONNRESET => "ECONNRESET",
        libc::EHOSTUNREACH => "EHOSTUNREACH",
        libc::EMFILE => "EMFILE",
        libc::ENETDOWN => "ENETDOWN",
        libc::ENETUNREACH => "ENETUNREACH",
        libc::ENFILE => "ENFILE",
        libc::ENOBUFS => "ENOBUFS",
        libc::ENOMEM => "ENOMEM",
        libc::EPERM => "EPERM",
        libc::EPIPE => "EPIPE",
        libc::EPROTO => "EPROTO",
        libc::ETIMEDOUT => "ETIMEDOUT",
        _ => return format!("errno {number}"),
    };
    symbol.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::schedule::{Pace, Schedule};
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    /// Every connection takes 1 ms, but for 100 ms of 1000 nothing moves.
    #[test]
    fn a_stall_counts_for_every_connection_that_it_delayed() {
        let mut schedule = Schedule::new(Pace::PerSecond(1000), 1000, Duration::MAX);
        let mut record = Record::new().unwrap();
        for millisecond in (0..500).chain(600..1000) {
            let now = MS(millisecond);
            while let Some(intended) = schedule.take(now, 0) {
                record.begun(now - intended);
                record.connected(now + MS(1) - intended, MS(1));
            }
        }
        let report = record.report(Duration::from_secs(1));
        let until = report.until_connected.unwrap();
        assert_eq!(report.established, 1000);
        assert!((until.p50 - 1000.0).abs() < 1.0, "{until:?}");
        // 101 of them waited 1 to 101 ms: measured from their SYN, all would have taken 1 ms.
        assert!((until.p99 - 91_000.0).abs() < 1000.0, "{until:?}");
        assert!((until.max - 101_000.0).abs() < 101.0, "{until:?}");
        assert!((report.begun_late.unwrap().max - 100_000.0).abs() < 101.0);
    }

    #[test]
    fn a_retried_syn_is_told_by_its_time() {
        let mut record = Record::new().unwrap();
        record.connected(MS(899), MS(899));
        record.connected(MS(1001), MS(1001));
        // Late, but not for want of an answer.
        record.connected(MS(1500), MS(2));
        assert_eq!(record.report(MS(1)).syn_retries, 1);
    }

    #[test]
    fn failures_are_counted_by_reason() {
        let mut record = Record::new().unwrap();
        let error = io::Error::from_raw_os_error;
        for failure in [
            Failure::Connect(error(libc::ECONNREFUSED)),
            Failure::Connect(error(libc::ECONNREFUSED)),
            Failure::Answer(error(libc::ECONNRESET)),
            Failure::GaveUpConnecting,
            Failure::Connect(error(4095)),
        ] {
            record.begun(MS(0));
            record.failed(&failure, 1);
        }
        record.failed(&Failure::NeverBegun, 3);
        record.failed(&Failure::NoAnswer, 0);
        let report = record.report(MS(1));
        let failures: Vec<_> = report
            .failures
            .iter()
            .map(|(why, count)| (&**why, *count))
            .collect();
        assert_eq!(
            failures,
            [
                ("answer: ECONNRESET", 1),
                ("connect: ECONNREFUSED", 2),
                ("connect: errno 4095", 1),
                ("connect: given up", 1),
                ("never begun", 3),
            ]
        );
        assert_eq!(report.attempted, 8);
        assert!(report.until_connected.is_none());
    }
}
