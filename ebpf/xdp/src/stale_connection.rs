//! Resets the stale connection that has the addresses and ports of a validated client: the server is in TIME_WAIT, or the
//! client has crashed, come back, and drawn the same port. The kernel would have handled that at the SYN. But the SYN was
//! answered by an edge (handoff `forward`), which cannot see this machine's sockets, or here in a flood, without a look-up
//! (handoff `local`).
//!
//! The stale connection gets the RST that its client would send (RFC 9293 §3.10.7.4: with exactly the sequence number
//! expected next). Then the client's ACK is requeued and finds the listener. A handshake that has had its connection resets
//! nothing: an old duplicate of its ACK changes nothing.
//!
//! TCP sees no segment of the new connection while the stale one exists. Another CPU may reset the stale one at any
//! moment; then TCP would find only the listener and answer the segment with a RST, which ends the client's connection.

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

/// Resets the connection that a segment with a valid cookie meets, and requeues the segment. A segment that still meets a
/// connection in its last round is dropped; the client's next attempt starts over.
#[inline(never)]
pub fn reset_stale_connection(
    ctx: &TcContext,
    pkt: &mut PacketContext,
    counters: &mut ServiceCounters,
) -> i32 {
    let packet = &pkt.cpu.packet;
    let mut round = Round::of(ctx);
    // Data right behind the client's ACK has the same sequence number: it waits, without a RST of its own. The number that
    // the stale connection expects may change between look-up and RST: the segment that sent the first RST looks it up again.
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

/// Sends the kernel a copy of the segment as a RST, if that works, and leaves the segment unchanged.
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
    // End of options (RFC 9293 §3.2) instead of the timestamps: those of the stale connection are not known.
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

/// Writes a word of the TCP header and updates the checksum, also one that is left to the device.
#[inline(always)]
fn replace(skb: *mut __sk_buff, l4: usize, at: usize, was: u32, is: u32) -> bool {
    let (place, checksum) = ((l4 + at) as u32, (l4 + CHECKSUM) as u32);
    // SAFETY: the word is live and of that size; the helpers check the offsets.
    unsafe {
        bpf_skb_store_bytes(skb, place, (&raw const is).cast(), 4, 0) == 0
            && bpf_l4_csum_replace(skb, checksum, was.into(), is.into(), 4) == 0
    }
}
