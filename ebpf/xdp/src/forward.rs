//! Forwards to the next hop, as a router does.

use crate::cpu_scratch::CpuScratch;
use crate::frame_view::{has_frags, view};
use crate::packet::Packet;
use crate::route::{self, Route};
use crate::steered_interface;
use crate::verdict::Verdict;
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::helpers::bpf_redirect;
use aya_ebpf::programs::XdpContext;
use synward_core::wire::ethernet::{self, Ethernet};
use synward_core::wire::ipv4::Ipv4;
use synward_core::wire::ipv6::Ipv6;
use synward_core::worker_request::Hop;

/// Forwards a segment unchanged. The kernel forwards it if more than a next hop is needed: an ICMP error, fragments, an
/// unknown neighbour, a VLAN tag, a device that is not steered.
#[inline(never)]
pub fn forward_unchanged(ctx: &XdpContext, cpu: &mut CpuScratch) -> Verdict {
    if cpu.packet.ttl <= 1 {
        return XDP_PASS;
    }
    match route::look_up_route(ctx, cpu) {
        Route::NextHop(hop) if cpu.packet.l3 == ethernet::LENGTH => {
            send_to_hop(ctx, &cpu.packet, &hop)
        }
        _ => XDP_PASS,
    }
}

/// Sends an untagged frame to its next hop; its hop count was checked before. One that is cut short passes: the kernel drops
/// and counts it. So does one in several buffers that the next interface does not take.
#[inline(always)]
pub fn send_to_hop(ctx: &XdpContext, packet: &Packet, hop: &Hop) -> Verdict {
    if !packet.is_linear(ctx) && !leaves_in_buffers(ctx, packet, hop.interface) {
        return XDP_PASS;
    }
    if count_hop(ctx, packet).is_none() {
        return XDP_DROP;
    }
    let Some(eth) = view::<{ ethernet::LENGTH }>(ctx, 0) else {
        return XDP_DROP;
    };
    Ethernet(eth).set_stations(hop.to, hop.from);
    if hop.interface == ctx.ingress_ifindex() as u32 {
        return XDP_TX;
    }
    // SAFETY: the helper takes two integers.
    unsafe { bpf_redirect(hop.interface, 0) as Verdict }
}

/// Whether a packet that the first buffer of its frame does not hold can leave through an interface. It passes if it is cut
/// short, or if the interface does not transmit what is redirected to it in several buffers: then the kernel forwards it.
#[inline(never)]
fn leaves_in_buffers(ctx: &XdpContext, packet: &Packet, interface: u32) -> bool {
    has_frags()
        && packet.is_whole(ctx)
        && (interface == ctx.ingress_ifindex() as u32 || steered_interface::takes_frags(interface))
}

#[inline(always)]
fn count_hop(ctx: &XdpContext, packet: &Packet) -> Option<()> {
    if packet.v4 {
        Ipv4(view::<20>(ctx, packet.l3)?).decrement_ttl();
    } else {
        Ipv6(view::<40>(ctx, packet.l3)?).decrement_hop_limit();
    }
    Some(())
}
