//! An ACK without a flow: the last of a handshake if it carries a valid cookie.

use crate::frame_view::{Frame, view};
use crate::packet_context::PacketContext;
use crate::plain_acks::{self, Admission};
use crate::route::{self, Route};
use crate::verdict::{
    BEHIND_ACK, EXPIRED_COOKIE, INVALID_COOKIE, NO_WORKER, OVER_SHARE, REFUSED_COOKIE,
    REPLAYED_COOKIE, UNCHECKED_COOKIE, VALID_COOKIE, Verdict,
};
use crate::{
    address_counts, assignments, behind_ack, maps, replay_check, reply_budget, verified_once,
    waiting_clients, worker,
};
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_REDIRECT};
use aya_ebpf::programs::XdpContext;
use synward_core::address_counts::Counted;
use synward_core::cookie::{AckFields, Age};
use synward_core::counters::{Counter, ServiceCounters};
use synward_core::layout::{MAX_SECRETS, handoff, key_slot};
use synward_core::replay_cache::Event;
use synward_core::waiting_client::WaitingFor;
use synward_core::wire::tcp::{self, Tcp};
use synward_core::worker_request::{Hop, Request};

/// Verifies the cookie before a worker or the kernel sees the ACK. The program at TC makes the connection of a local service
/// ([`assign`](crate::assign)). Its stages are called one after another, so that their stack frames do not add up.
#[inline(always)]
pub fn verify_cookie(
    ctx: &XdpContext,
    pkt: &mut PacketContext,
    counters: &mut ServiceCounters,
) -> Verdict {
    read_fields(ctx, pkt);
    // A segment right behind a valid ACK does not count against its sender.
    let is_behind = behind_ack::is_behind(pkt);
    match check_within_limit(pkt, is_behind) {
        VALID_COOKIE => {
            counters.bump(Counter::CookieValid);
            address_counts::count(pkt, Counted::Proven);
            reply_budget::note_proven(pkt);
        }
        EXPIRED_COOKIE => {
            counters.bump(Counter::CookieExpired);
            return EXPIRED_COOKIE;
        }
        INVALID_COOKIE if is_behind => return BEHIND_ACK,
        INVALID_COOKIE => {
            counters.bump(Counter::CookieInvalid);
            address_counts::count(pkt, Counted::BadAck);
            return INVALID_COOKIE;
        }
        // Unchecked or refused.
        verdict => return verdict,
    }
    if pkt.service.handoff != handoff::LOCAL {
        return if replay_check::is_recorded(pkt, Event::Connected) {
            REPLAYED_COOKIE
        } else {
            VALID_COOKIE
        };
    }
    // No socket owns the segment, so the connection of a recorded handshake is over. Or another CPU is making it right now,
    // and this is the client's first data or its FIN right behind its ACK: the program at TC waits for that.
    let is_first = pkt.cpu.packet.payload() == 0 && pkt.cpu.packet.flags & tcp::flags::FIN == 0;
    if replay_check::is_recorded(pkt, Event::Connected)
        && (is_first || !assignments::is_recent(pkt))
    {
        REPLAYED_COOKIE
    } else {
        behind_ack::remember(pkt);
        XDP_PASS
    }
}

/// Requests a worker to open the connection of a validated client. Without a worker the client waits for one, and so does a
/// client that has used up its share of the worker.
#[inline(never)]
pub fn request_open(
    ctx: &XdpContext,
    pkt: &mut PacketContext,
    counters: &mut ServiceCounters,
) -> Verdict {
    let hop = match route::look_up_route(ctx, pkt.cpu) {
        Route::NextHop(hop) => hop,
        _ => Hop::default(),
    };
    let request = open_request(pkt, hop);
    let Some(header) = view::<{ tcp::LENGTH }>(ctx, pkt.cpu.packet.l4) else {
        return XDP_DROP;
    };
    pkt.cpu.found.client_window = Tcp(&*header).window();
    let verdict = worker::try_request(ctx, pkt, counters, request);
    waiting_clients::note(pkt);
    match verdict {
        NO_WORKER if waiting_clients::keep(pkt, WaitingFor::Worker) => {
            counters.bump(Counter::Waiting);
            XDP_DROP
        }
        OVER_SHARE if waiting_clients::keep(pkt, WaitingFor::Share) => {
            counters.bump(Counter::Waiting);
            // The worker is there: what comes right behind says nothing against the client.
            behind_ack::remember(pkt);
            XDP_DROP
        }
        XDP_REDIRECT => {
            waiting_clients::keep_handed_over(pkt);
            behind_ack::remember(pkt);
            XDP_REDIRECT
        }
        verdict => worker::drop_without_worker(verdict, counters),
    }
}

/// The request to the worker for a segment with a valid cookie.
#[inline(always)]
fn open_request(pkt: &PacketContext, hop: Hop) -> Request {
    Request::Open {
        options: pkt.cpu.found.validated_options,
        offered: pkt.cpu.found.offered,
        hop,
    }
}

