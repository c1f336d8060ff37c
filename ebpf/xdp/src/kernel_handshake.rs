//! SYNs that only the server's kernel can answer.
//!
//! - A small MSS: `bpf_sk_assign_tcp_reqsk` (net/core/filter.c) refuses an MSS below 536 over IPv4 and 1220 over IPv6, and a
//!   client must not get segments above its MSS (RFC 9293 §3.7.1).
//! - A signature (TCP-MD5, TCP-AO): the SYN-ACK needs one too, under a key that only the listener has.
//!
//! Such a SYN goes to the kernel on this machine for `local`, behind the edge for `forward`. The kernel keeps state for it. A
//! flood may not do the same, so each CPU leaves only a few of them to the kernel, and none while more than half of the listener's
//! SYN queue is in use. If that were full, the kernel would answer with cookies of its own: the ACKs that carry them do not pass,
//! and neither would those of clients that come back to a TIME_WAIT. Further signed ones are dropped, and their clients try again.
//! Further ones with a small MSS are answered here, and their connections have the least MSS that the kernel takes, which is what
//! the kernel's own cookies promise in a flood (`msstab`, net/ipv4/syncookies.c). `splice` obeys any MSS, and drops signed SYNs:
//! the second connection could not be signed.

use crate::frame_view::view;
use crate::kernel_socket;
use crate::packet_context::PacketContext;
use crate::syn;
use crate::verdict::{FORWARDED, NEEDS_COOKIE, Verdict};
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::programs::XdpContext;
use synward_core::client_options::{DEFAULT_MSS_V4, DEFAULT_MSS_V6};
use synward_core::counters::{Counter, ServiceCounters};
use synward_core::layout::handoff;
use synward_core::wire::tcp;
use synward_core::wire::tcp_options::leads_with_mss;

/// The fewest bytes of options that hold a signature: TCP-AO with a MAC of 96 bits (RFC 5926 §3.2).
const SHORTEST_SIGNATURE: usize = 16;

/// Whether the kernel of this machine has enough half-open connections to the SYN's service. An edge does not see those of its
/// server, whose own machine decides.
#[inline(always)]
fn is_queue_taken(ctx: &XdpContext, pkt: &PacketContext) -> bool {
    pkt.service.handoff == handoff::LOCAL
        && kernel_socket::is_half_full(ctx.ctx.cast(), &pkt.cpu.found.key)
}

/// Decides about a SYN that only the server's kernel can answer; [`NEEDS_COOKIE`] for all others.
#[inline(never)]
pub fn decide_kernel_only(
    ctx: &XdpContext,
    pkt: &mut PacketContext,
    counters: &mut ServiceCounters,
) -> Verdict {
    let packet = &pkt.cpu.packet;
    let least = match (pkt.service.handoff, packet.v4) {
        (handoff::SPLICE, _) => 0,
        (_, true) => DEFAULT_MSS_V4,
        (_, false) => DEFAULT_MSS_V6,
    };
    pkt.cpu.found.options_read = false;
    // All common stacks send the MSS first.
    if packet.options < SHORTEST_SIGNATURE
        && (packet.options == 0
            || least == 0
            || view::<4>(ctx, packet.l4 + tcp::LENGTH)
                .is_some_and(|first| leads_with_mss(first, least)))
    {
        return NEEDS_COOKIE;
    }
    pkt.cpu.packet.read_options(ctx);
    pkt.cpu.found.options_read = true;
    let options = &pkt.cpu.packet.walked.found;
    if options.is_signed() {
        if pkt.service.handoff == handoff::SPLICE
            || !pkt.cpu.memory.may_leave_signed()
            || is_queue_taken(ctx, pkt)
        {
            counters.bump(Counter::DropSigned);
            return XDP_DROP;
        }
    } else if options.mss().is_some_and(|mss| mss < least) {
        if !pkt.cpu.memory.may_leave_small() || is_queue_taken(ctx, pkt) {
            counters.bump(Counter::SmallMss);
            return NEEDS_COOKIE;
        }
    } else {
        return NEEDS_COOKIE;
    }
    if pkt.service.handoff == handoff::FORWARD {
        counters.bump(Counter::Forwarded);
        return FORWARDED;
    }
    syn::note_passed(pkt);
    counters.bump(Counter::Passed);
    XDP_PASS
}
