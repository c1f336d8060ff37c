//! `synward drain` and `synward undrain`.

use std::path::Path;
use std::thread;
use std::time::Duration;

use super::control_client::{ClientError, Outcome, send_request};
use super::control_protocol::{Request, Response};
use super::drain_view::{DrainPhase, DrainView, LEAST};

/// Interval at which the process is asked.
const POLL: Duration = Duration::from_millis(100);
/// Exit code if the drain did not come to its end.
const NOT_DRAINED: u8 = 1;
/// Seconds before the end of a drain in which the end of the process is that of the drain: the last answer may be missed.
const NEAR_END: f64 = 1.0;

/// `synward drain [--timeout S]`: begins a drain, calls `began`, and waits until the process has ended.
pub fn drain(
    control: &Path,
    timeout: Option<Duration>,
    began: impl FnOnce(&str),
) -> Result<Outcome, ClientError> {
    let seconds = timeout.map(|timeout| timeout.as_secs());
    let mut last = ask(control, &Request::Drain { seconds })?;
    began(
        "draining: no new connections; the drain goes on if this command is interrupted, and `synward undrain` cancels it",
    );
    while last.phase == DrainPhase::Draining {
        thread::sleep(POLL);
        last = match ask(control, &Request::Drained) {
            Ok(view) => view,
            // It ended between two questions, or somebody has stopped it.
            Err(ClientError::NotRunning(_)) => break,
            Err(
                ClientError::Silent(..)
                | ClientError::Unreadable(_)
                | ClientError::Broken(..)
                | ClientError::Unfinished(_),
            ) => continue,
            Err(error) => return Err(error),
        };
    }
    let not_drained = |why: &str| Outcome {
        text: String::new(),
        note: format!("synward: {why}\n"),
        code: NOT_DRAINED,
    };
    Ok(match last.phase {
        DrainPhase::Serving => {
            not_drained("the drain was cancelled; new connections are accepted again")
        }
        DrainPhase::Draining if !may_have_ended(&last) => {
            let left = match last.flows + last.openings {
                // They were not counted yet.
                0 => String::new(),
                _ => format!(": {} were left", last.left()),
            };
            not_drained(&format!("the process has ended before the drain{left}"))
        }
        _ => Outcome::fine(result(&last)),
    })
}

/// Whether a drain whose end was not seen may have ended, by what was seen last.
fn may_have_ended(last: &DrainView) -> bool {
    let is_late = |left: f64| left < NEAR_END;
    let may_be_empty =
        last.flows + last.openings == 0 && is_late(LEAST.as_secs_f64() - last.seconds);
    may_be_empty || last.remaining_seconds.is_some_and(is_late)
}

/// `synward undrain`.
pub fn undrain(control: &Path) -> Result<Outcome, ClientError> {
    ask(control, &Request::Undrain)?;
    Ok(Outcome::fine("new connections are accepted\n".into()))
}

fn ask(control: &Path, request: &Request) -> Result<DrainView, ClientError> {
    match send_request(control, request)? {
        Response::Drain(view) => Ok(view),
        _ => Err(ClientError::Strange(control.to_owned())),
    }
}

fn result(last: &DrainView) -> String {
    if last.flows + last.openings == 0 {
        "drained: no connection is left; the process ends\n".into()
    } else {
        format!("the time is over: {} left; the process ends\n", last.left())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Flows are counted some moments after the begin.
    #[test]
    fn a_process_that_is_gone_at_once_has_not_drained() {
        for (seconds, flows, remaining_seconds, expected) in [
            (0.2, 0, None, false),
            (0.2, 0, Some(60.0), false),
            (0.2, 0, Some(0.8), true),
            (2.8, 0, None, true),
            (2.8, 1, None, false),
            (100.0, 1, Some(0.5), true),
        ] {
            let last = DrainView {
                phase: DrainPhase::Draining,
                seconds,
                remaining_seconds,
                flows,
                openings: 0,
            };
            assert_eq!(may_have_ended(&last), expected, "{last:?}");
        }
    }
}
