//! A frame that belongs to no service: to the program behind, if the configuration names one (`next`).
//!
//! Only these frames pay for the tail call. It is made by the program itself and not by a function of it, because a function
//! with a tail call may have only 256 bytes of stack above it (`check_max_stack_depth`, kernel/bpf/verifier.c).

use crate::maps;
use crate::verdict::Verdict;
use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::programs::XdpContext;

/// Leaves the frame to the program behind the interface in `slot`, which ends this one; without it, to the kernel.
#[inline(always)]
pub fn leave(ctx: &XdpContext, slot: u32) -> Verdict {
    // SAFETY: a jump to another program, which never returns here; nothing that is alive has to be dropped.
    unsafe { maps::NEXT.tail_call(ctx, slot) };
    XDP_PASS
}
