//! Formats rates, attacks and events for a terminal.

use synward_core::counters::Counter;

use super::number_format::{format_percent, format_span, format_thousands};
use super::snapshot::{AddressAttackView, ServiceView, Snapshot};
use crate::events::Event;

/// Events that `synward status` shows. `status --json` has all that are kept.
const SHOWN: usize = 5;

/// The rate of a service and its attack, if there is one or if its mode asks for it; otherwise empty.
pub(crate) fn attack(service: &ServiceView) -> String {
    let (name, attack) = (&service.name, &service.attack);
    let [rate, from, until] = [
        attack.syn_rate,
        attack.activate_syn_rate,
        attack.deactivate_syn_rate,
    ]
    .map(format_thousands);
    let mut text = match attack.since_seconds {
        Some(_) if !attack.everywhere => format!("{name}: {rate} SYN/s\n"),
        Some(since) => {
            let (since, peak) = (
                format_span(since),
                format_thousands(attack.peak_syn_rate.unwrap_or_default()),
            );
            format!(
                "{name}: under attack for {since}: {rate} SYN/s, at most {peak}; over when below {until} SYN/s for long enough\n"
            )
        }
        None if matches!(service.mode.as_str(), "auto" | "monitor") => {
            format!("{name}: {rate} SYN/s; an attack begins at {from}\n")
        }
        None => String::new(),
    };
    text.extend(attack.addresses.iter().map(|one| address(name, one)));
    if attack.unanswered_syns > 0 {
        let syns = format_thousands(attack.unanswered_syns);
        text += &format!(
            "{name}: {syns} SYNs of attacks passed; mode \"auto\" would have answered them\n"
        );
    }
    text += &would_be(service);
    if !attack.sources.is_empty() {
        let sources = attack.sources.iter();
        let sources = sources.map(|one| format!("{} {}", one.prefix, format_percent(one.share)));
        let sources: Vec<_> = sources.collect();
        text += &format!(
            "{name}: claimed sources of the attack (may be spoofed): {}\n",
            sources.join(", ")
        );
    }
    text
}

fn address(service: &str, attack: &AddressAttackView) -> String {
    let (address, since) = (&attack.address, format_span(attack.since_seconds));
    let [rate, peak, until] = [
        attack.syn_rate,
        attack.peak_syn_rate,
        attack.deactivate_syn_rate,
    ]
    .map(format_thousands);
    format!(
        "{service}: {address} under attack for {since}: {rate} SYN/s, at most {peak}; over when below {until} SYN/s for long \
        enough\n"
    )
}

/// What mode "always" would have done, for a service with mode "monitor".
fn would_be(service: &ServiceView) -> String {
    let Some(counters) = service.counters.filter(|_| service.mode == "monitor") else {
        return String::new();
    };
    let drops = counters.would_drops().filter(|(_, count)| *count > 0);
    let drops = drops.map(|(reason, count)| {
        let reason = reason.replace('_', " ");
        format!("{} {reason}", format_thousands(count))
    });
    let drops: Vec<_> = drops.collect();
    let dropped = match &drops[..] {
        [] => "nothing".into(),
        drops => drops.join(", "),
    };
    let answered = format_thousands(counters.value(Counter::WouldAnswer));
    format!(
        "{}: mode \"always\" would have answered {answered} SYNs and dropped {dropped}\n",
        service.name
    )
}

/// The last events, the newest first.
pub(crate) fn events(snapshot: &Snapshot) -> String {
    let events = snapshot.events.iter().rev().take(SHOWN);
    events.map(|one| event(one, snapshot.time)).collect()
}

fn event(event: &Event, now: f64) -> String {
    let ago = format_span((now - event.time).max(0.0));
    let service = event
        .service
        .as_ref()
        .map_or(String::new(), |service| format!("{service}: "));
    let address = event
        .address
        .as_ref()
        .map_or(String::new(), |address| format!("{address}: "));
    let (message, numbers) = (&event.message, numbers(event));
    format!("{ago} ago: {service}{address}{message}{numbers}\n")
}

