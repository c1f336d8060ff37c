//! The metrics: what there is ([`METRICS`], in `metric_list`), and a [`Snapshot`] written as them ([`render`]).
//!
//! Labels name services, queues and reasons, never a client.

mod metric_list;

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use synward_core::counters::{Counter, MEANINGS, NAMES};

use crate::engine::Outcome;
use crate::lists::List;

pub use metric_list::METRICS;
use metric_list::*;

use super::counter_sums::Counters;
use super::interface_view::{Frames, QueueView, Responder, XskCounters};
use super::prometheus_text::Page;
pub use super::prometheus_text::{CONTENT_TYPE, Kind, Metric};
use super::snapshot::{ListSizes, ServiceView, Snapshot};

/// Reads a metric from the counters of a socket.
type SocketCounter = fn(&XskCounters) -> u64;

/// The metrics with one sample per socket.
const XSK: [(Metric, SocketCounter); 13] = [
    (RX_DROPPED, |xsk| xsk.kernel.rx_dropped),
    (RX_INVALID, |xsk| xsk.kernel.rx_invalid_descs),
    (TX_INVALID, |xsk| xsk.kernel.tx_invalid_descs),
    (RX_FULL, |xsk| xsk.kernel.rx_ring_full),
    (FILL_EMPTY, |xsk| xsk.kernel.rx_fill_ring_empty_descs),
    (TX_EMPTY, |xsk| xsk.kernel.tx_ring_empty_descs),
    (RECEIVED, |xsk| xsk.port.received),
    (TRANSMITTED, |xsk| xsk.port.transmitted),
    (DROPPED_FULL, |xsk| xsk.port.dropped_full),
    (DROPPED_LENGTH, |xsk| xsk.port.dropped_length),
    (REFUSED, |xsk| xsk.port.refused),
    (WAKEUPS, |xsk| xsk.port.wakeups),
    (FAILED_WAKEUPS, |xsk| xsk.port.failed_wakeups),
];

/// Counters with a metric of their own; all others belong to [`DROPS`] or [`SEGMENTS`].
const APART: [Counter; 9] = [
    Counter::WouldAnswer,
    Counter::StaleReset,
    Counter::Assigned,
    Counter::AssignRefused,
    Counter::Syn,
    Counter::AnsweredXdp,
    Counter::CookieValid,
    Counter::CookieInvalid,
    Counter::CookieExpired,
];

/// A snapshot in Prometheus' text format.
pub fn render(snapshot: &Snapshot) -> String {
    let mut page = Page::default();
    process(&mut page, snapshot);
    services(&mut page, snapshot);
    table_and_workers(&mut page, snapshot);
    queues(&mut page, snapshot);
    page.finish()
}

/// The Markdown tables of deploy/README.md: metrics, drop reasons and handoff results.
pub fn markdown() -> String {
    let reasons = NAMES.iter().zip(MEANINGS).filter_map(|(name, meaning)| {
        let reason = name.strip_prefix("drop_")?;
        Some((reason, *meaning))
    });
    let results = Outcome::ALL
        .iter()
        .map(|outcome| (outcome.name(), outcome.meaning()));
    let mut text = families();
    text += "\n| `reason` of `synward_drops_total` | meaning |\n|---|---|\n";
    text += &rows(reasons);
    text += "\n| `result` of `synward_handoffs_total` | meaning |\n|---|---|\n";
    text += &rows(results);
    text
}

fn rows<'a>(named: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    named
        .map(|(name, meaning)| format!("| `{name}` | {} |\n", meaning.trim()))
        .collect()
}

fn families() -> String {
    let mut table = String::from("| metric | type | meaning |\n|---|---|---|\n");
    for metric in METRICS {
        let labels = match metric.labels {
            [] => String::new(),
            labels => format!("{{{}}}", labels.join(",")),
        };
        let (name, kind, help) = (metric.name, metric.kind.word(), metric.help);
        // Writing to a String cannot fail.
        let _ = writeln!(table, "| `{name}{labels}` | {kind} | {help} |");
    }
    table
}

