//! What changed between two snapshots of one process, per second.

use synward_core::counters::Counter;

use crate::observe::{Counters, Histogram, InterfaceView, ServiceView, Snapshot};

/// The changes between two snapshots, per second of the process's own time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rates {
    /// Seconds between the two.
    pub(super) seconds: f64,
    /// For each service of the later snapshot; `None` = new, or its counters could not be read.
    pub(super) services: Vec<Option<ServiceRates>>,
    /// Lost frames of each interface of the later snapshot.
    pub(super) lost: Vec<f64>,
    /// The handoffs between the two.
    pub(super) handoffs: Histogram,
}

/// The changes of one service, per second.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ServiceRates {
    /// SYNs.
    pub(super) syns: f64,
    /// SYN-ACKs that the XDP program sent.
    pub(super) answered_xdp: f64,
    /// SYN-ACKs that workers sent.
    pub(super) answered_afxdp: f64,
    /// ACKs with a valid cookie.
    pub(super) proven: f64,
    /// ACKs with an invalid cookie.
    pub(super) invalid: f64,
    /// Drops by reason, the most first, without those that did not happen.
    pub(super) drops: Vec<(&'static str, f64)>,
    /// Handoffs by result, the most first, without those that did not happen.
    pub(super) handoffs: Vec<(String, f64)>,
}

impl ServiceRates {
    /// SYN-ACKs.
    pub(super) fn answers(&self) -> f64 {
        self.answered_xdp + self.answered_afxdp
    }

    /// Drops of every reason.
    pub(super) fn dropped(&self) -> f64 {
        self.drops.iter().fold(0.0, |sum, (_, rate)| sum + rate)
    }

    fn between(old: &ServiceView, new: &ServiceView, seconds: f64) -> Option<Self> {
        let (was, is) = (old.counters?, new.counters?);
        let per_second = |was, is| per_second(was, is, seconds);
        let rate = |counter: Counter| per_second(was.value(counter), is.value(counter));
        let handoffs = new.handoffs.iter().map(|(result, count)| {
            let before = old.handoffs.get(result).copied().unwrap_or_default();
            (result.clone(), per_second(before, *count))
        });
        Some(Self {
            syns: rate(Counter::Syn),
            answered_xdp: rate(Counter::AnsweredXdp),
            answered_afxdp: per_second(old.answered_afxdp, new.answered_afxdp),
            proven: rate(Counter::CookieValid),
            invalid: rate(Counter::CookieInvalid),
            drops: most_first(drop_rates(&was, &is, seconds)),
            handoffs: most_first(handoffs),
        })
    }
}

impl Rates {
    /// `None` if the snapshots are of two processes, or not in order.
    pub(super) fn between(old: &Snapshot, new: &Snapshot) -> Option<Self> {
        let seconds = new.uptime_seconds - old.uptime_seconds;
        if old.pid != new.pid || seconds.is_nan() || seconds <= 0.0 {
            return None;
        }
        let service = |new: &ServiceView| {
            let old = old.services.iter().find(|old| old.name == new.name)?;
            ServiceRates::between(old, new, seconds)
        };
        let lost = |new: &InterfaceView| {
            let old = old.interfaces.iter().find(|old| old.name == new.name);
            old.map_or(0.0, |old| {
                per_second(lost_frames(old), lost_frames(new), seconds)
            })
        };
        Some(Self {
            seconds,
            services: new.services.iter().map(service).collect(),
            lost: new.interfaces.iter().map(lost).collect(),
            handoffs: difference(&old.handoff_seconds, &new.handoff_seconds),
        })
    }
}

/// The rate of a counter. A counter that went back was reset: 0.
fn per_second(was: u64, is: u64, seconds: f64) -> f64 {
    is.saturating_sub(was) as f64 / seconds
}

fn drop_rates(
    was: &Counters,
    is: &Counters,
    seconds: f64,
) -> impl Iterator<Item = (&'static str, f64)> {
    let pairs = was.drops().zip(is.drops());
    pairs.map(move |((reason, was), (_, is))| (reason, per_second(was, is, seconds)))
}

