//! When to send: one segment an interval. After a pause, a burst makes up for at most a millisecond.

use aya_ebpf::helpers::bpf_ktime_get_ns;

use crate::{Progress, flood_plan};

/// One millisecond in 1/1024 ns.
const CATCH_UP: u64 = 1_000_000 << 10;

/// Whether a segment is due now; if so, it counts as sent.
#[inline(always)]
pub(crate) fn due(progress: &mut Progress) -> bool {
    let interval = flood_plan::INTERVAL.load();
    if interval == 0 {
        return true;
    }
    // SAFETY: the helper takes nothing and cannot fail.
    let now = unsafe { bpf_ktime_get_ns() };
    if progress.start == 0 {
        progress.start = now;
    }
    let elapsed = now.wrapping_sub(progress.start) << 10;
    if elapsed < progress.due {
        return false;
    }
    progress.due = progress.due.max(elapsed.saturating_sub(CATCH_UP)) + interval;
    true
}