fn process(page: &mut Page, snapshot: &Snapshot) {
    page.family(&BUILD_INFO).sample(&[&snapshot.version], 1);
    page.family(&UPTIME).sample(&[], snapshot.uptime_seconds);
    page.family(&DRAINING)
        .sample(&[], u8::from(snapshot.drain.is_some()));
    page.family(&SERVING)
        .sample(&[], u8::from(snapshot.serving));
    page.family(&DEGRADED_REASONS)
        .sample(&[], snapshot.degraded_reasons().len());
    page.family(&RELOADED)
        .sample(&[], u8::from(snapshot.config_last_reload_successful));
    page.family(&RELOADED_AT)
        .sample(&[], snapshot.config_last_reload_success_timestamp_seconds);
}

fn services(page: &mut Page, snapshot: &Snapshot) {
    let services = &snapshot.services;
    let mut syns = page.family(&SYNS);
    for (service, counters) in with_counters(services) {
        syns.sample(&[&service.name], counters.value(Counter::Syn));
    }

    let mut answers = page.family(&ANSWERS);
    for service in services {
        if let Some(counters) = service.counters {
            let by_xdp = counters.value(Counter::AnsweredXdp);
            answers.sample(&[&service.name, &Responder::Xdp.word()], by_xdp);
        }
        answers.sample(
            &[&service.name, &Responder::Afxdp.word()],
            service.answered_afxdp,
        );
    }

    let mut cookies = page.family(&COOKIES);
    for (service, counters) in with_counters(services) {
        let by_xdp = counters.value(Counter::AnsweredXdp);
        for (result, count) in [
            ("sent", by_xdp + service.answered_afxdp),
            ("valid", counters.value(Counter::CookieValid)),
            ("invalid", counters.value(Counter::CookieInvalid)),
            ("expired", counters.value(Counter::CookieExpired)),
        ] {
            cookies.sample(&[&service.name, &result], count);
        }
    }

    let mut handoffs = page.family(&HANDOFFS);
    for service in services {
        for (result, count) in &service.handoffs {
            handoffs.sample(&[&service.name, &service.handoff, result], count);
        }
    }

    let times = &snapshot.handoff_seconds;
    let buckets = times
        .cumulative()
        .map(|(bound, count)| (bound.as_secs_f64(), count));
    page.family(&HANDOFF_SECONDS)
        .histogram(buckets, times.count, times.sum_seconds);

    let mut drops = page.family(&DROPS);
    for (service, counters) in with_counters(services) {
        for (reason, count) in counters.drops() {
            drops.sample(&[&service.name, &reason], count);
        }
    }

    let mut segments = page.family(&SEGMENTS);
    for (service, counters) in with_counters(services) {
        for (fate, count) in counters.iter().filter(|(name, _)| is_fate(name)) {
            segments.sample(&[&service.name, &fate], count);
        }
    }

    sample_each_service(page, &ACTIVE, services, |service| u64::from(service.active));
    sample_each_service(page, &ATTACK, services, |service| {
        u64::from(service.attack.active)
    });
    sample_each_service(page, &ATTACKS, services, |service| service.attack.total);
    sample_each_service(page, &SYN_RATE, services, |service| service.attack.syn_rate);
    sample_each_service(page, &ATTACK_RATE, services, |service| {
        service.attack.activate_syn_rate
    });
    sample_each_service(page, &UNANSWERED, services, |service| {
        service.attack.unanswered_syns
    });
    let mut would_answer = page.family(&WOULD_ANSWER);
    for (service, counters) in with_counters(services) {
        let syns = counters.value(Counter::WouldAnswer);
        would_answer.sample(&[&service.name], syns);
    }
    let mut would_drop = page.family(&WOULD_DROP);
    for (service, counters) in with_counters(services) {
        for (reason, count) in counters.would_drops() {
            would_drop.sample(&[&service.name, &reason], count);
        }
    }
    sample_each_service(page, &FLOWS, services, |service| service.flows);
    sample_each_service(page, &OPENINGS, services, |service| service.openings);
    let mut listed = page.family(&LISTED);
    for service in services {
        let ListSizes { allow, deny } = service.listed;
        listed.sample(&[&service.name, &List::Allow.word()], allow);
        listed.sample(&[&service.name, &List::Deny.word()], deny);
    }
    sample_each_service(page, &HELD, services, |service| service.held_bytes);
}

/// The services whose counters could be read. The others have no samples: Prometheus would take a 0 for a reset.
fn with_counters(services: &[ServiceView]) -> impl Iterator<Item = (&ServiceView, &Counters)> {
    services
        .iter()
        .filter_map(|service| Some((service, service.counters.as_ref()?)))
}

