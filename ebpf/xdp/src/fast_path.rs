//! The SYN that nearly all are: untagged, IPv4 without options, the options of Linux, and room for an answer of its length.
//!
//! What the stages would do with it is done here at one go, with constant offsets and in registers: a flood consists of
//! these. Whatever is unusual about a SYN, or about its service, is left to the stages, untouched and uncounted.

use core::sync::atomic::{Ordering, compiler_fence};

use crate::packet::{Frame as _, view};
use crate::prepared::{self, Prepared};
use crate::{Verdict, flow_lookup, local_service, maps, service_lookup, unknown, worker};
use aya_ebpf::bindings::xdp_action::XDP_TX;
use aya_ebpf::programs::XdpContext;
use synward_core::counters::{Counter, ServiceCounters};
use synward_core::flow::FlowKey;
use synward_core::layout::{Profile, handoff};
use synward_core::syn_ack::{Negotiated, Syn};
use synward_core::wire::ethernet::{self, Ethernet};
use synward_core::wire::ipv4::{self, Ipv4};
use synward_core::wire::tcp::{self, Tcp, flags};
use synward_core::wire::tcp_options::{self, Found, LINUX_SYN};
use synward_core::worker_request::{Meta, Request};

/// No verdict: the stages have to look at it.
pub const GENERAL_PATH: Verdict = 106;

const IP_LENGTH: usize = ipv4::LENGTH + tcp::LENGTH + LINUX_SYN;
const LENGTH: usize = ethernet::LENGTH + IP_LENGTH;

/// The headers of a frame of [`LENGTH`] bytes.
struct Headers<'a> {
    eth: &'a mut [u8; ethernet::LENGTH],
    ip: &'a mut [u8; ipv4::LENGTH],
    tcp: &'a mut [u8; tcp::LENGTH],
    options: &'a mut [u8; LINUX_SYN],
}

impl Headers<'_> {
    #[inline(always)]
    fn flow(&self) -> FlowKey {
        let (ip, tcp) = (Ipv4(&*self.ip), Tcp(&*self.tcp));
        FlowKey::new(
            ip.source(),
            tcp.source(),
            ip.destination(),
            tcp.destination(),
        )
    }
}

#[inline(always)]
fn headers(ctx: &XdpContext) -> Option<Headers<'_>> {
    let frame = view::<LENGTH>(ctx, 0)?;
    let (eth, rest) = frame.split_first_chunk_mut()?;
    let (ip, rest) = rest.split_first_chunk_mut()?;
    let (tcp, rest) = rest.split_first_chunk_mut()?;
    let options = rest.first_chunk_mut()?;
    Some(Headers {
        eth,
        ip,
        tcp,
        options,
    })
}

/// Whether a frame is such a SYN, as far as its headers say.
#[inline(always)]
pub fn is_candidate(ctx: &XdpContext) -> bool {
    let (start, end) = ctx.bounds();
    if end - start != LENGTH {
        return false;
    }
    let Some(headers) = headers(ctx) else {
        return false;
    };
    let (eth, ip) = (Ethernet(&*headers.eth), Ipv4(&*headers.ip));
    let segment = Tcp(&*headers.tcp);
    segment.flags() & (flags::SYN | flags::ACK | flags::RST | flags::FIN) == flags::SYN
        && segment.header_length() == tcp::LENGTH + LINUX_SYN
        && eth.destination()[0] & 1 == 0
        && eth.ethertype() == ethernet::IPV4
        && ip.is_sound()
        && ip.header_length() == ipv4::LENGTH
        && ip.total_length() as usize == IP_LENGTH
        && ip.protocol() == ipv4::TCP
        && !ip.is_fragment()
}

/// Answers such a SYN or has a worker answer it, or says that it is [`GENERAL_PATH`] all the same: it is for no service, or
/// something speaks against an answer, a list, a flow, a socket.
#[inline(always)]
pub fn answer_candidate(ctx: &XdpContext) -> Verdict {
    try_answer(ctx).unwrap_or(GENERAL_PATH)
}

