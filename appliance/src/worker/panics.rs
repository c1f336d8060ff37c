//! What a panic of a worker leads to: it goes on with a new state, on the same sockets, which only a privileged thread could
//! bind again. After many panics it ends; the appliance is degraded then.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// The panics after which a worker goes on. Each may cost a batch of frames until the process ends.
const MOST: u32 = 8;

/// Calls `serve` until it returns. After a panic, whose message is printed by the panic hook, `renew` replaces what may be
/// inconsistent, and `serve` is called again.
///
/// # Panics
/// As `serve` does for the last time, or `renew`.
pub(super) fn serve_through_panics<S>(
    state: &mut S,
    serve: impl Fn(&mut S),
    renew: impl Fn(&mut S),
) {
    for panics in 1.. {
        // `renew` replaces the state that the panic has left.
        match catch_unwind(AssertUnwindSafe(|| serve(state))) {
            Ok(()) => return,
            Err(panic) if panics > MOST => resume_unwind(panic),
            Err(_) => {
                renew(state);
                tracing::error!(
                    panics,
                    "a worker has panicked and goes on without its openings; report the panic"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Counts {
        served: u32,
        renewed: u32,
    }

    fn run(panics: u32) -> (Counts, bool) {
        let mut counts = Counts::default();
        let ended = catch_unwind(AssertUnwindSafe(|| {
            serve_through_panics(
                &mut counts,
                |counts| {
                    counts.served += 1;
                    assert!(counts.served > panics, "injected");
                },
                |counts| counts.renewed += 1,
            );
        }));
        (counts, ended.is_err())
    }

    #[test]
    fn a_worker_goes_on_after_a_panic() {
        let (counts, panicked) = run(2);
        assert_eq!((counts.served, counts.renewed, panicked), (3, 2, false));
    }

    #[test]
    fn a_worker_that_always_panics_ends() {
        let (counts, panicked) = run(u32::MAX);
        assert_eq!(
            (counts.served, counts.renewed, panicked),
            (MOST + 1, MOST, true)
        );
    }
}
