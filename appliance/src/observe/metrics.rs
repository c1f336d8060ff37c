//! The metrics: what there is ([`METRICS`]), and a [`Snapshot`] written as them ([`render`]).
//!
//! Labels name services, queues and reasons, never a client.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use synward_core::counters::{Counter, MEANINGS, NAMES};

use crate::engine::Outcome;
use crate::lists::List;

use super::counter_sums::Counters;
use super::interface_view::{Frames, QueueView, Responder, XskCounters};
use super::prometheus_text::Page;
pub use super::prometheus_text::{CONTENT_TYPE, Kind, Metric};
use super::snapshot::{ListSizes, ServiceView, Snapshot};

/// Declares the metrics and their list.
macro_rules! metrics {
    ($($id:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)+) => {
        $(const $id: Metric = Metric {
            name: concat!("synward_", $name),
            kind: Kind::$kind,
            labels: &[$($label),*],
            help: $help,
        };)+

        /// Every metric, in the order in which they are written.
        pub const METRICS: &[Metric] = &[$($id),+];
    };
}

metrics! {
    BUILD_INFO = Gauge "build_info" ["version"] "Always 1; the label is the version.";
    UPTIME = Gauge "uptime_seconds" [] "Seconds since the process started.";
    DRAINING = Gauge "draining" [] "1 while the appliance drains: no new connections, and it ends when there are none left.";
    SERVING = Gauge "serving" [] "1 while packets are steered.";
    DEGRADED_REASONS = Gauge "complaints" [] "Number of reasons why the appliance is degraded; `synward status` lists them.";
    RELOADED = Gauge "config_last_reload_successful" [] "0 if the last reload was refused; the previous configuration is then still in force.";
    RELOADED_AT = Gauge "config_last_reload_success_timestamp_seconds" [] "When a reload last took effect, or the process started: seconds since 1970.";

    SYNS = Counter "syns_total" ["service"] "SYNs from clients.";
    ANSWERS = Counter "answers_total" ["service", "by"] "SYN-ACKs sent, by the XDP program or by workers over AF_XDP.";
    COOKIES = Counter "cookies_total" ["service", "result"] "Cookies sent, and cookies in ACKs that match no flow: valid, invalid (not issued by synward) or expired.";
    HANDOFFS = Counter "handoffs_total" ["service", "handoff", "result"] "Validated clients by the result of their handoff.";
    HANDOFF_SECONDS = Histogram "handoff_seconds" [] "Seconds from a valid cookie to the server's answer.";
    DROPS = Counter "drops_total" ["service", "reason"] "Segments dropped by the eBPF programs.";
    SEGMENTS = Counter "segments_total" ["service", "fate"] "Segments by what else the XDP program did with them: translated to_server or to_client, passed to the kernel, forwarded to or from another machine's kernel, given_to_worker, waiting for a worker or the next process (ACKs with a valid cookie), learned from, icmp_translated, SYNs with small_mss that were answered with a larger one, answered with reset.";
    ACTIVE = Gauge "service_active" ["service"] "1 while SYNs are challenged.";
    ATTACK = Gauge "attack_active" ["service"] "1 while the service or one of its addresses is under attack; with mode auto it challenges the clients there then.";
    ATTACKS = Counter "attacks_total" ["service"] "Attacks since the start.";
    SYN_RATE = Gauge "syns_per_second" ["service"] "SYNs a second, over the last half second.";
    ATTACK_RATE = Gauge "attack_syns_per_second" ["service"] "SYNs a second from which on the service is under attack: activate_syn_rate, or what follows from its normal rate.";
    UNANSWERED = Counter "attack_syns_passed_total" ["service"] "SYNs of attacks during which the service challenged nobody (mode monitor): mode auto would have answered them.";
    WOULD_ANSWER = Counter "would_answer_total" ["service"] "SYNs that mode monitor let pass and mode always would have answered.";
    WOULD_DROP = Counter "would_drop_total" ["service", "reason"] "Segments that mode monitor let pass and mode always would have dropped, by reason (as of synward_drops_total).";
    FLOWS = Gauge "flows" ["service"] "Spliced flows, including closing ones and openings; counted every few seconds.";
    OPENINGS = Gauge "openings" ["service"] "Validated clients whose server has not answered yet.";
    LISTED = Gauge "list_prefixes" ["service", "list"] "Prefixes on the allow-list and the deny-list: of the configuration, its files and the run time.";
    HELD = Gauge "held_bytes" ["service"] "Bytes of client data buffered until the server answers.";

    TABLE_CAPACITY = Gauge "flow_table_capacity" [] "Number of entries of the flow table.";
    TABLE_USED = Gauge "flow_table_used" [] "Entries in use, openings included.";
    TABLE_EXPIRED = Counter "flow_table_expired_total" [] "Flows removed after the timeout of closed or idle flows.";
    TABLE_FULL = Counter "flow_table_full_total" [] "Handoffs refused because the flow table was full.";

    WORKER_BUSY = Gauge "worker_busy_ratio" ["core"] "Share of a core's time that its workers were not waiting; core \"any\": not pinned.";
    WORKER_ALIVE = Gauge "worker_alive" ["queue"] "1 if the heartbeat of this queue's worker is recent.";
    WORKER_UNREADABLE = Counter "worker_unreadable_total" ["queue"] "Frames that the worker received without a request that it can parse; always 0.";
    WORKER_UNSENT = Counter "worker_unsent_total" ["queue"] "Packets of the worker that neither a socket nor the kernel accepted.";

    NATIVE = Gauge "interface_native" ["interface"] "1 if the XDP program runs in the driver, 0 in the kernel's generic path.";
    NIC_DROPPED = Counter "nic_dropped_total" ["interface", "counter"] "Frames that the driver lost, by its counter: those of ip -s link, and those of ethtool -S that are not 0. With some drivers they contain what XDP dropped.";
    REDIRECT_FAILED = Counter "redirect_failed_total" ["interface", "errno"] "Frames of XDP that the interface did not transmit, by errno; none: the driver gave no errno; exception: dropped after the verdict, by the driver or another XDP program.";
    RESPONDER = Gauge "queue_afxdp" ["interface", "queue"] "1 if a worker answers SYNs on this queue, 0 if the XDP program does.";
    ZERO_COPY = Gauge "xsk_zero_copy" ["interface", "queue"] "1 if the AF_XDP socket of this queue has zero-copy.";
    FRAMES = Gauge "xsk_frames" ["interface", "queue", "place"] "Frames of the socket's UMEM by place: free, fill (fill ring), held (by the worker), transmit.";
    RX_DROPPED = Counter "xsk_rx_dropped_total" ["interface", "queue"] "Packets that the kernel dropped, mostly because they exceed a frame.";
    RX_INVALID = Counter "xsk_rx_invalid_descs_total" ["interface", "queue"] "Descriptors in the fill ring that the kernel refused; always 0.";
    TX_INVALID = Counter "xsk_tx_invalid_descs_total" ["interface", "queue"] "Descriptors in the TX ring that the kernel refused; always 0.";
    RX_FULL = Counter "xsk_rx_ring_full_total" ["interface", "queue"] "Packets dropped because the RX ring was full.";
    FILL_EMPTY = Counter "xsk_rx_fill_ring_empty_descs_total" ["interface", "queue"] "Packets that arrived while the fill ring was empty.";
    TX_EMPTY = Counter "xsk_tx_ring_empty_descs_total" ["interface", "queue"] "Times that the kernel found the TX ring empty; harmless.";
    RECEIVED = Counter "xsk_received_total" ["interface", "queue"] "Frames that the worker received.";
    TRANSMITTED = Counter "xsk_transmitted_total" ["interface", "queue"] "Frames that the kernel reported as sent.";
    DROPPED_FULL = Counter "xsk_dropped_full_total" ["interface", "queue"] "Frames that the worker dropped because the TX ring was full.";
    DROPPED_LENGTH = Counter "xsk_dropped_length_total" ["interface", "queue"] "Frames that the worker dropped because of their length; always 0.";
    REFUSED = Counter "xsk_refused_total" ["interface", "queue"] "Descriptors from the kernel for frames that it did not own; if not 0, the driver is broken.";
    WAKEUPS = Counter "xsk_wakeups_total" ["interface", "queue"] "System calls that woke the kernel.";
    FAILED_WAKEUPS = Counter "xsk_failed_wakeups_total" ["interface", "queue"] "Wakeups that failed permanently.";
}

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
