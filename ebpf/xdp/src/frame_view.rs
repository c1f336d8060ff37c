//! Bounds-checked views into the frame of an XDP or TC program.

use aya_ebpf::Global;
use aya_ebpf::helpers::bpf_xdp_get_buff_len;
use aya_ebpf::programs::{TcContext, XdpContext};

/// Whether the program is loaded for frames in several buffers (`BPF_F_XDP_HAS_FRAGS`). The appliance sets it before the load.
/// If it is 0, the verifier removes what only such frames need: nobody else pays for it, and Linux before 5.18 loads the rest.
#[unsafe(no_mangle)]
static HAS_FRAGS: Global<u32> = Global::new(0);

/// Headers that start farther into the frame are not read.
const FARTHEST: usize = 511;

/// The frame that a program's context holds.
pub trait Frame {
    /// Where the frame starts and ends; of a socket buffer, its linear part; of a frame in several buffers, the first of them,
    /// which holds the headers. The loads are volatile, because the verifier must see the loads from the context where the
    /// pointers are used: passed between functions they are mere numbers to it.
    fn bounds(&self) -> (usize, usize);
}

impl Frame for XdpContext {
    #[inline(always)]
    fn bounds(&self) -> (usize, usize) {
        // SAFETY: the context is the kernel's own, and both fields of it are readable.
        unsafe {
            let start = core::ptr::read_volatile(&raw const (*self.ctx).data);
            let end = core::ptr::read_volatile(&raw const (*self.ctx).data_end);
            (start as usize, end as usize)
        }
    }
}

impl Frame for TcContext {
    #[inline(always)]
    fn bounds(&self) -> (usize, usize) {
        // SAFETY: as above.
        unsafe {
            let start = core::ptr::read_volatile(&raw const (*self.skb.skb).data);
            let end = core::ptr::read_volatile(&raw const (*self.skb.skb).data_end);
            (start as usize, end as usize)
        }
    }
}

/// The length of the frame with all its buffers, bytes.
#[inline(always)]
pub fn whole_length(ctx: &XdpContext) -> usize {
    if !has_frags() {
        let (start, end) = ctx.bounds();
        return end - start;
    }
    // SAFETY: the context is the kernel's own; the helper only reads it.
    unsafe { bpf_xdp_get_buff_len(ctx.ctx) as usize }
}

/// Whether frames may have several buffers.
#[inline(always)]
pub fn has_frags() -> bool {
    HAS_FRAGS.load() != 0
}

/// `N` bytes of the frame at `at`; `None` if the frame ends before.
#[inline(always)]
pub fn view<const N: usize>(ctx: &impl Frame, at: usize) -> Option<&mut [u8; N]> {
    let (data, data_end) = ctx.bounds();
    // The mask changes nothing: it bounds an offset that was kept in a map, of which the verifier knows no bound.
    let start = data + (at & FARTHEST);
    if start + N > data_end {
        return None;
    }
    // SAFETY: the range lies inside the frame (checked just above, and by the verifier again); bytes
    // need no alignment. Two views can overlap, but no stage holds one while it writes through another.
    Some(unsafe { &mut *(start as *mut [u8; N]) })
}
