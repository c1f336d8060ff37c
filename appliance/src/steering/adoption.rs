//! How a service that starts challenging its clients treats the connections from before, and how long cookies are valid.

use std::time::Duration;

use synward_core::cookie::EPOCH_NANOSECONDS;
use synward_core::layout::{Service, handoff};

/// How long segments of unknown connections pass when a service starts challenging while the appliance runs, whatever
/// `adopt_seconds` says: a handshake that was half done is done by then, with some retransmissions (RFC 6298 §2).
const ADOPT_AT_LEAST: Duration = Duration::from_secs(5);
/// How long cookies are valid: those of the current and the previous epoch, and of the next one where clocks differ.
pub(super) const COOKIE_LIFE: u64 = 3 * EPOCH_NANOSECONDS;

/// How long connections from before are adopted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Adoption {
    /// Segments of unknown connections pass.
    pub(super) all: Duration,
    /// A few of them pass, and the server decides.
    pub(super) judged: Duration,
}

impl Adoption {
    /// At the start of the appliance, as configured: with `adopt_seconds = 0` every unknown connection is refused at once.
    pub(super) fn at_start(adopt: Duration, idle: Duration) -> Self {
        Self {
            all: adopt,
            judged: if adopt.is_zero() {
                Duration::ZERO
            } else {
                idle
            },
        }
    }

    /// When a service starts challenging while the appliance runs: its connections are as legitimate as later ones.
    pub(super) fn while_running(self, idle: Duration) -> Self {
        Self {
            all: self.all.max(ADOPT_AT_LEAST),
            judged: idle,
        }
    }

    /// Begins now. An edge keeps no state and passes everything but SYNs anyway. The kernel knows the connections of a local
    /// service, but not the handshakes for which it has sent cookies of its own.
    pub(super) fn begin(self, service: &mut Service, now: u64) {
        let until =
            |time: Duration| now.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        let (adopt, judge) = match service.handoff {
            handoff::SPLICE => (until(self.all), until(self.judged)),
            handoff::LOCAL => (until(self.all), 0),
            _ => (0, 0),
        };
        service.adopt_until = adopt;
        service.judge_until = judge;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const IDLE: Duration = Duration::from_secs(7500);

    fn begun(adoption: Adoption, handoff: u8) -> (u64, u64) {
        let mut service = Service {
            handoff,
            ..Service::default()
        };
        adoption.begin(&mut service, 1);
        (service.adopt_until, service.judge_until)
    }

    #[test]
    fn adoption_at_start_is_as_configured() {
        let none = Adoption::at_start(Duration::ZERO, IDLE);
        assert_eq!(begun(none, handoff::SPLICE), (1, 1));
        let three = Adoption::at_start(Duration::from_secs(3), IDLE);
        assert_eq!(
            begun(three, handoff::SPLICE),
            (1 + 3 * SECOND, 1 + 7500 * SECOND)
        );
        assert_eq!(begun(three, handoff::LOCAL), (1 + 3 * SECOND, 0));
        assert_eq!(begun(three, handoff::FORWARD), (0, 0));
    }

    /// Otherwise `adopt_seconds = 0` would cut all connections when an attack begins.
    #[test]
    fn a_service_that_begins_to_challenge_later_always_adopts() {
        let configured = |seconds| Adoption::at_start(Duration::from_secs(seconds), IDLE);
        let later = |seconds| begun(configured(seconds).while_running(IDLE), handoff::SPLICE);
        assert_eq!(later(0), (1 + 5 * SECOND, 1 + 7500 * SECOND));
        assert_eq!(later(60), (1 + 60 * SECOND, 1 + 7500 * SECOND));
    }
}
