//! What a CPU has prepared for the plain SYNs of a tick: all of an answer that does not depend on who asks.
//!
//! Made anew in every tick (1 to 10 ms), so that another epoch or key is seen that much later at most, and at once when an
//! endpoint or a service changes. A flood that alternates between endpoints nearly always finds each of them prepared.

use crate::{maps, service_lookup, steered_interface, syn, time};
use aya_ebpf::helpers::bpf_jiffies64;
use aya_ebpf::programs::XdpContext;
use synward_core::cookie::Key;
use synward_core::flow::{FlowKey, Place, ServerHash};
use synward_core::layout::{Profile, cookies, handoff, key_slot, mode, side};
use synward_core::wire::Address;

/// At most so many endpoints are prepared at a time. A power of two.
pub const SLOTS: u32 = 16;

/// The answer to SYNs over IPv4 that come in by one queue, to one endpoint, in one tick.
#[repr(C)]
pub struct Prepared {
    /// Which tick, counted by the kernel.
    tick: u64,
    /// The interface's index and the queue.
    from: [u32; 2],
    /// The server's address, as it stands in the packet, and its port.
    to: [u32; 2],
    /// `Globals::generation`.
    since: u32,
    /// 0: something speaks against an answer at one go.
    is_usable: u8,
    /// Whose it is afterwards (`layout::handoff`).
    pub handoff: u8,
    /// 1: the queue's worker answers.
    pub by_worker: u8,
    /// 1: a listener of this machine with room was found in this tick.
    pub listens: u8,
    /// What places its flows in the table, and the table's buckets less one.
    hash: ServerHash,
    bucket_mask: u32,
    /// What the server does.
    pub profile: Profile,
    /// What the cookie is made with.
    pub key: Key,
    pub epoch: u64,
    /// Index of the service.
    pub service: u32,
    /// The slot of the interface.
    pub slot: u32,
    /// Coarse clock, ns.
    pub now: u64,
}

impl Prepared {
    /// The bucket of a flow to the server.
    #[inline(always)]
    pub fn bucket(&self, flow: &FlowKey) -> u32 {
        Place::of(self.hash.flow_hash(flow), self.bucket_mask).bucket
    }
}

/// What is prepared for a SYN, if it can be answered at one go.
#[inline(always)]
pub fn find_prepared(ctx: &XdpContext, flow: &FlowKey) -> Option<&'static mut Prepared> {
    let from = [ctx.ingress_ifindex() as u32, ctx.rx_queue_index()];
    let to = [flow.server.0[3], flow.server_port().into()];
    // The last byte of the address is the highest here, or the first one; either will do.
    let slot = (to[0] >> 24 ^ to[1]) % SLOTS;
    // SAFETY: per-CPU and never freed; this program runs to its end on this CPU before another run of it starts here.
    let prepared = unsafe { &mut *maps::PREPARED.get_ptr_mut(slot)? };
    // SAFETY: a helper that takes nothing and reads a clock; the verifier loads it in slot.
    let tick = unsafe { bpf_jiffies64() };
    let since = service_lookup::generation()?;
    if prepared.tick != tick
        || prepared.from != from
        || prepared.to != to
        || prepared.since != since
    {
        (prepared.tick, prepared.from, prepared.to, prepared.since) = (tick, from, to, since);
        prepared.is_usable = prepare(ctx, prepared).into();
    }
    (prepared.is_usable != 0).then_some(prepared)
}

/// Makes it prepared, if nothing speaks against an answer at one go.
#[inline(never)]
fn prepare(ctx: &XdpContext, prepared: &mut Prepared) -> bool {
    let Some(packet) = maps::packet() else {
        return false;
    };
    let Some(interface) = steered_interface::find_steered(prepared.from[0], packet) else {
        return false;
    };
    let mut endpoint = service_lookup::NO_ENDPOINT;
    let server = Address::v4(prepared.to[0]);
    if interface.side & side::OUTSIDE == 0
        || !service_lookup::find_endpoint(&server, prepared.to[1], &mut endpoint)
    {
        return false;
    }
    let Some(service) = maps::SERVICES.get(endpoint.service) else {
        return false;
    };
    let is_usual = service.mode == mode::ALWAYS
        && service.listed == 0
        && !(service.handoff == handoff::LOCAL && service.cookies & cookies::KERNEL != 0);
    let (Some(clock), Some(globals)) = (maps::CLOCK.get(0), maps::GLOBALS.get(0)) else {
        return false;
    };
    prepared.hash = ServerHash::new(&globals.table_key, server);
    prepared.bucket_mask = globals.bucket_mask;
    prepared.now = time::now(packet);
    prepared.epoch = clock.epoch_at(prepared.now);
    let Some(keys) = maps::KEYS.get(key_slot(endpoint.service, prepared.epoch)) else {
        return false;
    };
    prepared.key = keys.keys[0];
    prepared.profile = *endpoint.profile(prepared.epoch);
    prepared.service = endpoint.service;
    prepared.slot = interface.slot;
    prepared.handoff = service.handoff;
    prepared.by_worker = syn::is_workers_queue(ctx, interface).into();
    prepared.listens = 0;
    is_usual && keys.epoch == prepared.epoch
}
