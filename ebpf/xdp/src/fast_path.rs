//! The fast path: untagged IPv4 SYNs without IP options, with Linux's TCP options, whose answer has the same length.
//!
//! It does what the general path does with them, with constant offsets and in registers, because a flood consists of such
//! SYNs. A SYN or service that needs anything else is left to the general path, with the frame unchanged and nothing
//! counted.

use core::sync::atomic::{Ordering, compiler_fence};

use crate::frame_view::{Frame as _, view};
use crate::prepare::find_prepared;
use crate::prepared::{Prepared, usable};
use crate::reply_budget::allows_prepared;
use crate::verdict::{GENERAL_PATH, Verdict};
use crate::{flow_lookup, local_service, maps, replay_check, service_lookup, unknown, worker};
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_TX};
use aya_ebpf::programs::XdpContext;
use synward_core::client_options::DEFAULT_MSS_V4;
use synward_core::counters::{Counter, ServiceCounters};
use synward_core::flow::FlowKey;
use synward_core::layout::{Profile, handoff, listed};
use synward_core::reply_budget::{self, Receiver};
use synward_core::syn_ack::{Negotiated, Syn};
use synward_core::wire::ethernet::{self, Ethernet};
use synward_core::wire::ipv4::{self, Ipv4};
use synward_core::wire::protocol;
use synward_core::wire::tcp::{self, Tcp, flags};
use synward_core::wire::tcp_options::{self, Found, LINUX_SYN};
use synward_core::worker_request::{Meta, Request};

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

/// Whether the headers of a frame are those of such a SYN.
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
        && ip.protocol() == protocol::TCP
        && !ip.is_fragment()
}

/// Answers such a SYN or has a worker answer it. [`GENERAL_PATH`] if the SYN is for no service, or if a list, a flow or a
/// socket may decide otherwise.
#[inline(always)]
pub fn answer_candidate(ctx: &XdpContext) -> Verdict {
    try_answer(ctx).unwrap_or(GENERAL_PATH)
}

#[inline(always)]
fn try_answer(ctx: &XdpContext) -> Option<Verdict> {
    let candidate = headers(ctx)?;
    // The general path knows who may answer a SYN with a small MSS or a signature.
    if !tcp_options::begins_like_linux_syn(candidate.options, DEFAULT_MSS_V4) {
        return None;
    }
    let flow = candidate.flow();
    // The general path drops the impossible ones of these sources.
    if flow.client.is_unusual_v4_source() {
        return None;
    }
    let prepared = find_prepared(ctx, &flow)?;
    if prepared.impossible.may_hold(&flow.client) {
        return None;
    }
    if prepared.usable == usable::UNLISTED
        && service_lookup::look_up_lists(prepared.service, &flow.client) != listed::NEITHER
    {
        return None;
    }
    let is_new = match prepared.handoff {
        handoff::SPLICE => is_new(&flow, prepared),
        handoff::LOCAL => local_service::has_listener_with_room(ctx, &flow, prepared),
        _ => true,
    };
    if !is_new || (!prepared.is_flood() && may_be_repeated(ctx, &flow, prepared)) {
        return None;
    }
    let counters = service_lookup::counters_of(prepared.service)?;
    prepared.replies += 1;
    let weight = reply_budget::weight(prepared.replies, prepared.near_budget != 0);
    if weight != 0 && !allows_prepared(Receiver::new(&flow.client, prepared.service), weight) {
        prepared.count_syn(counters);
        counters.bump(Counter::DropReplyBudget);
        return Some(XDP_DROP);
    }
    if prepared.by_worker != 0 {
        return Some(send_to_worker(ctx, prepared, counters));
    }
    let headers = headers(ctx)?;
    let offer = Offer::of(&headers, &prepared.profile)?;
    let cookie = offer
        .negotiated
        .cookie(&prepared.key, prepared.epoch, &offer.flow, offer.isn);
    // The hash needs all registers. The answer reads the headers again, so that nothing is kept on the stack meanwhile.
    compiler_fence(Ordering::SeqCst);
    let offer = Offer::of(&headers, &prepared.profile)?;
    let reply = offer
        .negotiated
        .syn_ack(&offer.flow, offer.isn, cookie, &prepared.profile);
    if reply.header_length() != tcp::LENGTH + LINUX_SYN {
        return None;
    }
    Ethernet(headers.eth).turn_around();
    reply.emit_v4(headers.ip, headers.tcp);
    tcp_options::emit_words(headers.options, reply.options);
    prepared.count_syn(counters);
    counters.bump(Counter::AnsweredXdp);
    Some(XDP_TX)
}

