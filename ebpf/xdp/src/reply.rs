//! Sends a reply back to the sender, in the frame that it sent.

use crate::frame_view::{Frame as _, has_frags, view, whole_length};
use crate::packet::Packet;
use crate::verdict::Verdict;
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_TX};
use aya_ebpf::helpers::bpf_xdp_adjust_tail;
use aya_ebpf::programs::XdpContext;
use synward_core::counters::{Counter, ServiceCounters};
use synward_core::generated_segment::{MAX_OPTION_WORDS, Segment};
use synward_core::wire::ethernet::{self, Ethernet};
use synward_core::wire::tcp;

/// Overwrites the frame with a reply and sends it back; `counter` counts that.
#[inline(always)]
pub fn send_reply(
    ctx: &XdpContext,
    packet: &Packet,
    reply: &Segment,
    counters: &mut ServiceCounters,
    counter: Counter,
) -> Verdict {
    if write_reply(ctx, packet, reply).is_none() {
        counters.bump(Counter::DropResize);
        return XDP_DROP;
    }
    counters.bump(counter);
    XDP_TX
}

/// Overwrites the frame with a reply to the packet in it; `None` if the frame cannot get the reply's length.
#[inline(always)]
pub fn write_reply(ctx: &XdpContext, packet: &Packet, reply: &Segment) -> Option<()> {
    let l4 = packet.l3 + if packet.v4 { 20 } else { 40 };
    let wanted = l4 + reply.header_length();
    let (start, end) = ctx.bounds();
    // Most stacks' SYNs have the length of their answer already.
    if (end - start != wanted || has_frags() && !packet.is_linear(ctx)) && !resize(ctx, wanted) {
        return None;
    }
    emit(ctx, packet, reply, l4)
}

/// Gives a frame this length. One that becomes shorter loses the buffers that it does not need.
#[inline(always)]
pub fn resize(ctx: &XdpContext, wanted: usize) -> bool {
    let grow = wanted as i32 - whole_length(ctx) as i32;
    // SAFETY: the context is the kernel's own; all views into the frame are made anew afterwards.
    unsafe { bpf_xdp_adjust_tail(ctx.ctx, grow) == 0 }
}

#[inline(always)]
fn emit(ctx: &XdpContext, packet: &Packet, segment: &Segment, l4: usize) -> Option<()> {
    Ethernet(view::<{ ethernet::LENGTH }>(ctx, 0)?).turn_around();
    let header = view::<{ tcp::LENGTH }>(ctx, l4)?;
    if packet.v4 {
        segment.emit_v4(view::<20>(ctx, packet.l3)?, header);
    } else {
        segment.emit_v6(view::<40>(ctx, packet.l3)?, header);
    }
    for word in 0..MAX_OPTION_WORDS {
        if word >= segment.option_words() {
            break;
        }
        let bytes = view::<4>(ctx, l4 + tcp::LENGTH + word * 4)?;
        *bytes = segment.options[word].to_ne_bytes();
    }
    Some(())
}
