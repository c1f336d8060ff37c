//! An ACK without a flow: the third packet of a handshake if its cookie is ours.

use crate::packet::{Frame, Packet};
use crate::route::{self, Route};
use crate::{Case, Verdict, maps, replay, worker};
use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::programs::XdpContext;
use synward_core::cookie::{Age, Claim};
use synward_core::counters::{Counter, ServiceCounters};
use synward_core::layout::{Flow, MAX_SECRETS, Profile, handoff, key_slot};
use synward_core::options::ClientOptions;
use synward_core::replay::Event;
use synward_core::request::{Hop, Request};
use synward_core::wire::tcp;

/// What became of a cookie.
pub enum Judgement {
    Valid {
        options: ClientOptions,
        promised: Profile,
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

/// No verdict: the cookie is valid, and a worker is to open the connection ([`open`]).
pub const PROVEN: Verdict = 105;

/// Verifies the cookie before anyone is woken. The connection of a local service is made behind this program
/// (`assign`).
#[inline(never)]
pub fn redeem(ctx: &XdpContext, case: &mut Case, counters: &mut ServiceCounters) -> Verdict {
    let claim = claim(ctx, case.packet);
    match judge(case, &claim) {
        Judgement::Valid { options, promised } => {
            counters.bump(Counter::CookieValid);
            if case.service.handoff == handoff::LOCAL {
                // Nobody has a socket for it, so its connection is over; or is only just being made on another CPU, where
                // the client's first data or its FIN come right behind its ACK: the program at TC waits for that.
                return if case.packet.payload() == 0
                    && case.packet.flags & tcp::flags::FIN == 0
                    && replay::knows(case.packet, Event::Assigned, case.now)
                {
                    REPLAYED
                } else {
                    XDP_PASS
                };
            }
            (case.packet.options_proven, case.packet.promised) = (options, promised);
            PROVEN
        }
        Judgement::Expired => {
            counters.bump(Counter::CookieExpired);
            EXPIRED
        }
        Judgement::Invalid => {
            counters.bump(Counter::CookieInvalid);
            INVALID
        }
    }
}

/// Asks a worker to open the connection of a client that has proven itself.
#[inline(never)]
pub fn open(ctx: &XdpContext, case: &Case, counters: &mut ServiceCounters) -> Verdict {
    let request = Request::Open {
        options: case.packet.options_proven,
        promised: case.packet.promised,
        hop: match route::of(ctx, case.packet) {
            Route::Via(hop) => hop,
            _ => Hop::default(),
        },
    };
    worker::ask(ctx, case, counters, request)
}

/// Whether a segment of a closing flow is the valid ACK of a new handshake on the same addresses and
/// ports. The pair that opened the flow itself is only an old duplicate.
#[inline(never)]
pub fn opens_anew(ctx: &XdpContext, case: &mut Case, flow: &Flow) -> bool {
    let packet = &mut *case.packet;
    if packet.flags & (tcp::flags::ACK | tcp::flags::RST | tcp::flags::SYN) != tcp::flags::ACK {
        return false;
    }
    let claim = claim(ctx, packet);
    if claim.client_isn == flow.client_isn && claim.isn == flow.isn {
        return false;
    }
    matches!(judge(case, &claim), Judgement::Valid { .. })
}

/// The numbers of an ACK in which a cookie would be.
#[inline(always)]
pub fn claim(ctx: &impl Frame, packet: &mut Packet) -> Claim {
    Claim {
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
pub fn judge(case: &Case, claim: &Claim) -> Judgement {
    let Some(clock) = maps::CLOCK.get(0) else {
        return Judgement::Invalid;
    };
    let (epoch, age) = claim.epoch(clock.epoch_at(case.now));
    let Some(slot) = maps::KEYS.get(key_slot(case.packet.endpoint.service, epoch)) else {
        return Judgement::Invalid;
    };
    if slot.epoch != epoch {
        return Judgement::Invalid;
    }
    for secret in 0..MAX_SECRETS {
        if secret as u16 >= case.service.keys {
            break;
        }
        if let Some(options) = claim.check(&slot.keys[secret], &case.packet.key) {
            return match age {
                Age::Fresh => Judgement::Valid {
                    options,
                    promised: *case.packet.endpoint.profile(epoch),
                },
                Age::Expired => Judgement::Expired,
            };
        }
    }
    Judgement::Invalid
}
