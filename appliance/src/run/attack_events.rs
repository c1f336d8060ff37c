//! What is recorded when an attack begins or ends.

use ipnet::IpNet;

use crate::activation::{Attack, Change};
use crate::events::{AttackNumbers, Event, EventKind};

/// A prefix, or the address if it has only one.
pub(super) fn address_text(net: IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() {
        net.addr().to_string()
    } else {
        net.to_string()
    }
}

/// What is recorded of a change; `challenged`: whether clients are challenged there now.
pub(super) fn event(
    service: &str,
    address: Option<IpNet>,
    change: &Change,
    challenged: bool,
) -> Event {
    let (kind, attack) = match change {
        Change::Began(attack) => (EventKind::AttackBegin, attack),
        Change::Ended(attack) | Change::Unwatched(attack) => (EventKind::AttackEnd, attack),
    };
    let challenged = challenged || attack.challenged;
    let message = match (change, challenged, address) {
        (Change::Began(_), true, _) => "attack begins: clients are challenged",
        (Change::Began(_), false, _) => "attack begins: mode \"auto\" would challenge clients now",
        (Change::Ended(_), ..) => "attack is over",
        (Change::Unwatched(_), _, Some(_)) => "this address is not watched separately any more",
        (Change::Unwatched(_), _, None) => "attacks are not looked for any more",
    };
    Event {
        address: address.map(address_text),
        attack: Some(numbers(attack, challenged)),
        ..Event::new(kind, Some(service), message)
    }
}

fn numbers(attack: &Attack, challenged: bool) -> AttackNumbers {
    let duration = attack.duration().as_secs_f64();
    AttackNumbers {
        rate: attack.rate.round() as u64,
        threshold: attack.threshold.round() as u64,
        peak_rate: attack.peak.round() as u64,
        duration_seconds: (duration * 10.0).round() / 10.0,
        syns: attack.syns,
        proven_clients: attack.proven,
        challenged,
    }
}
