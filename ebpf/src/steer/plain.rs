//! The SYN that nearly all are: untagged, IPv4 without options, the options of Linux, and room for an answer of its length.
//!
//! What the stages would do with it is done here at one go, with constant offsets and in registers: a flood consists of
//! these. Whatever is unusual about a SYN, or about its service, is left to the stages, untouched and uncounted.

use core::sync::atomic::{Ordering, compiler_fence};

use crate::packet::{Frame as _, Packet, view};
use crate::{Case, Verdict, local, maps, service, stray, syn, table, time, worker};
use aya_ebpf::bindings::xdp_action::XDP_TX;
use aya_ebpf::programs::XdpContext;
use synward_ebpf::answer::{Agreed, Syn};
use synward_ebpf::counters::Counter;
use synward_ebpf::flow::FlowKey;
use synward_ebpf::layout::{Interface, Profile, handoff, key_slot, mode};
use synward_ebpf::wire::ethernet::{self, Ethernet};
use synward_ebpf::wire::ipv4::{self, Ipv4};
use synward_ebpf::wire::tcp::{self, Tcp, flags};
use synward_ebpf::wire::tcp_options::{self, Found, LINUX_SYN};

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

/// Whether it is for a service of which nothing speaks against an answer made here: no list, no flow, no socket.
/// Its endpoint is then in the packet.
#[inline(always)]
fn is_to_be_answered(ctx: &XdpContext, packet: &mut Packet) -> bool {
    let Some(headers) = headers(ctx) else {
        return false;
    };
    let flow = headers.flow();
    if !service::find_for(packet, flow.server, flow.server_port()) {
        return false;
    }
    let Some(service) = maps::SERVICES.get(packet.endpoint.service) else {
        return false;
    };
    service.mode == mode::ALWAYS
        && service.listed == 0
        && match service.handoff {
            handoff::SPLICE => {
                table::find(&flow, &mut packet.may_pass).is_none()
                    && !(packet.may_pass && stray::is_known(&flow))
            }
            handoff::LOCAL => local::listens(ctx, packet, &flow, service),
            _ => true,
        }
}

/// Has the worker of a queue that is a worker's answer it; if that is not alive, it is [`UNUSUAL`].
#[inline(never)]
pub fn hand_over(ctx: &XdpContext, packet: &mut Packet, interface: &Interface) -> Verdict {
    if !is_to_be_answered(ctx, packet) {
        return UNUSUAL;
    }
    let Some((service, counters)) = service::of(&packet.endpoint) else {
        return UNUSUAL;
    };
    packet.v4 = true;
    (packet.l3, packet.l4) = (ethernet::LENGTH, ethernet::LENGTH + ipv4::LENGTH);
    let now = time::now(packet);
    if !worker::is_alive(ctx.rx_queue_index(), now) {
        return UNUSUAL;
    }
    let case = Case {
        packet,
        interface,
        service,
        now,
    };
    counters.bump(Counter::Syn);
    syn::hand_over(ctx, &case, counters)
}

/// Answers it, or says that it is [`UNUSUAL`] all the same.
#[inline(always)]
pub fn answer(ctx: &XdpContext, packet: &mut Packet) -> Verdict {
    if !is_to_be_answered(ctx, packet) {
        return UNUSUAL;
    }
    match try_answer(ctx, packet) {
        Some(verdict) => verdict,
        None => UNUSUAL,
    }
}

#[inline(always)]
fn try_answer(ctx: &XdpContext, packet: &mut Packet) -> Option<Verdict> {
    let epoch = maps::CLOCK.get(0)?.epoch_at(time::now(packet));
    let slot = maps::KEYS.get(key_slot(packet.endpoint.service, epoch))?;
    let (_, counters) = service::of(&packet.endpoint)?;
    if slot.epoch != epoch {
        return None;
    }
    let profile = packet.endpoint.profile(epoch);
    let headers = headers(ctx)?;
    let asked = Question::of(&headers, profile)?;
    let cookie = asked
        .agreed
        .cookie(&slot.keys[0], epoch, &asked.flow, asked.isn);
    // The hash needs all registers: what is read for it and again for the answer is read twice, not kept on the stack.
    compiler_fence(Ordering::SeqCst);
    let asked = Question::of(&headers, profile)?;
    let reply = asked
        .agreed
        .segment(&asked.flow, asked.isn, cookie, profile);
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
