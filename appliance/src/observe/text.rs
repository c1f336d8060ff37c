//! Snapshots and flows as people read them in a terminal.

use super::quantity::{count, moment, percent, span, thousands};
use super::snapshot::{
    FlowList, FlowState, FlowView, InterfaceView, QueueView, ServiceView, Snapshot, WorkerView,
};
use super::table::Align::{Left, Right};
use super::table::Table;

/// What `synward status` prints.
pub(super) fn status(snapshot: &Snapshot) -> String {
    let parts = [
        head(snapshot),
        services(&snapshot.services),
        details(&snapshot.services),
        handoffs(snapshot),
        interfaces(&snapshot.interfaces),
        workers(&snapshot.workers),
    ];
    let shown: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    shown.join("\n")
}

/// What `synward flows` prints.
pub(super) fn flows(list: &FlowList) -> String {
    if list.flows.is_empty() {
        return "no flows\n".into();
    }
    let mut table = Table::new([
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
            span(flow.idle_seconds),
        ]);
    }
    table.text()
}

/// That not all flows are there, if so.
pub(super) fn truncated(list: &FlowList) -> String {
    let shown = list.flows.len() as u64;
    if shown >= list.total {
        return String::new();
    }
    let (shown, total) = (thousands(shown), thousands(list.total));
    format!("synward: {shown} of {total} flows; more with --limit\n")
}

fn state(flow: &FlowView) -> String {
    match (flow.state, flow.worker) {
        (FlowState::Opening, Some(worker)) => format!("opening at worker {worker}"),
        (state, _) => state.word().into(),
    }
}

fn head(snapshot: &Snapshot) -> String {
    let complaints = snapshot.complaints();
    let state = if complaints.is_empty() {
        "serving"
    } else {
        "degraded"
    };
    let (version, pid) = (&snapshot.version, snapshot.pid);
    let up = span(snapshot.uptime_seconds);
    let file = snapshot.config_file.display();
    let mut text = format!("synward {version} {state}, up {up}, pid {pid}, {file}\n");
    for complaint in complaints {
        text += &format!("  degraded: {complaint}\n");
    }
    for note in &snapshot.notes {
        text += &format!("  note: {note}\n");
    }
    if !snapshot.config_last_reload_successful {
        text += "  the last reload was refused; the configuration before it is in force\n";
    }
    text
}

fn services(services: &[ServiceView]) -> String {
    let mut table = Table::new([
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
        let counter = |counter| thousands(service.counters.value(counter));
        table.row([
            service.name.clone(),
            mode(service),
            service.handoff.clone(),
            counter(Counter::Syn),
            thousands(service.answered()),
            counter(Counter::CookieValid),
            counter(Counter::CookieInvalid),
            counter(Counter::CookieExpired),
            thousands(service.counters.drops().map(|(_, count)| count).sum()),
            thousands(service.flows),
            thousands(service.openings),
        ]);
    }
    table.text()
}

/// Only `auto` leaves open whether it challenges.
fn mode(service: &ServiceView) -> String {
    let active = if service.active { "active" } else { "idle" };
    match service.mode.as_str() {
        "auto" => format!("auto, {active}"),
        mode => mode.to_owned(),
    }
}

/// What the sums of a service are made of.
fn details(services: &[ServiceView]) -> String {
    let mut text = String::new();
    for service in services {
        let handed = service.handoffs.iter();
        let results = listed(handed.map(|(result, count)| (result.as_str(), *count)));
        if !results.is_empty() {
            text += &format!("{}: handed on: {results}\n", service.name);
        }
        let drops = listed(service.counters.drops());
        if !drops.is_empty() {
            text += &format!("{}: dropped: {drops}\n", service.name);
        }
        if service.held_bytes > 0 {
            let held = thousands(service.held_bytes);
            text += &format!("{}: held for openings: {held} bytes\n", service.name);
        }
    }
    text
}

/// What is not 0, the largest first: `12 refused, 3 timed out`.
fn listed<'a>(numbers: impl Iterator<Item = (&'a str, u64)>) -> String {
    let mut numbers: Vec<_> = numbers.filter(|(_, count)| *count > 0).collect();
    numbers.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let shown: Vec<_> = numbers
        .iter()
        .map(|(name, count)| format!("{} {}", thousands(*count), name.replace('_', " ")))
        .collect();
    shown.join(", ")
}

fn handoffs(snapshot: &Snapshot) -> String {
    let table = &snapshot.flows;
    let used = table.used as f64 / table.capacity.max(1) as f64;
    let (used, share) = (thousands(table.used), percent(used));
    let capacity = thousands(table.capacity);
    let expired = thousands(table.expired_total);
    let mut text = format!("flow table: {used} of {capacity} used ({share}), {expired} expired");
    if table.full_total > 0 {
        text += &format!(", {} refused for want of room", thousands(table.full_total));
    }
    text.push('\n');
    let times = &snapshot.handoff_seconds;
    if let Some(mean) = times.mean() {
        let (handoffs, mean) = (count(times.count, "handoff"), moment(mean));
        text += &format!("{handoffs}, mean {mean}");
        if let Some(most) = times.within(0.99) {
            text += &format!(", 99 % within {}", moment(most));
        }
        text.push('\n');
    }
    text
}

fn interfaces(interfaces: &[InterfaceView]) -> String {
    let mut table = Table::new([
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
        Some(_) => thousands(number),
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
        number(xsk.received),
        number(xsk.transmitted),
        number(xsk.lost()),
    ]
}

fn workers(workers: &[WorkerView]) -> String {
    let mut table = Table::new([
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
            percent(worker.busy_ratio),
        ]);
    }
    table.text()
}

#[cfg(test)]
mod tests;
