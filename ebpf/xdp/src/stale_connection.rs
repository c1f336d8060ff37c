//! A connection in the way of a proven client's new one. The kernel would have settled that at the SYN, but an edge
//! answered it (`forward`), which cannot see this machine's sockets, or `local` did in a flood, which did not look: the
//! server is in TIME_WAIT, or the client has crashed, come back, and drawn the same port.
//!
//! The old connection gets the RST that its client would send for it (RFC 9293 §3.10.7.4: one that bears exactly the
//! number expected next), and then the client's ACK comes round again and finds the listener. Not for a handshake that
//! has its connection already: an old duplicate of the first ACK changes nothing.
//!
//! TCP sees no segment of the new connection while the old one is there. It might find it gone a moment later, because
//! another CPU has just cleared the way, and would answer a listener's segment without a connection with a RST, which
//! ends the client's.

use crate::frame_view::view;
use crate::packet::Packet;
use crate::packet_context::PacketContext;
use crate::requeue::Round;
use crate::{kernel_socket, replay_check};
use aya_ebpf::bindings::{__sk_buff, BPF_F_INGRESS, tcx_action_base::TCX_DROP};
use aya_ebpf::helpers::{bpf_clone_redirect, bpf_l4_csum_replace, bpf_skb_store_bytes};
use aya_ebpf::programs::TcContext;
use synward_core::counters::{Counter, ServiceCounters};
use synward_core::replay_cache::Event;
use synward_core::wire::tcp::{self, flags};

/// Offsets in the TCP header.
const SEQUENCE: usize = 4;
const OFFSET_AND_FLAGS: usize = 12;
const CHECKSUM: usize = 16;

/// Resets the connection that a segment with a valid cookie meets, and has the segment come again. One that still meets
/// it in its last round is dropped, and the client's next try is looked at anew.
#[inline(never)]
pub fn reset_stale_connection(
    ctx: &TcContext,
    pkt: &mut PacketContext,
    counters: &mut ServiceCounters,
) -> i32 {
    let packet = &pkt.cpu.packet;
    let mut round = Round::of(ctx);
    // What the client sends right behind its ACK has the same numbers: it waits, without a RST of its own. The number
    // that the old connection expects may change between the look and the RST: the one that began looks again.
    let is_first = !replay_check::is_recorded(pkt, Event::StaleReset);
    if (is_first || round.resets())
        && let Some(expected) = kernel_socket::stale_rcv_nxt(
            ctx.skb.skb.cast(),
            &pkt.cpu.found.key,
            packet.sequence,
            packet.acknowledgement,
        )
    {
        if replay_check::record_event(pkt, Event::StaleReset).is_some() {
            counters.bump(Counter::StaleReset);
        }
        round = round.resetting();
        send_reset(ctx, packet, expected);
    }
    round.requeue(ctx).unwrap_or_else(|| {
        if round.resets() {
            replay_check::erase_event(pkt, Event::StaleReset);
        }
        counters.bump(Counter::AssignRefused);
        TCX_DROP
    })
}

/// Sends the kernel a copy of the segment as a RST, if it can, and leaves the segment as it was.
#[inline(always)]
fn send_reset(ctx: &TcContext, packet: &Packet, expected: u32) {
    let l4 = packet.l4;
    let Some(header) = view::<{ tcp::LENGTH }>(ctx, l4) else {
        return;
    };
    let word = |at: usize| {
        u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let (sequence, control) = (word(SEQUENCE), word(OFFSET_AND_FLAGS));
    let reset = {
        let [offset, _, high, low] = control.to_ne_bytes();
        u32::from_ne_bytes([offset, flags::RST, high, low])
    };
    // An end of options (RFC 9293 §3.2) in front of the timestamps, of which nobody knows what the old connection's
    // would be.
    let options = if packet.options == 0 {
        None
    } else {
        let Some(first) = view::<4>(ctx, l4 + tcp::LENGTH) else {
            return;
        };
        Some(u32::from_ne_bytes(*first))
    };
    let skb = ctx.skb.skb;
    let change = |back: bool| {
        let put = |at: usize, was: u32, is: u32| {
            let (was, is) = if back { (is, was) } else { (was, is) };
            replace(skb, l4, at, was, is)
        };
        put(SEQUENCE, sequence, expected.to_be())
            && put(OFFSET_AND_FLAGS, control, reset)
            && options.is_none_or(|options| put(tcp::LENGTH, options, 0))
    };
    if change(false) {
        // SAFETY: the context is the kernel's own. All views into the frame have ended above.
        unsafe { bpf_clone_redirect(skb, (*skb).ifindex, BPF_F_INGRESS.into()) };
    }
    change(true);
}

/// Writes a word of the TCP header and mends the checksum, also one that a device was to compute.
#[inline(always)]
fn replace(skb: *mut __sk_buff, l4: usize, at: usize, was: u32, is: u32) -> bool {
    let (place, checksum) = ((l4 + at) as u32, (l4 + CHECKSUM) as u32);
    // SAFETY: the word is live and of that size; the helpers check the offsets.
    unsafe {
        bpf_skb_store_bytes(skb, place, (&raw const is).cast(), 4, 0) == 0
            && bpf_l4_csum_replace(skb, checksum, was.into(), is.into(), 4) == 0
    }
}
