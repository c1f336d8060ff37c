//! Prepares the answer to SYNs for the fast path; [`prepared`](crate::prepared) says what that is.

use crate::prepared::{Prepared, SLOTS, Validity, usable};
use crate::{
    absence, address_counts, capture, maps, plain_acks, service_lookup, sources, steered_interface,
    worker,
};
use aya_ebpf::helpers::bpf_jiffies64;
use aya_ebpf::programs::XdpContext;
use synward_core::flow::{FlowKey, ServerHash};
use synward_core::layout::{cookies, handoff, key_slot, mode, plain_cookies, policy_slot, side};
use synward_core::reply_budget::Receiver;
use synward_core::wire::Address;

/// What is prepared for a SYN of this flow; `None` if the fast path does not answer it.
#[inline(always)]
pub fn find_prepared(ctx: &XdpContext, flow: &FlowKey) -> Option<&'static mut Prepared> {
    let from = [ctx.ingress_ifindex() as u32, ctx.rx_queue_index()];
    let to = [flow.server.0[3], flow.server_port().into()];
    // The highest byte is the address's last or first, depending on the byte order; either spreads endpoints.
    let slot = (to[0] >> 24 ^ to[1]) % SLOTS;
    // SAFETY: per-CPU and never freed; this program runs to its end on this CPU before another run of it starts here.
    let prepared = unsafe { &mut *maps::PREPARED.get_ptr_mut(slot)? };
    let validity = Validity {
        // SAFETY: a helper that takes nothing and reads a clock; the verifier inlines it.
        jiffy: unsafe { bpf_jiffies64() },
        from,
        to,
        generation: service_lookup::generation()?.into(),
    };
    if prepared.validity != validity {
        let before = prepared.validity.jiffy;
        prepared.validity = validity;
        prepared.usable = if prepare(ctx, prepared, before) {
            prepared.usable
        } else {
            usable::NO
        };
        if prepared.usable != usable::NO && prepared.sampled != 0 {
            let source = Receiver::new(&flow.client, prepared.service);
            sources::sample(source, prepared.sampled);
        }
    }
    (prepared.usable != usable::NO).then_some(prepared)
}

/// Fills in the answer; `false` if the fast path must not give one. `before`: the jiffy of the answer that is there.
#[inline(never)]
fn prepare(ctx: &XdpContext, prepared: &mut Prepared, before: u64) -> bool {
    address_counts::add_prepared(prepared, before);
    let Some(scratch) = maps::steer_scratch() else {
        return false;
    };
    let Some(interface) =
        steered_interface::find_steered(prepared.validity.from[0], &mut scratch.found.slot)
    else {
        return false;
    };
    let mut endpoint = service_lookup::NO_ENDPOINT;
    let server = Address::v4(prepared.validity.to[0]);
    if interface.side & side::OUTSIDE == 0
        || !service_lookup::find_endpoint(&server, prepared.validity.to[1], &mut endpoint)
    {
        return false;
    }
    let generation = prepared.validity.generation as u32;
    let Some(service) = maps::SERVICES.get(policy_slot(endpoint.policy, generation)) else {
        return false;
    };
    let is_usual = service.mode == mode::ALWAYS
        && service.draining == 0
        && !(service.handoff == handoff::LOCAL && service.cookies & cookies::KERNEL != 0);
    let (Some(clock), Some(globals)) = (maps::CLOCK.get(0), maps::GLOBALS.get(0)) else {
        return false;
    };
    let Some(own) = maps::SOURCE_FILTER.get(0) else {
        return false;
    };
    prepared.impossible = *own;
    prepared.impossible.add(&server);
    prepared.hash = ServerHash::new(&globals.table_key, server);
    prepared.bucket_mask = globals.bucket_mask;
    prepared.now = scratch.memory.now();
    prepared.epoch = clock.epoch_at(prepared.now);
    let Some(keys) = maps::KEYS.get(key_slot(endpoint.service, prepared.epoch)) else {
        return false;
    };
    prepared.key = *keys.issuing_key(service);
    prepared.profile = *endpoint.profile(prepared.epoch);
    prepared.sampled = match service.under_attack {
        0 => 0,
        // Those of the jiffy that was prepared before.
        _ if prepared.policy == endpoint.policy => (prepared.syns as u32).max(1),
        _ => 1,
    };
    prepared.service = endpoint.service;
    prepared.policy = endpoint.policy;
    prepared.watched = service.watched.into();
    prepared.slot = interface.slot;
    prepared.handoff = service.handoff;
    prepared.by_worker = worker::answers_syns(ctx, interface).into();
    prepared.usable = if service.listed == 0 {
        usable::YES
    } else {
        usable::UNLISTED
    };
    prepared.listens = 0;
    prepared.syns = 0;
    prepared.replies = 0;
    prepared.near_budget = scratch.memory.is_near_budget().into();
    // The general path notes or refuses SYNs whose answer has no timestamps.
    let is_plain = !prepared.profile.timestamps()
        && (service.plain_cookies == plain_cookies::REFUSE
            || plain_acks::are_syns_noted(endpoint.service, service, prepared.now));
    !capture::is_on()
        && !absence::is_noticed(ctx, service, prepared.now)
        && is_usual
        && !is_plain
        && keys.epoch == prepared.epoch
}