fn most_first<T>(rates: impl Iterator<Item = (T, f64)>) -> Vec<(T, f64)> {
    let mut rates: Vec<_> = rates.filter(|(_, rate)| *rate > 0.0).collect();
    rates.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    rates
}

/// Frames that sockets, the driver or a transmission lost.
fn lost_frames(interface: &InterfaceView) -> u64 {
    let sockets = interface.queues.iter().map(|queue| queue.counters.lost());
    let driver = interface.nic_dropped.values().copied();
    let transmission = interface.redirect_failed.values().copied();
    sockets.chain(driver).chain(transmission).sum()
}

fn difference(old: &Histogram, new: &Histogram) -> Histogram {
    let mut change = *new;
    for (count, before) in change.buckets.iter_mut().zip(old.buckets) {
        *count = count.saturating_sub(before);
    }
    change.count = new.count.saturating_sub(old.count);
    change.sum_seconds = (new.sum_seconds - old.sum_seconds).max(0.0);
    change
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::observe::sample_snapshot;
    use std::time::Duration;

    /// The sample, two seconds later.
    fn later() -> Snapshot {
        let mut new = sample_snapshot::snapshot();
        new.uptime_seconds += 2.0;
        new
    }

    fn set(service: &mut ServiceView, counter: Counter, more: u64) {
        let counters = service.counters.as_mut().unwrap();
        counters.set(counter, counters.value(counter) + more);
    }

    #[test]
    fn counters_become_rates() {
        let (old, mut new) = (sample_snapshot::snapshot(), later());
        let web = &mut new.services[0];
        set(web, Counter::Syn, 300);
        set(web, Counter::AnsweredXdp, 200);
        set(web, Counter::CookieValid, 10);
        set(web, Counter::DropFragment, 4);
        set(web, Counter::DropInvalidCookie, 6);
        web.answered_afxdp += 100;
        *web.handoffs.get_mut("ok").unwrap() += 8;
        new.interfaces[0].queues[0].counters.kernel.rx_ring_full += 5;
        *new.interfaces[0].nic_dropped.get_mut("rx_dropped").unwrap() += 7;
        new.handoff_seconds.observe(Duration::from_millis(3));
        let rates = Rates::between(&old, &new).unwrap();
        let web = rates.services[0].as_ref().unwrap();
        assert_eq!((web.syns, web.proven, web.answers()), (150.0, 5.0, 150.0));
        assert_eq!((web.answered_xdp, web.answered_afxdp), (100.0, 50.0));
        assert_eq!(web.drops, [("invalid_cookie", 3.0), ("fragment", 2.0)]);
        assert_eq!(web.dropped(), 5.0);
        assert_eq!(web.handoffs, [("ok".to_owned(), 4.0)]);
        assert_eq!(rates.services[1], Some(ServiceRates::default()));
        assert_eq!(rates.lost, [6.0, 0.0]);
        assert_eq!(rates.handoffs.count, 1);
        assert_eq!(rates.handoffs.within(0.5), Some(Duration::from_millis(5)));
    }

    #[test]
    fn two_processes_have_no_rates() {
        let (old, mut new) = (sample_snapshot::snapshot(), later());
        assert!(Rates::between(&new, &old).is_none());
        assert!(Rates::between(&old, &old).is_none());
        new.pid += 1;
        assert!(Rates::between(&old, &new).is_none());
    }

    #[test]
    fn a_service_is_found_by_its_name() {
        let (old, mut new) = (sample_snapshot::snapshot(), later());
        new.services.swap(0, 1);
        set(&mut new.services[1], Counter::Syn, 2);
        new.services[0].name = "new".into();
        let rates = Rates::between(&old, &new).unwrap();
        assert_eq!(rates.services[0], None);
        assert_eq!(rates.services[1].as_ref().unwrap().syns, 1.0);
        new.services[1].counters = None;
        assert_eq!(Rates::between(&old, &new).unwrap().services[1], None);
    }

    #[test]
    fn a_counter_that_was_reset_has_no_rate() {
        let (mut old, new) = (sample_snapshot::snapshot(), later());
        set(&mut old.services[0], Counter::Syn, 1_000);
        let rates = Rates::between(&old, &new).unwrap();
        assert_eq!(rates.services[0].as_ref().unwrap().syns, 0.0);
    }
}
