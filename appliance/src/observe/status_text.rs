//! Formats snapshots and flows for a terminal.

use super::counter_sums::Counters;
use super::flow_view::{FlowList, FlowState, FlowView};
use super::interface_view::{InterfaceView, QueueView};
use super::number_format::{
    format_count, format_latency, format_percent, format_span, format_thousands,
};
use super::snapshot::{ListSizes, ServiceView, Snapshot, WorkerView};
use super::status_attacks;
use super::text_columns::Align::{Left, Right};
use super::text_columns::TextColumns;

/// Reasons of a refused reload that are shown.
const REASONS: usize = 5;

/// The output of `synward status`.
pub(super) fn status(snapshot: &Snapshot) -> String {
    let parts = [
        head(snapshot),
        services(&snapshot.services),
        details(&snapshot.services),
        handoffs(snapshot),
        status_attacks::events(snapshot),
        interfaces(&snapshot.interfaces),
        workers(&snapshot.workers),
    ];
    let shown: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    shown.join("\n")
}

/// The output of `synward flows`.
pub(super) fn flows(list: &FlowList) -> String {
    if list.flows.is_empty() {
        return "no flows\n".into();
    }
    let mut table = TextColumns::new([
        ("client", Left),
        ("server", Left),
        ("service", Left),
        ("state", Left),
        ("idle", Right),
    ]);
    for flow in &list.flows {
        table.row([
            flow.client.to_string(),
            flow.server.to_string(),
            flow.service.clone(),
            state(flow),
            format_span(flow.idle_seconds),
        ]);
    }
    table.text()
}

/// A note if the list is truncated, else empty.
pub(super) fn truncated(list: &FlowList) -> String {
    let shown = list.flows.len() as u64;
    if shown >= list.total {
        return String::new();
    }
    let (shown, total) = (format_thousands(shown), format_thousands(list.total));
    format!("synward: {shown} of {total} flows; more with --limit\n")
}

fn state(flow: &FlowView) -> String {
    match (flow.state, flow.worker) {
        (FlowState::Opening, Some(worker)) => format!("opening at worker {worker}"),
        (state, _) => state.word().into(),
    }
}

fn head(snapshot: &Snapshot) -> String {
    let degraded_reasons = snapshot.degraded_reasons();
    let state = match (&snapshot.drain, degraded_reasons.is_empty()) {
        (Some(_), _) => "draining",
        (None, true) => "serving",
        (None, false) => "degraded",
    };
    let (version, pid) = (&snapshot.version, snapshot.pid);
    let up = format_span(snapshot.uptime_seconds);
    let file = snapshot.config_file.display();
    let mut text = format!("synward {version} {state}, up {up}, pid {pid}, {file}\n");
    for reason in degraded_reasons {
        text += &format!("  degraded: {reason}\n");
    }
    if let Some(drain) = &snapshot.drain {
        text += &format!("  {}\n", drain.reason());
    }
    for note in &snapshot.notes {
        text += &format!("  note: {note}\n");
    }
    if !snapshot.config_last_reload_successful {
        text += "  the last reload was refused; the previous configuration is in force\n";
        let reasons = &snapshot.config_last_reload;
        for reason in reasons.iter().take(REASONS) {
            text += &format!("    {reason}\n");
        }
        if let Some(more) = reasons.len().checked_sub(REASONS).filter(|more| *more > 0) {
            text += &format!("    and {more} more: `synward reload` lists them\n");
        }
    }
    text
}

fn services(services: &[ServiceView]) -> String {
    let mut table = TextColumns::new([
        ("service", Left),
        ("mode", Left),
        ("handoff", Left),
        ("SYNs", Right),
        ("answered", Right),
        ("valid", Right),
        ("invalid", Right),
        ("expired", Right),
        ("dropped", Right),
        ("flows", Right),
        ("openings", Right),
    ]);
    for service in services {
        use synward_core::counters::Counter;
        let unless_unread = |count: Option<u64>| count.map_or("-".into(), format_thousands);
        let counter =
            |counter| unless_unread(service.counters.map(|counters| counters.value(counter)));
        let drops = service
            .counters
            .map(|counters| counters.drops().map(|(_, count)| count).sum());
        table.row([
            service.name.clone(),
            mode(service),
            service.handoff.clone(),
            counter(Counter::Syn),
            unless_unread(service.answered()),
            counter(Counter::CookieValid),
            counter(Counter::CookieInvalid),
            counter(Counter::CookieExpired),
            unless_unread(drops),
            format_thousands(service.flows),
            format_thousands(service.openings),
        ]);
    }
    table.text()
}