fn is_fate(name: &str) -> bool {
    let apart = APART.map(|counter| NAMES[counter as usize]);
    !name.starts_with("drop_") && !name.starts_with("would_drop_") && !apart.contains(&name)
}

fn table_and_workers(page: &mut Page, snapshot: &Snapshot) {
    let flows = &snapshot.flows;
    page.family(&TABLE_CAPACITY).sample(&[], flows.capacity);
    page.family(&TABLE_USED).sample(&[], flows.used);
    page.family(&TABLE_EXPIRED).sample(&[], flows.expired_total);
    page.family(&TABLE_FULL).sample(&[], flows.full_total);

    // Several workers may share a core, but a sample must be unique.
    let mut busy = BTreeMap::new();
    for worker in &snapshot.workers {
        *busy.entry(worker.core).or_insert(0.0) += worker.busy_ratio;
    }
    let mut family = page.family(&WORKER_BUSY);
    for (core, ratio) in busy {
        match core {
            Some(core) => family.sample(&[&core], ratio),
            None => family.sample(&[&"any"], ratio),
        };
    }
    let mut family = page.family(&WORKER_ALIVE);
    for worker in &snapshot.workers {
        family.sample(&[&worker.queue], u8::from(worker.alive));
    }
    let mut family = page.family(&WORKER_UNREADABLE);
    for worker in &snapshot.workers {
        family.sample(&[&worker.queue], worker.unreadable_total);
    }
    let mut family = page.family(&WORKER_UNSENT);
    for worker in &snapshot.workers {
        family.sample(&[&worker.queue], worker.unsent_total);
    }
}

fn queues(page: &mut Page, snapshot: &Snapshot) {
    let mut native = page.family(&NATIVE);
    for interface in &snapshot.interfaces {
        native.sample(&[&interface.name], u8::from(interface.native));
    }
    let mut dropped = page.family(&NIC_DROPPED);
    for interface in &snapshot.interfaces {
        for (counter, frames) in &interface.nic_dropped {
            dropped.sample(&[&interface.name, counter], frames);
        }
    }
    let mut failed = page.family(&REDIRECT_FAILED);
    for interface in &snapshot.interfaces {
        for (errno, frames) in &interface.redirect_failed {
            failed.sample(&[&interface.name, errno], frames);
        }
    }
    let mut responder = page.family(&RESPONDER);
    for (interface, queue) in all_queues(snapshot) {
        let afxdp = queue.responder == Responder::Afxdp;
        responder.sample(&[interface, &queue.queue], u8::from(afxdp));
    }
    let mut zero_copy = page.family(&ZERO_COPY);
    for (interface, queue) in all_queues(snapshot) {
        if let Some(on) = queue.zero_copy {
            zero_copy.sample(&[interface, &queue.queue], u8::from(on));
        }
    }
    let mut frames = page.family(&FRAMES);
    for (interface, queue) in sockets(snapshot) {
        let Frames {
            free,
            fill,
            held,
            transmit,
        } = queue.frames;
        for (place, count) in [
            ("free", free),
            ("fill", fill),
            ("held", held),
            ("transmit", transmit),
        ] {
            frames.sample(&[interface, &queue.queue, &place], count);
        }
    }
    for (metric, of) in &XSK {
        let mut family = page.family(metric);
        for (interface, queue) in sockets(snapshot) {
            family.sample(&[interface, &queue.queue], of(&queue.counters));
        }
    }
}

/// Adds a metric with one sample per service.
fn sample_each_service(
    page: &mut Page,
    metric: &Metric,
    services: &[ServiceView],
    of: impl Fn(&ServiceView) -> u64,
) {
    let mut family = page.family(metric);
    for service in services {
        family.sample(&[&service.name], of(service));
    }
}

fn all_queues(snapshot: &Snapshot) -> impl Iterator<Item = (&dyn Display, &QueueView)> {
    snapshot.interfaces.iter().flat_map(|interface| {
        let queues = interface.queues.iter();
        queues.map(|queue| (&interface.name as &dyn Display, queue))
    })
}

fn sockets(snapshot: &Snapshot) -> impl Iterator<Item = (&dyn Display, &QueueView)> {
    all_queues(snapshot).filter(|(_, queue)| queue.zero_copy.is_some())
}

#[cfg(test)]
mod tests;
