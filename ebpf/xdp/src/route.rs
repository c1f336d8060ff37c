//! The next hop of a packet, from the kernel's routing table.

use crate::cpu_scratch::CpuScratch;
use crate::packet::Packet;
use crate::{maps, steered_interface};
use aya_ebpf::bindings::bpf_fib_lookup as FibQuery;
use aya_ebpf::helpers::bpf_fib_lookup;
use aya_ebpf::programs::XdpContext;
use synward_core::layout::NextHop;
use synward_core::wire::Address;
use synward_core::wire::ethernet::Mac;
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
pub fn look_up_route(ctx: &XdpContext, cpu: &mut CpuScratch) -> Route {
    let (packet, query) = (&cpu.packet, &mut cpu.fib_query);
    fill(query, ctx, packet, &packet.source, &packet.destination);
    query.__bindgen_anon_1.tot_len = packet.length;
    if packet.v4 {
        query.__bindgen_anon_2.tos = packet.class;
    }
    match ask(ctx, query) {
        SUCCESS if steered_interface::is_steered(query.ifindex) => Route::NextHop(Hop {
            interface: query.ifindex,
            to: query.dmac,
            from: query.smac,
        }),
        NO_NEIGHBOUR => {
            report_unresolved(query);
            Route::Kernel
        }
        FRAGMENTATION_NEEDED => Route::TooBig,
        BLACKHOLE | UNREACHABLE | PROHIBIT => Route::Refused,
        _ => Route::Kernel,
    }
}

/// How packets to one end of a connection leave. All fields are always set: an enumeration with data would leave registers
/// that nobody has written, which the verifier refuses.
pub struct Reach {
    pub by: By,
    /// The MAC of the neighbour.
    pub mac: Mac,
    /// Whether the neighbour is a router, and not the end itself.
    pub is_router: bool,
}

impl Reach {
    /// Whether packets leave by the neighbour with this MAC.
    #[inline(always)]
    pub fn is_neighbour(&self, mac: Mac) -> bool {
        self.by == By::Neighbour && self.mac == mac
    }
}

/// What packets to one end of a connection leave by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// A neighbour whose MAC is known.
    Neighbour,
    /// A neighbour whose MAC is not known yet.
    UnknownNeighbour,
    /// Not by this machine, as far as its routes say.
    Elsewhere,
}

/// How packets to the sender of this one leave.
#[inline(always)]
pub fn look_up_sender(ctx: &XdpContext, cpu: &mut CpuScratch) -> Reach {
    let packet = &cpu.packet;
    look_up_end(
        ctx,
        packet,
        &mut cpu.fib_query,
        &packet.destination,
        &packet.source,
    )
}

/// How this packet leaves.
#[inline(always)]
pub fn look_up_receiver(ctx: &XdpContext, cpu: &mut CpuScratch) -> Reach {
    let packet = &cpu.packet;
    look_up_end(
        ctx,
        packet,
        &mut cpu.fib_query,
        &packet.source,
        &packet.destination,
    )
}

#[inline(always)]
fn look_up_end(
    ctx: &XdpContext,
    packet: &Packet,
    query: &mut FibQuery,
    from: &Address,
    to: &Address,
) -> Reach {
    fill(query, ctx, packet, from, to);
    let by = match ask(ctx, query) {
        SUCCESS => By::Neighbour,
        NO_NEIGHBOUR => {
            report_unresolved(query);
            By::UnknownNeighbour
        }
        _ => By::Elsewhere,
    };
    Reach {
        by,
        mac: query.dmac,
        is_router: next_hop(query) != *to,
    }
}

/// Makes the query for a packet of any length. What the helper only writes (MACs, VLAN) stays as the last query left it.
#[inline(always)]
fn fill(query: &mut FibQuery, ctx: &XdpContext, packet: &Packet, from: &Address, to: &Address) {
    query.l4_protocol = 6;
    query.__bindgen_anon_1.tot_len = 0;
    query.__bindgen_anon_2.flowinfo = 0;
    query.sport = packet.source_port.to_be();
    query.dport = packet.destination_port.to_be();
    query.ifindex = ctx.ingress_ifindex() as u32;
    if packet.v4 {
        query.family = AF_INET;
        query.__bindgen_anon_3.ipv4_src = from.0[3];
        query.__bindgen_anon_4.ipv4_dst = to.0[3];
    } else {
        query.family = AF_INET6;
        query.__bindgen_anon_3.ipv6_src = from.0;
        query.__bindgen_anon_4.ipv6_dst = to.0;
    }
}

#[inline(always)]
fn ask(ctx: &XdpContext, query: &mut FibQuery) -> i64 {
    // SAFETY: the query is a live object of the size given.
    unsafe { bpf_fib_lookup(ctx.ctx.cast(), query, size_of::<FibQuery>() as i32, 0) }
}

/// The next hop that the helper has put into the query, of the family that it has set (`bpf_ipv4_fib_lookup`,
/// net/core/filter.c).
#[inline(always)]
fn next_hop(query: &FibQuery) -> Address {
    // SAFETY: plain integers; each is initialised for each family.
    unsafe {
        if query.family == AF_INET {
            Address::v4(query.__bindgen_anon_4.ipv4_dst)
        } else {
            Address(query.__bindgen_anon_4.ipv6_dst)
        }
    }
}

/// Reports a next hop without hardware address to the control thread. The kernel would resolve it for the packet that
/// passes, but not if its firewall drops that: a stateful one knows nothing of connections that XDP forwards.
#[inline(always)]
fn report_unresolved(query: &FibQuery) {
    if !steered_interface::is_steered(query.ifindex) {
        return;
    }
    let hop = NextHop {
        address: next_hop(query),
        interface: query.ifindex,
    };
    if maps::UNRESOLVED.get_ptr_mut(&hop).is_none() {
        // Without room it is reported by the next packet.
        let _ = maps::UNRESOLVED.insert(&hop, &0, 0);
    }
}
