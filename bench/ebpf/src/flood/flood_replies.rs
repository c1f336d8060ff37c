//! What comes back: counts and drops everything that is addressed to the flood's sources.

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;

use crate::flood_plan;

pub(crate) const SYN_ACK: u32 = 0;
const RST: u32 = 1;
const ACK: u32 = 2;
const OTHER: u32 = 3;
/// SYN-ACKs that were acknowledged.
pub(crate) const ACKNOWLEDGED: u32 = 4;

/// Frames by kind: SYN-ACK, RST, any other segment with ACK, everything else; and what became of the first.
#[btf_map]
static ANSWERS: PerCpuArray<u64, 5> = PerCpuArray::new();

/// Drops and counts frames for sources of the flood; passes the rest.
#[xdp]
pub(crate) fn answers(ctx: XdpContext) -> u32 {
    match count(&ctx) {
        Some(_) => xdp_action::XDP_DROP,
        None => xdp_action::XDP_PASS,
    }
}

/// Counts a frame for a source of the flood and returns its kind.
#[inline(always)]
pub(crate) fn count(ctx: &XdpContext) -> Option<u32> {
    let kind = answer(ctx)?;
    note(kind);
    Some(kind)
}

/// Counts one more of a kind.
#[inline(always)]
pub(crate) fn note(kind: u32) {
    if let Some(count) = ANSWERS.get_ptr_mut(kind) {
        // SAFETY: checked and aligned, and this CPU's own element.
        unsafe { *count += 1 };
    }
}

/// The kind of an answer to the flood; `None` for any other frame.
#[inline(always)]
fn answer(ctx: &XdpContext) -> Option<u32> {
    let ethertype: u16 = load(ctx, 12)?;
    let (protocol, tcp) = match (flood_plan::FAMILY.load(), u16::from_be(ethertype)) {
        (4, 0x0800) => {
            to_sources(ctx, 14 + 16, 2)?;
            let header = usize::from(load::<u8>(ctx, 14)? & 15) * 4;
            (load::<u8>(ctx, 14 + 9)?, 14 + header)
        }
        (6, 0x86dd) => {
            to_sources(ctx, 14 + 24, 8)?;
            (load::<u8>(ctx, 14 + 6)?, 14 + 40)
        }
        _ => return None,
    };
    if protocol != 6 {
        return Some(OTHER);
    }
    // Two bytes, header length and flags: for one byte at a variable offset the verifier loses the bound.
    let Some(offset_and_flags) = load::<u16>(ctx, tcp + 12) else {
        return Some(OTHER);
    };
    Some(match u16::from_be(offset_and_flags) {
        flags if flags & 0x04 != 0 => RST,
        flags if flags & 0x12 == 0x12 => SYN_ACK,
        flags if flags & 0x10 != 0 => ACK,
        _ => OTHER,
    })
}

/// `Some` if the address at `at` is in the prefix that the flood's sources are from.
#[inline(always)]
fn to_sources(ctx: &XdpContext, at: usize, words: usize) -> Option<()> {
    for word in 0..words {
        let fixed = load::<u16>(ctx, at + 2 * word)? & !flood_plan::SOURCE_RANDOM[word].load();
        if fixed != flood_plan::SOURCE[word].load() {
            return None;
        }
    }
    Some(())
}

/// The value at `at`, which must be a multiple of its alignment; `None` if the frame ends before.
#[inline(always)]
fn load<T: Copy>(ctx: &XdpContext, at: usize) -> Option<T> {
    let place = ctx.data() + at;
    if place + size_of::<T>() > ctx.data_end() {
        return None;
    }
    // SAFETY: the whole value is within the frame, and T is one of the integers, at an aligned address.
    Some(unsafe { *(place as *const T) })
}
