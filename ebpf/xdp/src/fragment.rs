//! The first fragment of a segment of a spliced flow is translated like the whole segment: it holds the header, and a change
//! of the header changes the checksum by the same amount. The other fragments hold only data, and the kernel forwards them
//! all. So a server's segment arrives even if a router has fragmented it.
//!
//! What comes from clients is dropped before, unless the service passes fragments.

use crate::cpu_scratch::CpuScratch;
use crate::packet::Kind;
use crate::verdict::{NO_SERVICE, Verdict};
use crate::{flow_lookup, service_lookup, splice};
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::programs::XdpContext;
use synward_core::counters::Counter;
use synward_core::flow::FlowKey;
use synward_core::layout::{Flow, Interface, handoff, side, state};
use synward_core::translate::Direction;

/// Decides about the first fragment of a segment.
#[inline(always)]
pub fn decide_first(ctx: &XdpContext, cpu: &mut CpuScratch, interface: &Interface) -> Verdict {
    if interface.side & side::OUTSIDE != 0 {
        let verdict = service_lookup::decide_unreadable(&cpu.packet.destination, Kind::Fragment);
        if verdict == XDP_DROP {
            return verdict;
        }
    }
    let (packet, memory) = (&cpu.packet, &mut cpu.memory);
    if interface.side & side::OUTSIDE != 0
        && service_lookup::find_endpoint_for(memory, packet.destination, packet.destination_port)
    {
        let key = packet.flow_from_client();
        return translate(ctx, cpu, key, Direction::ToServer);
    }
    if interface.side & side::INSIDE != 0
        && service_lookup::find_endpoint_for(memory, packet.source, packet.source_port)
    {
        let key = packet.flow_from_server();
        return translate(ctx, cpu, key, Direction::ToClient);
    }
    NO_SERVICE
}

#[inline(never)]
fn translate(
    ctx: &XdpContext,
    cpu: &mut CpuScratch,
    key: FlowKey,
    direction: Direction,
) -> Verdict {
    cpu.found.key = key;
    let Some((service, counters)) = service_lookup::policy_and_counters_of(&cpu.memory) else {
        return XDP_PASS;
    };
    if service.handoff != handoff::SPLICE {
        return XDP_PASS;
    }
    let Some((_, flow)) = flow_lookup::find_flow(&cpu.found.key, &mut cpu.found.may_pass) else {
        return XDP_PASS;
    };
    // SAFETY: an element of an array lives as long as the program. Others write it too, each field at once.
    let flow: &mut Flow = unsafe { &mut *flow };
    if flow.state != state::ESTABLISHED && flow.state != state::CLOSING {
        return XDP_PASS;
    }
    let now = cpu.memory.now();
    splice::note(flow, &cpu.packet, direction, now);
    counters.bump(match direction {
        Direction::ToServer => Counter::ToServer,
        Direction::ToClient => Counter::ToClient,
    });
    match splice::translate(ctx, &mut cpu.packet, flow, direction) {
        Some(()) => XDP_PASS,
        None => XDP_DROP,
    }
}
