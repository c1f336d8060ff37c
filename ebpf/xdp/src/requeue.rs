//! At TC: a segment that TCP is not to see yet comes round again, through the queue of what has arrived on this CPU. What
//! it waits for is under way there before it, or on another CPU, which is why one round may be too few.

use aya_ebpf::bindings::BPF_F_INGRESS;
use aya_ebpf::helpers::bpf_redirect;
use aya_ebpf::programs::TcContext;

/// At most so many times, some microseconds in all: whoever sends a captured segment again and again has us do no more.
const ROUNDS: u32 = 16;

/// In `tc_index`, 16 bits that the kernel keeps with the segment and nothing else uses.
const TAG: u32 = 0x5300;
const TAG_MASK: u32 = 0xff00;
/// It is this segment that has the way cleared ([`stale_connection`](crate::stale_connection)).
const RESETS: u32 = 0x80;
const ROUND_MASK: u32 = 0x7f;

/// What a segment has behind it.
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

    /// Another one; nothing after the last.
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
