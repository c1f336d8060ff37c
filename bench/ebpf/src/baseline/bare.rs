//! The least program that answers a SYN with a cookie, as a lower bound: IPv4 without options, SYNs with Linux's option
//! layout, one SipHash-2-4 over what a cookie has to cover, the same options for all clients, no look-ups. The options in
//! such a cookie cannot be verified and its key cannot be changed.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use synward_core::generated_segment::{HandshakeOptions, Segment};
use synward_core::siphash::Hasher;
use synward_core::wire::ethernet::{self, Ethernet};
use synward_core::wire::ipv4::{self, Ipv4};
use synward_core::wire::protocol;
use synward_core::wire::tcp::{self, Repr, Tcp, flags};
use synward_xdp::frame_view::view;
use synward_xdp::verdict::Verdict;

/// Any key will do: these cookies are not verified.
const KEY: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];
const TCP_AT: usize = ethernet::LENGTH + ipv4::LENGTH;
const OPTIONS_AT: usize = TCP_AT + tcp::LENGTH;
/// Offset of the TSval in the options of Linux's SYNs: behind MSS, SACK permitted, kind and length.
const TSVAL_AT: usize = OPTIONS_AT + 8;

/// Answers SYNs, drops other TCP, passes the rest.
#[xdp]
pub fn bare(ctx: XdpContext) -> Verdict {
    answer(&ctx).unwrap_or(XDP_PASS)
}

#[inline(always)]
fn answer(ctx: &XdpContext) -> Option<Verdict> {
    let eth = Ethernet(view::<{ ethernet::LENGTH }>(ctx, 0)?);
    let ip = Ipv4(view::<{ ipv4::LENGTH }>(ctx, ethernet::LENGTH)?);
    let is_plain_ipv4 = eth.ethertype() == ethernet::IPV4 && ip.header_length() == ipv4::LENGTH;
    if !is_plain_ipv4 || ip.protocol() != protocol::TCP || ip.is_fragment() {
        return None;
    }
    let header = Tcp(view::<{ tcp::LENGTH }>(ctx, TCP_AT)?);
    let tsval = view::<4>(ctx, TSVAL_AT)?;
    if header.flags() != flags::SYN || header.header_length() != 40 {
        return Some(XDP_DROP);
    }
    let (source, destination, isn) = (ip.source(), ip.destination(), header.sequence());
    let ports = (header.source() as u32) << 16 | header.destination() as u32;
    let hash = Hasher::<2, 4>::new(&KEY)
        .word((source.0[3] as u64) << 32 | destination.0[3] as u64)
        .word((ports as u64) << 32 | isn as u64)
        .finish(0, 16);
    let (options, words) = HandshakeOptions {
        mss: 1460,
        sack: true,
        times: Some(((hash >> 32) as u32, u32::from_be_bytes(*tsval))),
        scale: Some(7),
    }
    .words();
    let reply = Segment {
        source: destination,
        destination: source,
        tcp: Repr {
            source: header.destination(),
            destination: header.source(),
            sequence: hash as u32,
            acknowledgement: isn.wrapping_add(1),
            flags: flags::SYN | flags::ACK,
            window: 14600,
            options: words * 4,
        },
        options,
    };
    Ethernet(view::<{ ethernet::LENGTH }>(ctx, 0)?).turn_around();
    reply.emit_v4(
        view::<{ ipv4::LENGTH }>(ctx, ethernet::LENGTH)?,
        view::<{ tcp::LENGTH }>(ctx, TCP_AT)?,
    );
    let area = view::<20>(ctx, OPTIONS_AT)?;
    for (bytes, word) in area.chunks_exact_mut(4).zip(reply.options) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    Some(XDP_TX)
}
