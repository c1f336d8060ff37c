//! The next hop of a packet, from the kernel's routing table.

use crate::packet::Packet;
use crate::{maps, steered_interface};
use aya_ebpf::bindings::bpf_fib_lookup as FibQuery;
use aya_ebpf::helpers::bpf_fib_lookup;
use aya_ebpf::programs::XdpContext;
use synward_core::layout::NextHop;
use synward_core::wire::Address;
use synward_core::worker_request::Hop;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// `BPF_FIB_LKUP_RET_*` of include/uapi/linux/bpf.h.
const SUCCESS: i64 = 0;
const BLACKHOLE: i64 = 1;
const UNREACHABLE: i64 = 2;
const PROHIBIT: i64 = 3;
const NO_NEIGHBOUR: i64 = 7;
const FRAGMENTATION_NEEDED: i64 = 8;

/// What the kernel's routing says about a packet.
pub enum Route {
    /// The program can send it there.
    NextHop(Hop),
    /// It does not fit through the next link.
    TooBig,
    /// It has no route; the kernel knows which error the sender gets.
    Refused,
    /// The kernel has to find the neighbour, or the device is not steered.
    Kernel,
}

/// Looks up the route of a packet that is to be forwarded.
#[inline(never)]
pub fn look_up_route(ctx: &XdpContext, packet: &Packet) -> Route {
    // SAFETY: plain integers and unions of them, for which zero is a value.
    let mut query: FibQuery = unsafe { core::mem::zeroed() };
    query.family = if packet.v4 { AF_INET } else { AF_INET6 };
    query.l4_protocol = 6;
    query.sport = packet.source_port.to_be();
    query.dport = packet.destination_port.to_be();
    query.ifindex = ctx.ingress_ifindex() as u32;
    query.__bindgen_anon_1.tot_len = packet.length;
    if packet.v4 {
        query.__bindgen_anon_2.tos = packet.class;
        query.__bindgen_anon_3.ipv4_src = packet.source.0[3];
        query.__bindgen_anon_4.ipv4_dst = packet.destination.0[3];
    } else {
        query.__bindgen_anon_3.ipv6_src = packet.source.0;
        query.__bindgen_anon_4.ipv6_dst = packet.destination.0;
    }
    let size = size_of::<FibQuery>() as i32;
    // SAFETY: the query is a live object of the size given.
    match unsafe { bpf_fib_lookup(ctx.ctx.cast(), &mut query, size, 0) } {
        SUCCESS if steered_interface::is_steered(query.ifindex) => Route::NextHop(Hop {
            interface: query.ifindex,
            to: query.dmac,
            from: query.smac,
        }),
        NO_NEIGHBOUR => {
            report_unresolved(&query);
            Route::Kernel
        }
        FRAGMENTATION_NEEDED => Route::TooBig,
        BLACKHOLE | UNREACHABLE | PROHIBIT => Route::Refused,
        _ => Route::Kernel,
    }
}

/// Reports a next hop without hardware address to the control thread. The kernel would resolve it for the packet that
/// passes, but not if its firewall drops that: a stateful one knows nothing of connections that XDP forwards.
#[inline(always)]
fn report_unresolved(query: &FibQuery) {
    if !steered_interface::is_steered(query.ifindex) {
        return;
    }
    // SAFETY: the helper has put the next hop there, of the family that it has set (`bpf_ipv4_fib_lookup`,
    // net/core/filter.c).
    let address = unsafe {
        if query.family == AF_INET {
            Address::v4(query.__bindgen_anon_4.ipv4_dst)
        } else {
            Address(query.__bindgen_anon_4.ipv6_dst)
        }
    };
    let hop = NextHop {
        address,
        interface: query.ifindex,
    };
    if maps::UNRESOLVED.get_ptr_mut(&hop).is_none() {
        // Without room it is reported by the next packet.
        let _ = maps::UNRESOLVED.insert(&hop, &0, 0);
    }
}
