//! What the programs have counted of a service and its addresses, as the detectors read it.

use synward_core::address_counts::Counted;
use synward_core::counters::{Counter, ServiceCounters};

use crate::activation::{Seen, Totals};
use crate::config::{Handoff, Service};
use crate::steering::{Place, Steering};

/// What is seen of a service in one round.
pub(super) struct SeenOfService<'a> {
    pub(super) whole: Seen,
    pub(super) places: &'a [Place],
    /// What is seen of each of these.
    pub(super) each: Vec<Seen>,
}

/// The counts of a service and of those of its addresses that are watched separately. `None`: it cannot be read; `status`
/// says so.
pub(super) fn look<'a>(
    steering: &'a Steering,
    index: u32,
    service: &Service,
    pressed: bool,
) -> Option<SeenOfService<'a>> {
    let counters = steering.counters(index).ok()?;
    let places = steering.watched_addresses(index);
    let seen = |place: &Place| {
        let counts = steering.address_counts(*place)?;
        Some(Seen {
            totals: Totals {
                syns: counts.value(Counted::Syn),
                proven: counts.value(Counted::Proven),
                bad_acks: counts.value(Counted::BadAck),
            },
            challenges: steering.challenges_at(*place),
            pressed: false,
        })
    };
    Some(SeenOfService {
        whole: Seen {
            totals: totals(&counters, service.handoff),
            challenges: steering.challenges(index),
            pressed,
        },
        places,
        each: places.iter().map(seen).collect::<Option<_>>()?,
    })
}

pub(super) fn totals(counters: &ServiceCounters, handoff: Handoff) -> Totals {
    let learned = match handoff {
        Handoff::Splice => counters.value(Counter::Learned),
        Handoff::Local | Handoff::Forward => 0,
    };
    Totals {
        syns: counters.value(Counter::Syn),
        proven: counters.value(Counter::CookieValid) + learned,
        bad_acks: [
            Counter::CookieInvalid,
            Counter::DropPlainLimit,
            // This counts refused SYNs, too. The detector takes the larger of SYNs and bad ACKs, so none counts twice.
            Counter::DropPlainRefused,
        ]
        .map(|counter| counters.value(counter))
        .iter()
        .sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Few ACKs of a flood without timestamps are checked. The flood prolongs an attack nevertheless.
    #[test]
    fn acks_that_are_not_checked_are_bad_ones() {
        let mut counters = ServiceCounters::default();
        for _ in 0..3 {
            counters.bump(Counter::CookieInvalid);
        }
        for _ in 0..4 {
            counters.bump(Counter::DropPlainLimit);
            counters.bump(Counter::DropPlainRefused);
        }
        assert_eq!(totals(&counters, Handoff::Local).bad_acks, 11);
    }
}