/// Whether the SYN's flow is new: neither spliced nor a passed connection.
#[inline(always)]
fn is_new(flow: &FlowKey, prepared: &Prepared) -> bool {
    match flow_lookup::bucket_may_hold(prepared.bucket(flow)) {
        Some(may_hold) if may_hold.flows || may_hold.passed => is_new_by_lookup(flow),
        Some(_) => true,
        None => false,
    }
}

/// The same if the bucket may hold the flow.
#[inline(never)]
fn is_new_by_lookup(flow: &FlowKey) -> bool {
    let Some(scratch) = maps::steer_scratch() else {
        return false;
    };
    let may_pass = &mut scratch.found.may_pass;
    flow_lookup::find_flow(flow, may_pass).is_none()
        && !(*may_pass && unknown::is_passed_connection(flow))
}

/// Whether the SYN may need another cookie than that of the current epoch, or the server's decision (`edge`).
#[inline(never)]
fn may_be_repeated(ctx: &XdpContext, flow: &FlowKey, prepared: &Prepared) -> bool {
    // The general path records what an edge answers. A SYN that was recorded here and then left to that path would look
    // like one that is repeated.
    if prepared.handoff == handoff::FORWARD {
        return true;
    }
    let Some(headers) = headers(ctx) else {
        return false;
    };
    let isn = Tcp(&*headers.tcp).sequence();
    replay_check::unused_epoch(flow, isn, prepared.epoch) != prepared.epoch
}

/// Has the worker of the queue answer the SYN. [`GENERAL_PATH`] if the worker is not alive.
#[inline(never)]
fn send_to_worker(
    ctx: &XdpContext,
    prepared: &mut Prepared,
    counters: &mut ServiceCounters,
) -> Verdict {
    if !worker::is_alive(ctx.rx_queue_index(), prepared.now) {
        return GENERAL_PATH;
    }
    prepared.count_syn(counters);
    counters.bump(Counter::GivenToWorker);
    let meta = Meta {
        request: Request::Answer {
            profile: prepared.profile,
        },
        l3: ethernet::LENGTH as u8,
        l4: (ethernet::LENGTH + ipv4::LENGTH) as u8,
        service: prepared.service as u16,
    };
    let verdict = worker::redirect_frame(ctx, prepared.slot, &meta.encode(true), counters);
    worker::drop_without_worker(verdict, counters)
}

/// What the SYN asks for and the server's profile has.
struct Offer {
    flow: FlowKey,
    isn: u32,
    negotiated: Negotiated,
}

impl Offer {
    #[inline(always)]
    fn of(headers: &Headers, profile: &Profile) -> Option<Self> {
        // A plain cookie's SYN-ACK is shorter than the SYN.
        if !profile.timestamps() {
            return None;
        }
        let flow = headers.flow();
        let segment = Tcp(&*headers.tcp);
        let found = Found::of_linux_syn(headers.options)?;
        let tsval = tcp_options::linux_tsval(headers.options);
        let (isn, flags) = (segment.sequence(), segment.flags());
        let syn = Syn::new(&flow, isn, flags, &found, Some(tsval));
        let negotiated = Negotiated::new(&syn.options, syn.tsval, profile, true);
        Some(Self {
            flow,
            isn,
            negotiated,
        })
    }
}
