//! The SYN that nearly all are: untagged, IPv4 without options, the options of Linux, and room for an answer of its length.
//!
//! What the stages would do with it is done here at one go, with constant offsets and in registers: a flood consists of
//! these. Whatever is unusual about a SYN, or about its service, is left to the stages, untouched and uncounted.

use core::sync::atomic::{Ordering, compiler_fence};

use crate::packet::{Frame as _, view};
use crate::ready::{self, Ready};
use crate::{Verdict, local, maps, service, stray, table, worker};
use aya_ebpf::bindings::xdp_action::XDP_TX;
use aya_ebpf::programs::XdpContext;
use synward_core::answer::{Agreed, Syn};
use synward_core::counters::{Counter, ServiceCounters};
use synward_core::flow::FlowKey;
use synward_core::layout::{Profile, handoff};
use synward_core::request::{Meta, Request};
use synward_core::wire::ethernet::{self, Ethernet};
use synward_core::wire::ipv4::{self, Ipv4};
use synward_core::wire::tcp::{self, Tcp, flags};
use synward_core::wire::tcp_options::{self, Found, LINUX_SYN};

/// No verdict: the stages have to look at it.
pub const UNUSUAL: Verdict = 106;

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
pub fn is(ctx: &XdpContext) -> bool {
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

/// Answers such a SYN or has a worker answer it, or says that it is [`UNUSUAL`] all the same: it is for no service, or
/// something speaks against an answer, a list, a flow, a socket.
#[inline(always)]
pub fn answer(ctx: &XdpContext) -> Verdict {
    try_answer(ctx).unwrap_or(UNUSUAL)
}

#[inline(always)]
fn try_answer(ctx: &XdpContext) -> Option<Verdict> {
    let flow = headers(ctx)?.flow();
    let ready = ready::of(ctx, &flow)?;
    let is_new = match ready.handoff {
        handoff::SPLICE => is_new(&flow, ready),
        handoff::LOCAL => local::listens(ctx, &flow, ready),
        _ => true,
    };
    if !is_new {
        return None;
    }
    let counters = service::counters(ready.service)?;
    if ready.by_worker != 0 {
        return Some(hand_over(ctx, ready, counters));
    }
    let headers = headers(ctx)?;
    let asked = Question::of(&headers, &ready.profile)?;
    let cookie = asked
        .agreed
        .cookie(&ready.key, ready.epoch, &asked.flow, asked.isn);
    // The hash needs all registers: what is read for it and again for the answer is read twice, not kept on the stack.
    compiler_fence(Ordering::SeqCst);
    let asked = Question::of(&headers, &ready.profile)?;
    let reply = asked
        .agreed
        .segment(&asked.flow, asked.isn, cookie, &ready.profile);
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
fn is_new(flow: &FlowKey, ready: &Ready) -> bool {
    match table::known(ready.bucket(flow)) {
        Some(known) if known.flows || known.passed => is_new_after_all(flow),
        Some(_) => true,
        None => false,
    }
}

/// The same where something may be known of flows in its bucket.
#[inline(never)]
fn is_new_after_all(flow: &FlowKey) -> bool {
    let Some(packet) = maps::packet() else {
        return false;
    };
    table::find(flow, &mut packet.may_pass).is_none() && !(packet.may_pass && stray::is_known(flow))
}

/// Has the worker of the queue answer it. If that is not alive, it is [`UNUSUAL`].
#[inline(never)]
fn hand_over(ctx: &XdpContext, ready: &Ready, counters: &mut ServiceCounters) -> Verdict {
    if !worker::is_alive(ctx.rx_queue_index(), ready.now) {
        return UNUSUAL;
    }
    counters.bump(Counter::Syn);
    counters.bump(Counter::GivenToWorker);
    let meta = Meta {
        request: Request::Answer {
            profile: ready.profile,
        },
        l3: ethernet::LENGTH as u8,
        l4: (ethernet::LENGTH + ipv4::LENGTH) as u8,
        service: ready.service as u8,
    };
    worker::give(ctx, ready.slot, meta.encode(true), counters)
}

/// What the SYN asks for, and a profile has.
struct Question {
    flow: FlowKey,
    isn: u32,
    agreed: Agreed,
}

impl Question {
    #[inline(always)]
    fn of(headers: &Headers, profile: &Profile) -> Option<Self> {
        let flow = headers.flow();
        let segment = Tcp(&*headers.tcp);
        let found = Found::of_linux_syn(headers.options)?;
        let tsval = tcp_options::linux_tsval(headers.options);
        let (isn, flags) = (segment.sequence(), segment.flags());
        let syn = Syn::new(&flow, isn, flags, &found, Some(tsval));
        let agreed = Agreed::new(&syn.options, syn.tsval, profile);
        Some(Self { flow, isn, agreed })
    }
}