/// Whether a segment without a flow is a RST with the numbers of a handshake's ACK, as health checks send it: the worker may not
/// have seen that ACK yet, which may have come to another CPU. A wrong cookie is worth nothing here, so the limit on plain ones
/// does not count it.
#[inline(never)]
pub fn aborts_opening(ctx: &XdpContext, pkt: &mut PacketContext) -> bool {
    if pkt.service.handoff != handoff::SPLICE
        || pkt.cpu.packet.flags & (tcp::flags::ACK | tcp::flags::RST | tcp::flags::SYN)
            != tcp::flags::ACK | tcp::flags::RST
    {
        return false;
    }
    read_fields(ctx, pkt);
    check_within_limit(pkt, true) == VALID_COOKIE
        && !replay_check::is_recorded(pkt, Event::Connected)
}

/// Hands that RST to the worker. The ring keeps the order, so the worker has the opening by then. A client that waits for a
/// worker waits no longer.
#[inline(never)]
pub fn request_abort(
    ctx: &XdpContext,
    pkt: &mut PacketContext,
    counters: &mut ServiceCounters,
) -> Verdict {
    let request = open_request(pkt, Hop::default());
    let verdict = worker::try_request(ctx, pkt, counters, request);
    waiting_clients::forget(pkt);
    worker::drop_without_worker(verdict, counters)
}

/// Whether a segment of a closing flow is the ACK of a new handshake on the same addresses and ports, with a valid cookie.
/// That of a handshake that has had its connection is only an old duplicate. `is_in_window`: its numbers are those of the old
/// connection. Such ACKs are many if the server repeats its last data, and are normal: the limit on
/// wrong cookies counts them apart.
#[inline(never)]
pub fn starts_new_connection(
    ctx: &XdpContext,
    pkt: &mut PacketContext,
    is_in_window: bool,
) -> bool {
    if pkt.cpu.packet.flags & (tcp::flags::ACK | tcp::flags::RST | tcp::flags::SYN)
        != tcp::flags::ACK
    {
        return false;
    }
    read_fields(ctx, pkt);
    pkt.cpu.found.is_in_window = is_in_window;
    let check = check_within_limit(pkt, false);
    pkt.cpu.found.is_in_window = false;
    check == VALID_COOKIE && !replay_check::is_recorded(pkt, Event::Connected)
}

/// Reads the fields of an ACK that hold a cookie.
#[inline(never)]
pub fn read_fields(ctx: &impl Frame, pkt: &mut PacketContext) {
    let packet = &mut pkt.cpu.packet;
    let times = packet.timestamps(ctx);
    pkt.cpu.found.client_tsval = times.tsval;
    pkt.cpu.found.ack = AckFields {
        client_isn: packet.sequence.wrapping_sub(1),
        isn: packet.acknowledgement.wrapping_sub(1),
        tsecr: if times.present {
            Some(times.tsecr)
        } else {
            None
        },
    };
}

/// Checks the cookie in [`read_fields`]'s fields, if the service takes it and the limit on wrong cookies without timestamps
/// allows it: [`VALID_COOKIE`], [`EXPIRED_COOKIE`], [`INVALID_COOKIE`], [`UNCHECKED_COOKIE`] or [`REFUSED_COOKIE`].
/// `is_exempt`: neither the service's policy nor the limit concerns it, because XDP has checked it before, for instance. What was
/// admitted for a check of the kernel's cookie is admitted here, and counted once if it is neither.
#[inline(always)]
pub fn check_within_limit(pkt: &mut PacketContext, is_exempt: bool) -> Verdict {
    let plain_ack = &mut pkt.cpu.found.plain_ack;
    let is_admitted = core::mem::replace(&mut plain_ack.is_admitted, false);
    if !is_admitted {
        plain_ack.is_counted = false;
    }
    if pkt.cpu.found.ack.tsecr.is_none() && !is_exempt {
        match plain_acks::admit(pkt, is_admitted) {
            Admission::Checked => {}
            Admission::Unchecked => return UNCHECKED_COOKIE,
            Admission::Refused => {
                plain_acks::count_wrong(pkt);
                return REFUSED_COOKIE;
            }
        }
    }
    let check = check_cookie(pkt);
    if check == INVALID_COOKIE {
        plain_acks::count_wrong(pkt);
    }
    check
}

/// Checks the cookie under the keys of its epoch. Leaves the client's options of a valid one, and what was offered, in `found`.
#[inline(never)]
fn check_cookie(pkt: &mut PacketContext) -> Verdict {
    let Some(clock) = maps::CLOCK.get(0) else {
        return INVALID_COOKIE;
    };
    let found = &mut pkt.cpu.found;
    let (epoch, age) = found.ack.cookie_epoch(clock.epoch_at(pkt.now));
    let endpoint = &pkt.cpu.memory.endpoint;
    let Some(slot) = maps::KEYS.get(key_slot(endpoint.service, epoch)) else {
        return INVALID_COOKIE;
    };
    if slot.epoch != epoch {
        return INVALID_COOKIE;
    }
    for secret in 0..MAX_SECRETS {
        if pkt.service.keys >> secret & 1 == 0 {
            continue;
        }
        let options = &mut found.validated_options;
        if verified_once::check_cookie(&found.ack, &slot.keys[secret], &found.key, options) {
            found.offered = *endpoint.profile(epoch);
            return match age {
                Age::Fresh => VALID_COOKIE,
                Age::Expired => EXPIRED_COOKIE,
            };
        }
    }
    INVALID_COOKIE
}