/// The mode. For `auto` also whether SYNs are challenged now; the other modes imply it.
fn mode(service: &ServiceView) -> String {
    let active = if service.active { "active" } else { "inactive" };
    match service.mode.as_str() {
        "auto" => format!("auto ({active})"),
        mode => mode.to_owned(),
    }
}

/// The rate or attack, the handoff results, drop reasons and buffered bytes of each service.
fn details(services: &[ServiceView]) -> String {
    let mut text = String::new();
    for service in services {
        text += &status_attacks::attack(service);
        let handed = service.handoffs.iter();
        let results = listed(handed.map(|(result, count)| (result.as_str(), *count)));
        if !results.is_empty() {
            text += &format!("{}: handed off: {results}\n", service.name);
        }
        let drops = listed(service.counters.iter().flat_map(Counters::drops));
        if !drops.is_empty() {
            text += &format!("{}: dropped: {drops}\n", service.name);
        }
        let ListSizes { allow, deny } = service.listed;
        if allow + deny > 0 {
            let (allow, deny) = (format_thousands(allow), format_thousands(deny));
            text += &format!(
                "{}: prefixes allowed {allow}, denied {deny}\n",
                service.name
            );
        }
        if service.held_bytes > 0 {
            let held = format_thousands(service.held_bytes);
            text += &format!("{}: buffered for openings: {held} bytes\n", service.name);
        }
    }
    text
}

/// The numbers that are not 0, the largest first: `12 refused, 3 timed out`.
fn listed<'a>(numbers: impl Iterator<Item = (&'a str, u64)>) -> String {
    let mut numbers: Vec<_> = numbers.filter(|(_, count)| *count > 0).collect();
    numbers.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let shown: Vec<_> = numbers
        .iter()
        .map(|(name, count)| format!("{} {}", format_thousands(*count), name.replace('_', " ")))
        .collect();
    shown.join(", ")
}

fn handoffs(snapshot: &Snapshot) -> String {
    let table = &snapshot.flows;
    let used = table.used as f64 / table.capacity.max(1) as f64;
    let (used, share) = (format_thousands(table.used), format_percent(used));
    let capacity = format_thousands(table.capacity);
    let expired = format_thousands(table.expired_total);
    let mut text = format!("flow table: {used} of {capacity} used ({share}), {expired} expired");
    if table.full_total > 0 {
        text += &format!(
            ", {} refused because it was full",
            format_thousands(table.full_total)
        );
    }
    text.push('\n');
    let times = &snapshot.handoff_seconds;
    if let Some(mean) = times.mean() {
        let (handoffs, mean) = (format_count(times.count, "handoff"), format_latency(mean));
        text += &format!("{handoffs}, mean {mean}");
        if let Some(most) = times.within(0.99) {
            text += &format!(", 99 % within {}", format_latency(most));
        }
        text.push('\n');
    }
    text
}

fn interfaces(interfaces: &[InterfaceView]) -> String {
    let mut table = TextColumns::new([
        ("interface", Left),
        ("side", Left),
        ("xdp", Left),
        ("queue", Right),
        ("answers", Left),
        ("socket", Left),
        ("received", Right),
        ("transmitted", Right),
        ("lost", Right),
    ]);
    for interface in interfaces {
        for queue in &interface.queues {
            table.row(queue_row(interface, queue));
        }
    }
    table.text()
}

fn queue_row(interface: &InterfaceView, queue: &QueueView) -> [String; 9] {
    let xsk = &queue.counters;
    let number = |number| match queue.zero_copy {
        Some(_) => format_thousands(number),
        None => "-".into(),
    };
    let socket = match queue.zero_copy {
        Some(true) => "zero-copy",
        Some(false) => "copy",
        None => "none",
    };
    [
        interface.name.clone(),
        interface.side.clone(),
        if interface.native {
            "native"
        } else {
            "generic"
        }
        .into(),
        queue.queue.to_string(),
        queue.responder.word().into(),
        socket.into(),
        number(xsk.port.received),
        number(xsk.port.transmitted),
        number(xsk.lost()),
    ]
}

fn workers(workers: &[WorkerView]) -> String {
    let mut table = TextColumns::new([
        ("worker", Right),
        ("core", Right),
        ("state", Left),
        ("busy", Right),
    ]);
    for worker in workers {
        table.row([
            worker.queue.to_string(),
            worker.core.map_or("any".into(), |core| core.to_string()),
            if worker.alive { "alive" } else { "dead" }.into(),
            format_percent(worker.busy_ratio),
        ]);
    }
    table.text()
}

#[cfg(test)]
mod tests;
