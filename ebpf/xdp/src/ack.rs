//! An ACK without a flow: the last of a handshake if it carries a valid cookie.

use crate::frame_view::Frame;
use crate::packet::Packet;
use crate::packet_context::PacketContext;
use crate::route::{self, Route};
use crate::verdict::{EXPIRED_COOKIE, INVALID_COOKIE, REPLAYED_COOKIE, VALID_COOKIE, Verdict};
use crate::{maps, replay_check, worker};
use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::programs::XdpContext;
use synward_core::client_options::ClientOptions;
use synward_core::cookie::{AckFields, Age};
use synward_core::counters::{Counter, ServiceCounters};
use synward_core::layout::{MAX_SECRETS, Profile, handoff, key_slot};
use synward_core::replay_cache::Event;
use synward_core::wire::tcp;
use synward_core::worker_request::{Hop, Request};

/// What the check of a cookie says.
pub enum CookieCheck {
    Valid {
        options: ClientOptions,
        offered: Profile,
    },
    Expired,
    Invalid,
}

/// Verifies the cookie before a worker or the kernel sees the ACK. The program at TC makes the connection of a local service
/// ([`assign`](crate::assign)).
#[inline(never)]
pub fn verify_cookie(
    ctx: &XdpContext,
    pkt: &mut PacketContext,
    counters: &mut ServiceCounters,
) -> Verdict {
    let fields = ack_fields(ctx, &mut pkt.cpu.packet);
    match check_cookie(pkt, &fields) {
        CookieCheck::Valid { options, offered } => {
            counters.bump(Counter::CookieValid);
            if pkt.service.handoff == handoff::LOCAL {
                // No socket owns the segment, so the connection of a recorded handshake is over. Or another CPU is making it
                // right now, and this is the client's first data or its FIN right behind its ACK: the program at TC
                // waits for that.
                return if pkt.cpu.packet.payload() == 0
                    && pkt.cpu.packet.flags & tcp::flags::FIN == 0
                    && replay_check::is_recorded(pkt, Event::Connected)
                {
                    REPLAYED_COOKIE
                } else {
                    XDP_PASS
                };
            }
            if replay_check::is_recorded(pkt, Event::Connected) {
                return REPLAYED_COOKIE;
            }
            (pkt.cpu.found.validated_options, pkt.cpu.found.offered) = (options, offered);
            VALID_COOKIE
        }
        CookieCheck::Expired => {
            counters.bump(Counter::CookieExpired);
            EXPIRED_COOKIE
        }
        CookieCheck::Invalid => {
            counters.bump(Counter::CookieInvalid);
            INVALID_COOKIE
        }
    }
}

/// Requests a worker to open the connection of a validated client.
#[inline(never)]
pub fn request_open(
    ctx: &XdpContext,
    pkt: &PacketContext,
    counters: &mut ServiceCounters,
) -> Verdict {
    let request = Request::Open {
        options: pkt.cpu.found.validated_options,
        offered: pkt.cpu.found.offered,
        hop: match route::look_up_route(ctx, &pkt.cpu.packet) {
            Route::NextHop(hop) => hop,
            _ => Hop::default(),
        },
    };
    worker::send_request(ctx, pkt, counters, request)
}

/// Whether a segment of a closing flow is the ACK of a new handshake on the same addresses and ports, with a valid cookie.
/// That of a handshake that has had its connection is only an old duplicate.
#[inline(never)]
pub fn starts_new_connection(ctx: &XdpContext, pkt: &mut PacketContext) -> bool {
    let packet = &mut pkt.cpu.packet;
    if packet.flags & (tcp::flags::ACK | tcp::flags::RST | tcp::flags::SYN) != tcp::flags::ACK {
        return false;
    }
    let fields = ack_fields(ctx, packet);
    matches!(check_cookie(pkt, &fields), CookieCheck::Valid { .. })
        && !replay_check::is_recorded(pkt, Event::Connected)
}

/// The fields of an ACK that hold a cookie.
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
    let Some(slot) = maps::KEYS.get(key_slot(pkt.cpu.memory.endpoint.service, epoch)) else {
        return CookieCheck::Invalid;
    };
    if slot.epoch != epoch {
        return CookieCheck::Invalid;
    }
    for secret in 0..MAX_SECRETS {
        if secret as u16 >= pkt.service.keys {
            break;
        }
        if let Some(options) = fields.check(&slot.keys[secret], &pkt.cpu.found.key) {
            return match age {
                Age::Fresh => CookieCheck::Valid {
                    options,
                    offered: *pkt.cpu.memory.endpoint.profile(epoch),
                },
                Age::Expired => CookieCheck::Expired,
            };
        }
    }
    CookieCheck::Invalid
}
