//! Draining: no new connections, existing ones go on, and the process ends when there are none left.
//!
//! Readiness goes first (`/readyz`, `status`), then the XDP program drops SYNs. It does not reset them: a client that hears
//! nothing tries again, and by then its SYN is routed to another machine, whereas a RST would reach the application.

use std::time::{Duration, Instant};

use synward_core::layout::state;

use crate::events::{Event, EventKind, EventLog};
use crate::maps::FlowTable;
use crate::observe::drain_view::LEAST;
use crate::observe::{DrainCommand, DrainPhase, DrainView};
use crate::steering::Steering;

/// Interval at which flows are counted: it reads the whole table.
const COUNT: Duration = Duration::from_millis(500);
/// Time between the end of the drain and that of the process, for `synward drain` to learn how it ended.
const LINGER: Duration = Duration::from_millis(500);

/// Connections that need the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remaining {
    /// Spliced flows that neither both FINs nor a RST have ended.
    pub flows: u64,
    /// Validated clients whose server has not answered.
    pub openings: u64,
}

/// A drain under way.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    began: Instant,
    timeout: Option<Duration>,
    remaining: Remaining,
    /// When flows were counted.
    counted: Option<Instant>,
    /// When it ended.
    ended: Option<Instant>,
}

impl Drain {
    /// Begins at `now`; with a timeout it ends even if connections are left.
    pub fn new(timeout: Option<Duration>, now: Instant) -> Self {
        Self {
            began: now,
            timeout,
            remaining: Remaining::default(),
            counted: None,
            ended: None,
        }
    }

    /// Gives a drain that is under way another timeout, from `now` on.
    pub fn renew(&mut self, timeout: Option<Duration>, now: Instant) {
        self.timeout = timeout.map(|timeout| now.duration_since(self.began) + timeout);
    }

    /// Counts what is left if that is due. Returns true once, when the drain ends.
    pub fn proceed(&mut self, now: Instant, count: impl FnOnce() -> Remaining) -> bool {
        let is_due = self.counted.is_none_or(|at| now >= at + COUNT);
        if self.ended.is_some() || !(is_due || self.is_over(now)) {
            return false;
        }
        self.counted = Some(now);
        self.remaining = count();
        let is_empty = self.remaining == Remaining::default() && now >= self.began + LEAST;
        let ends = is_empty || self.is_over(now);
        self.ended = ends.then_some(now);
        ends
    }

    /// Whether the process should end.
    pub fn is_over_for_process(&self, now: Instant) -> bool {
        self.ended.is_some_and(|at| now >= at + LINGER)
    }