#[inline(always)]
fn try_answer(ctx: &XdpContext) -> Option<Verdict> {
    let flow = headers(ctx)?.flow();
    let prepared = prepared::find_prepared(ctx, &flow)?;
    let is_new = match prepared.handoff {
        handoff::SPLICE => is_new(&flow, prepared),
        handoff::LOCAL => local_service::has_listener_with_room(ctx, &flow, prepared),
        _ => true,
    };
    if !is_new {
        return None;
    }
    let counters = service_lookup::counters_of(prepared.service)?;
    if prepared.by_worker != 0 {
        return Some(send_to_worker(ctx, prepared, counters));
    }
    let headers = headers(ctx)?;
    let negotiation = Negotiation::of(&headers, &prepared.profile)?;
    let cookie = negotiation.negotiated.cookie(
        &prepared.key,
        prepared.epoch,
        &negotiation.flow,
        negotiation.isn,
    );
    // The hash needs all registers: what is read for it and again for the answer is read twice, not kept on the stack.
    compiler_fence(Ordering::SeqCst);
    let negotiation = Negotiation::of(&headers, &prepared.profile)?;
    let reply = negotiation.negotiated.syn_ack(
        &negotiation.flow,
        negotiation.isn,
        cookie,
        &prepared.profile,
    );
    if reply.header_length() != tcp::LENGTH + LINUX_SYN {
        return None;
    }
    Ethernet(headers.eth).turn_around();
    reply.emit_v4(headers.ip, headers.tcp);
    tcp_options::emit_words(headers.options, reply.options);
    counters.bump(Counter::Syn);
    counters.bump(Counter::AnsweredXdp);
    Some(XDP_TX)
}

/// Whether nothing is known of a flow, spliced or passing.
#[inline(always)]
fn is_new(flow: &FlowKey, prepared: &Prepared) -> bool {
    match flow_lookup::bucket_may_hold(prepared.bucket(flow)) {
        Some(known) if known.flows || known.passed => is_new_by_lookup(flow),
        Some(_) => true,
        None => false,
    }
}

/// The same where something may be known of flows in its bucket.
#[inline(never)]
fn is_new_by_lookup(flow: &FlowKey) -> bool {
    let Some(packet) = maps::packet() else {
        return false;
    };
    flow_lookup::find_flow(flow, &mut packet.may_pass).is_none()
        && !(packet.may_pass && unknown::is_passed_connection(flow))
}

/// Has the worker of the queue answer it. If that is not alive, it is [`GENERAL_PATH`].
#[inline(never)]
fn send_to_worker(
    ctx: &XdpContext,
    prepared: &Prepared,
    counters: &mut ServiceCounters,
) -> Verdict {
    if !worker::is_alive(ctx.rx_queue_index(), prepared.now) {
        return GENERAL_PATH;
    }
    counters.bump(Counter::Syn);
    counters.bump(Counter::GivenToWorker);
    let meta = Meta {
        request: Request::Answer {
            profile: prepared.profile,
        },
        l3: ethernet::LENGTH as u8,
        l4: (ethernet::LENGTH + ipv4::LENGTH) as u8,
        service: prepared.service as u8,
    };
    worker::redirect_frame(ctx, prepared.slot, meta.encode(true), counters)
}

/// What the SYN asks for, and a profile has.
struct Negotiation {
    flow: FlowKey,
    isn: u32,
    negotiated: Negotiated,
}

impl Negotiation {
    #[inline(always)]
    fn of(headers: &Headers, profile: &Profile) -> Option<Self> {
        let flow = headers.flow();
        let segment = Tcp(&*headers.tcp);
        let found = Found::of_linux_syn(headers.options)?;
        let tsval = tcp_options::linux_tsval(headers.options);
        let (isn, flags) = (segment.sequence(), segment.flags());
        let syn = Syn::new(&flow, isn, flags, &found, Some(tsval));
        let negotiated = Negotiated::new(&syn.options, syn.tsval, profile);
        Some(Self {
            flow,
            isn,
            negotiated,
        })
    }
}
