//! Frames that XDP redirects. A driver chooses the transmit queue by the CPU, so each CPU sends some.

use std::thread;
use std::time::Duration;

use synward_core::transmit_failure::Probe;

use super::Lost;
use super::probe_frame::probe_frame;
use super::transmit_watch::{TransmitWatch, WatchError};
use crate::steering::SteeredInterface;

/// A frame must be lost as often to count: a queue may be full, or a link may not be ready yet.
const ATTEMPTS: u32 = 3;
/// Time between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// XDP_PACKET_HEADROOM less the `struct xdp_frame` in it: what a frame of a test run has in front of it
/// (`xdp_test_run_init_page`, net/bpf/test_run.c).
const HEADROOM: u32 = 256 - 40;

/// Redirects frames to each interface, and with `zero_copy` also frames without headroom. Returns those that are lost.
pub(super) fn lost(
    watch: &mut TransmitWatch,
    targets: &[&SteeredInterface],
    zero_copy: bool,
) -> Result<Vec<Lost>, WatchError> {
    let headroom: &[bool] = if zero_copy { &[true, false] } else { &[true] };
    let mut lost = Vec::new();
    for target in targets {
        for headroom in headroom {
            lost.extend(lost_on(watch, target, *headroom)?);
        }
    }
    Ok(lost)
}

fn lost_on(
    watch: &mut TransmitWatch,
    target: &SteeredInterface,
    headroom: bool,
) -> Result<Option<Lost>, WatchError> {
    let probe = Probe {
        interface: target.index,
        grow: if headroom { 0 } else { HEADROOM },
        redirected: 0,
    };
    let frame = probe_frame(target.mac);
    for attempt in 1..=ATTEMPTS {
        let errno = on_each_cpu(|| watch.lost_probe(probe, &frame))?;
        match errno {
            Some(errno) if attempt == ATTEMPTS => {
                return Ok(Some(Lost {
                    interface: target.index,
                    errno,
                    headroom,
                }));
            }
            Some(_) => thread::sleep(PAUSE),
            None => break,
        }
    }
    Ok(None)
}

/// Calls `send` on each CPU, until it returns something. The calling thread keeps its own CPUs.
fn on_each_cpu<T: Send>(
    mut send: impl FnMut() -> Result<Option<T>, WatchError> + Send,
) -> Result<Option<T>, WatchError> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let sent = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            for core in cores {
                core_affinity::set_for_current(core);
                if let Some(found) = send()? {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        });
        sender.join()
    });
    sent.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