    /// As `status` shows it.
    pub fn view(&self, now: Instant) -> DrainView {
        DrainView {
            phase: if self.ended.is_some() {
                DrainPhase::Ended
            } else {
                DrainPhase::Draining
            },
            seconds: now.duration_since(self.began).as_secs_f64(),
            remaining_seconds: self.timeout.map(|timeout| {
                (self.began + timeout)
                    .saturating_duration_since(now)
                    .as_secs_f64()
            }),
            flows: self.remaining.flows,
            openings: self.remaining.openings,
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.timeout
            .is_some_and(|timeout| now >= self.began + timeout)
    }
}

/// Begins or ends a drain.
///
/// # Errors
/// The kernel refuses the write, or the drain has ended already.
pub(super) fn command(
    drain: &mut Option<Drain>,
    command: DrainCommand,
    steering: &mut Steering,
    events: &mut EventLog,
) -> Result<DrainView, String> {
    let now = Instant::now();
    if drain.is_some_and(|drain| drain.ended.is_some()) {
        return Err("the drain has ended, and the process is stopping".into());
    }
    match (command, &mut *drain) {
        (DrainCommand::Begin(timeout), Some(under_way)) => under_way.renew(timeout, now),
        (DrainCommand::Begin(timeout), None) => {
            // Before SYNs are dropped: the next health check sees that this machine takes no new connections.
            *drain = Some(Drain::new(timeout, now));
            if let Err(error) = steering.set_draining(true) {
                let _ = steering.set_draining(false);
                *drain = None;
                return Err(error.to_string());
            }
            events.record(Event::new(
                EventKind::Drain,
                None,
                "drain: no new connections are accepted; the process ends when no spliced one is left",
            ));
        }
        (DrainCommand::End, Some(_)) => {
            steering
                .set_draining(false)
                .map_err(|error| error.to_string())?;
            *drain = None;
            let message = "undrain: new connections are accepted again";
            events.record(Event::new(EventKind::Undrain, None, message));
        }
        (DrainCommand::End, None) => {}
    }
    Ok(drain.map(|drain| drain.view(now)).unwrap_or_default())
}

/// What would end with the process. Flows that both sides have ended are not counted.
pub(super) fn remaining(table: &FlowTable) -> Remaining {
    let mut remaining = Remaining::default();
    table.for_each(|_, flow| match flow.state {
        state::OPENING => remaining.openings += 1,
        state::ESTABLISHED => remaining.flows += 1,
        _ => {}
    });
    remaining
}

/// A round of the control thread.
pub(super) fn proceed(drain: &mut Drain, table: &FlowTable, events: &mut EventLog) {
    if drain.proceed(Instant::now(), || remaining(table)) {
        let left = drain.view(Instant::now()).left();
        let message = format!("drain: ended with {left} left; the process ends");
        events.record(Event::new(EventKind::Drained, None, message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Remaining = Remaining {
        flows: 0,
        openings: 0,
    };
    const SOME: Remaining = Remaining {
        flows: 2,
        openings: 1,
    };

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn an_empty_appliance_waits_for_the_cookies_that_are_out() {
        let start = Instant::now();
        let mut drain = Drain::new(None, start);
        assert!(!drain.proceed(start, || NONE));
        assert!(!drain.proceed(start + LEAST - Duration::from_millis(1), || NONE));
        assert!(drain.proceed(start + LEAST + COUNT, || NONE));
        assert!(!drain.proceed(start + seconds(9), || NONE), "it ends once");
        assert!(!drain.is_over_for_process(start + LEAST + COUNT));
        assert!(drain.is_over_for_process(start + LEAST + COUNT + LINGER));
    }

    #[test]
    fn it_waits_for_the_last_flow() {
        let start = Instant::now();
        let mut drain = Drain::new(None, start);
        assert!(!drain.proceed(start + seconds(7_000), || SOME));
        assert_eq!(drain.view(start + seconds(7_000)).flows, 2);
        assert!(drain.proceed(start + seconds(7_001), || NONE));
        assert_eq!(drain.view(start + seconds(7_001)).phase, DrainPhase::Ended);
    }

    #[test]
    fn a_timeout_ends_it_with_what_is_left() {
        let start = Instant::now();
        let mut drain = Drain::new(Some(seconds(2)), start);
        assert!(!drain.proceed(start, || SOME));
        assert_eq!(drain.view(start).remaining_seconds, Some(2.0));
        assert!(!drain.proceed(start + seconds(1), || NONE));
        assert!(drain.proceed(start + seconds(2), || SOME));
        assert_eq!(drain.view(start + seconds(2)).openings, 1);

        let mut drain = Drain::new(Some(seconds(2)), start);
        drain.renew(Some(seconds(2)), start + seconds(1));
        assert!(!drain.proceed(start + seconds(2), || SOME));
        assert!(drain.proceed(start + seconds(3), || SOME));
        let mut drain = Drain::new(Some(seconds(2)), start);
        drain.renew(None, start + seconds(1));
        assert!(!drain.proceed(start + seconds(99), || SOME));
    }

    #[test]
    fn flows_are_counted_twice_a_second() {
        let start = Instant::now();
        let mut drain = Drain::new(None, start);
        let mut counted = 0;
        for round in 0..20 {
            drain.proceed(start + Duration::from_millis(100 * round), || {
                counted += 1;
                SOME
            });
        }
        assert_eq!(counted, 4);
    }
}
