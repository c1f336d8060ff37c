//! At TC: requeues the skb of a segment that TCP must not see yet to this CPU's backlog. The event that the segment waits
//! for is ahead of it in that backlog, or happens on another CPU, so one round may be too few.

use aya_ebpf::bindings::BPF_F_INGRESS;
use aya_ebpf::helpers::bpf_redirect;
use aya_ebpf::programs::TcContext;

/// Rounds at most, some microseconds in all. Only a handshake that was assigned a moment ago has any
/// ([`assignments`](crate::assignments)), so a captured segment that arrives later costs no round.
const ROUNDS: u32 = 16;

/// Marks our values of `tc_index`: 16 bits that the kernel keeps with the skb and nothing else uses.
const TAG: u32 = 0x5300;
const TAG_MASK: u32 = 0xff00;
/// This segment has had the stale connection reset ([`stale_connection`](crate::stale_connection)).
const RESETS: u32 = 0x80;
const ROUND_MASK: u32 = 0x7f;

/// How often a segment was requeued, and whether it resets a stale connection.
#[derive(Clone, Copy)]
pub struct Round(u32);

impl Round {
    #[inline(always)]
    pub fn of(ctx: &TcContext) -> Self {
        // SAFETY: the context is the kernel's own; the field is readable.
        let index = unsafe { core::ptr::read_volatile(&raw const (*ctx.skb.skb).tc_index) };
        Self(if index & TAG_MASK == TAG { index } else { TAG })
    }

    #[inline(always)]
    pub const fn resets(self) -> bool {
        self.0 & RESETS != 0
    }

    #[inline(always)]
    pub const fn resetting(self) -> Self {
        Self(self.0 | RESETS)
    }

    /// Requeues the segment; `None` after the last round.
    #[inline(always)]
    pub fn requeue(self, ctx: &TcContext) -> Option<i32> {
        if self.0 & ROUND_MASK >= ROUNDS {
            return None;
        }
        let skb = ctx.skb.skb;
        // SAFETY: the context is the kernel's own; the field is writable, the helper takes two integers.
        unsafe {
            core::ptr::write_volatile(&raw mut (*skb).tc_index, self.0 + 1);
            Some(bpf_redirect((*skb).ifindex, BPF_F_INGRESS.into()) as i32)
        }
    }
}
