//! An ACK without a flow: the third packet of a handshake if its cookie is ours.

use crate::packet::{Frame, Packet};
use crate::route::{self, Route};
use crate::{PacketContext, Verdict, maps, replay_check, worker};
use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::programs::XdpContext;
use synward_core::client_options::ClientOptions;
use synward_core::cookie::{AckFields, Age};
use synward_core::counters::{Counter, ServiceCounters};
use synward_core::layout::{Flow, MAX_SECRETS, Profile, handoff, key_slot};
use synward_core::replay_cache::Event;
use synward_core::wire::tcp;
use synward_core::worker_request::{Hop, Request};

/// What became of a cookie.
pub enum CookieCheck {
    Valid {
        options: ClientOptions,
        offered: Profile,
    },
    Expired,
    Invalid,
}

/// No verdict: the cookie is too old. The caller decides, because all frames of a call chain share one
/// small stack.
pub const EXPIRED: Verdict = 100;
/// No verdict: the cookie is not ours.
pub const INVALID: Verdict = 101;
/// No verdict: the cookie has had its connection.
pub const REPLAYED: Verdict = 103;

/// No verdict: the cookie is valid, and a worker is to open the connection ([`request_open`]).
pub const VALID: Verdict = 105;

/// Verifies the cookie before anyone is woken. The connection of a local service is made behind this program
/// (`assign`).
#[inline(never)]
pub fn verify_cookie(
    ctx: &XdpContext,
    pkt: &mut PacketContext,
    counters: &mut ServiceCounters,
) -> Verdict {
    let fields = ack_fields(ctx, pkt.packet);
    match check_cookie(pkt, &fields) {
        CookieCheck::Valid { options, offered } => {
            counters.bump(Counter::CookieValid);
            if pkt.service.handoff == handoff::LOCAL {
                // Nobody has a socket for it, so its connection is over; or is only just being made on another CPU, where
                // the client's first data or its FIN come right behind its ACK: the program at TC waits for that.
                return if pkt.packet.payload() == 0
                    && pkt.packet.flags & tcp::flags::FIN == 0
                    && replay_check::is_recorded(pkt.packet, Event::Assigned, pkt.now)
                {
                    REPLAYED
                } else {
                    XDP_PASS
                };
            }
            (pkt.packet.validated_options, pkt.packet.offered) = (options, offered);
            VALID
        }
        CookieCheck::Expired => {
            counters.bump(Counter::CookieExpired);
            EXPIRED
        }
        CookieCheck::Invalid => {
            counters.bump(Counter::CookieInvalid);
            INVALID
        }
    }
}

/// Asks a worker to open the connection of a client that has proven itself.
#[inline(never)]
pub fn request_open(
    ctx: &XdpContext,
    pkt: &PacketContext,
    counters: &mut ServiceCounters,
) -> Verdict {
    let request = Request::Open {
        options: pkt.packet.validated_options,
        offered: pkt.packet.offered,
        hop: match route::look_up_route(ctx, pkt.packet) {
            Route::NextHop(hop) => hop,
            _ => Hop::default(),
        },
    };
    worker::send_request(ctx, pkt, counters, request)
}

/// Whether a segment of a closing flow is the valid ACK of a new handshake on the same addresses and
/// ports. The pair that opened the flow itself is only an old duplicate.
#[inline(never)]
pub fn starts_new_connection(ctx: &XdpContext, pkt: &mut PacketContext, flow: &Flow) -> bool {
    let packet = &mut *pkt.packet;
    if packet.flags & (tcp::flags::ACK | tcp::flags::RST | tcp::flags::SYN) != tcp::flags::ACK {
        return false;
    }
    let fields = ack_fields(ctx, packet);
    if fields.client_isn == flow.client_isn && fields.isn == flow.isn {
        return false;
    }
    matches!(check_cookie(pkt, &fields), CookieCheck::Valid { .. })
}

/// The numbers of an ACK in which a cookie would be.
#[inline(always)]
pub fn ack_fields(ctx: &impl Frame, packet: &mut Packet) -> AckFields {
    AckFields {
        client_isn: packet.sequence.wrapping_sub(1),
        isn: packet.acknowledgement.wrapping_sub(1),
        tsecr: tsecr(ctx, packet),
    }
}

/// TSecr of a segment with timestamps.
#[inline(always)]
fn tsecr(ctx: &impl Frame, packet: &mut Packet) -> Option<u32> {
    let times = packet.timestamps(ctx);
    if times.present {
        Some(times.tsecr)
    } else {
        None
    }
}

/// Checks a cookie under the keys of its epoch.
#[inline(always)]
pub fn check_cookie(pkt: &PacketContext, fields: &AckFields) -> CookieCheck {
    let Some(clock) = maps::CLOCK.get(0) else {
        return CookieCheck::Invalid;
    };
    let (epoch, age) = fields.cookie_epoch(clock.epoch_at(pkt.now));
    let Some(slot) = maps::KEYS.get(key_slot(pkt.packet.endpoint.service, epoch)) else {
        return CookieCheck::Invalid;
    };
    if slot.epoch != epoch {
        return CookieCheck::Invalid;
    }
    for secret in 0..MAX_SECRETS {
        if secret as u16 >= pkt.service.keys {
            break;
        }
        if let Some(options) = fields.check(&slot.keys[secret], &pkt.packet.key) {
            return match age {
                Age::Fresh => CookieCheck::Valid {
                    options,
                    offered: *pkt.packet.endpoint.profile(epoch),
                },
                Age::Expired => CookieCheck::Expired,
            };
        }
    }
    CookieCheck::Invalid
}