fn numbers(event: &Event) -> String {
    let Some(attack) = &event.attack else {
        return String::new();
    };
    if attack.duration_seconds == 0.0 {
        let [rate, threshold] = [attack.rate, attack.threshold].map(format_thousands);
        return format!("; {rate} SYN/s, the threshold is {threshold}");
    }
    let [peak, syns, proven] =
        [attack.peak_rate, attack.syns, attack.proven_clients].map(format_thousands);
    let duration = format_span(attack.duration_seconds);
    format!("; {syns} SYNs in {duration}, at most {peak} a second, {proven} proven clients")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{AttackNumbers, EventKind};
    use crate::observe::{AttackView, Counters, SourceView};

    #[test]
    fn a_rate_is_shown_where_it_may_matter() {
        let mut service = ServiceView {
            name: "web".into(),
            mode: "always".into(),
            attack: AttackView {
                syn_rate: 1_200,
                activate_syn_rate: 4_000,
                deactivate_syn_rate: 2_000,
                ..AttackView::default()
            },
            ..ServiceView::default()
        };
        assert_eq!(attack(&service), "");
        service.mode = "auto".into();
        assert_eq!(
            attack(&service),
            "web: 1,200 SYN/s; an attack begins at 4,000\n"
        );
        service.mode = "monitor".into();
        service.attack.since_seconds = Some(75.2);
        service.attack.everywhere = true;
        service.attack.peak_syn_rate = Some(30_000);
        service.attack.unanswered_syns = 70_000;
        assert_eq!(
            attack(&service),
            "web: under attack for 1 min 15 s: 1,200 SYN/s, at most 30,000; over when below 2,000 SYN/s for long enough\n\
             web: 70,000 SYNs of attacks passed; mode \"auto\" would have answered them\n"
        );
        service.attack.unanswered_syns = 0;
        service.attack.everywhere = false;
        service.attack.addresses = vec![AddressAttackView {
            address: "192.0.2.10".into(),
            syn_rate: 1_100,
            deactivate_syn_rate: 500,
            since_seconds: 75.2,
            peak_syn_rate: 30_000,
        }];
        assert_eq!(
            attack(&service),
            "web: 1,200 SYN/s\n\
             web: 192.0.2.10 under attack for 1 min 15 s: 1,100 SYN/s, at most 30,000; over when below 500 SYN/s for long enough\n"
        );
        service.attack.sources = [("10.1.2.0/24", 0.25), ("2001:db8:1::/48", 0.01)]
            .map(|(prefix, share)| SourceView {
                prefix: prefix.into(),
                share,
            })
            .to_vec();
        let text = attack(&service);
        let line = text.lines().last();
        assert_eq!(
            line,
            Some(
                "web: claimed sources of the attack (may be spoofed): 10.1.2.0/24 25 %, 2001:db8:1::/48 1.0 %"
            )
        );
    }

    #[test]
    fn monitor_says_what_always_would_have_done() {
        let mut counters = Counters::default();
        counters.set(Counter::WouldAnswer, 31_204);
        let mut service = ServiceView {
            name: "web".into(),
            mode: "monitor".into(),
            counters: Some(counters),
            ..ServiceView::default()
        };
        let last_line = |service: &ServiceView| attack(service).lines().last().map(str::to_owned);
        let always = "web: mode \"always\" would have answered 31,204 SYNs and dropped";
        assert_eq!(last_line(&service), Some(format!("{always} nothing")));
        counters.set(Counter::WouldDropDenied, 12);
        counters.set(Counter::WouldDropPlainRefused, 3_000);
        // Of another reason, and of no mode but `always`.
        counters.set(Counter::DropFragment, 7);
        service.counters = Some(counters);
        assert_eq!(
            last_line(&service),
            Some(format!("{always} 12 denied, 3,000 plain refused"))
        );
        service.mode = "always".into();
        assert_eq!(last_line(&service), None);
    }

    #[test]
    fn the_last_five_events_are_shown() {
        let event = |time, event, message: &str, attack| Event {
            time,
            attack,
            ..Event::new(event, Some("web"), message)
        };
        let numbers = AttackNumbers {
            rate: 2_000,
            threshold: 1_000,
            ..AttackNumbers::default()
        };
        let over = AttackNumbers {
            duration_seconds: 61.0,
            peak_rate: 3_000,
            syns: 180_000,
            proven_clients: 12,
            ..numbers
        };
        let mut snapshot = Snapshot {
            time: 1_100.0,
            events: vec![
                event(1_000.0, EventKind::AttackBegin, "begins", Some(numbers)),
                event(1_090.0, EventKind::AttackEnd, "is over", Some(over)),
            ],
            ..Snapshot::default()
        };
        assert_eq!(
            events(&snapshot),
            "10 s ago: web: is over; 180,000 SYNs in 1 min 1 s, at most 3,000 a second, 12 proven clients\n\
             1 min 40 s ago: web: begins; 2,000 SYN/s, the threshold is 1,000\n"
        );
        for _ in 0..9 {
            let more = event(2_000.0, EventKind::AttackEnd, "clock went back", None);
            snapshot.events.push(more);
        }
        assert_eq!(
            events(&snapshot),
            "0 s ago: web: clock went back\n".repeat(5)
        );
    }
}
