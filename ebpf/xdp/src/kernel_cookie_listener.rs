//! A listener that takes only the kernel's own cookies: one for Multipath TCP, for which the kernel takes no connection
//! from us (`bpf_sk_assign_tcp_reqsk`, net/core/filter.c), or any listener if the kernel is too old for that.
//!
//! The program answers the SYN with the kernel's cookie, made by the kernel's helper, and the kernel checks the ACK like
//! that of any of its cookies. This needs `net.ipv4.tcp_syncookies=2`: at 1 the kernel makes cookies only when it is flooded
//! itself (`tcp_get_syncookie_mss`, net/ipv4/tcp_input.c), and the SYN passes to it unchanged. The cookie's ISN holds no
//! option but the MSS; the timestamps hold the others if the program can write them ([`synward_core::kernel_tsval`]). A
//! client that offers Multipath TCP falls back to TCP (RFC 8684 §3.1).

use crate::cookie_headers::{self, IP_BYTES, TCP_BYTES};
use crate::kernel_socket;
use crate::packet_context::PacketContext;
use aya_ebpf::helpers::generated::{bpf_tcp_check_syncookie, bpf_tcp_gen_syncookie};
use aya_ebpf::programs::XdpContext;
use core::ffi::c_void;
use synward_core::client_options::{DEFAULT_MSS_V4, DEFAULT_MSS_V6, NO_SCALE};
use synward_core::kernel_tsval;
use synward_core::layout::{Profile, cookies, profile_flags};
use synward_core::syn_ack::ECN_SETUP;
use synward_core::wire::tcp_options::Found;

/// Has the kernel make its cookie for a SYN, and sets ISN and TSval of the answer, which offers only what they can hold.
/// False if the kernel makes no cookie.
#[inline(never)]
pub fn make_kernel_cookie(ctx: &XdpContext, pkt: &mut PacketContext) -> bool {
    let (packet, found) = (&mut pkt.cpu.packet, &mut pkt.cpu.found);
    packet.walk_options(ctx);
    let least = if packet.v4 {
        DEFAULT_MSS_V4
    } else {
        DEFAULT_MSS_V6
    };
    let headers = &mut pkt.cpu.cookie_headers;
    *headers = cookie_headers::headers(packet, packet.walked.found.mss().unwrap_or(least));
    let made = kernel_socket::with_listener(ctx.ctx.cast(), &found.key, |listener| {
        let (ip, tcp) = (headers.ip.as_mut_ptr(), headers.tcp.as_mut_ptr());
        // SAFETY: the listener is held, and both headers are live and of the lengths given.
        unsafe {
            bpf_tcp_gen_syncookie(
                listener,
                ip.cast::<c_void>(),
                IP_BYTES,
                tcp.cast(),
                TCP_BYTES,
            )
        }
    });
    let made = made.unwrap_or(-1);
    if made < 0 {
        return false;
    }
    found.kernel_isn = made as u32;
    found.kernel_cookie = true;
    // The kernel decides about the options again when the ACK arrives: this client is offered only what the kernel does.
    let memory = &mut pkt.cpu.memory;
    memory.forget_endpoint();
    let endpoint = &mut memory.endpoint;
    let profile = &mut endpoint.now;
    let times = pkt.service.cookies & cookies::TIMES != 0
        && endpoint.since != 0
        && packet.walked.found.timestamps_at().is_some()
        && profile.timestamps();
    found.kernel_tsval = if times {
        tsval_with_options(profile, &packet.walked.found, packet.flags, pkt.now)
    } else {
        profile.flags = 0;
        profile.window_scale = NO_SCALE;
        0
    };
    endpoint.before = *profile;
    true
}

/// The TSval, in network order, that holds the negotiated options.
#[inline(always)]
fn tsval_with_options(profile: &Profile, client: &Found, tcp_flags: u8, now: u64) -> u32 {
    let scale = if profile.window_scale == NO_SCALE {
        None
    } else {
        client.window_scale()
    };
    let sack = client.sack_permitted() && profile.flags & profile_flags::SACK != 0;
    let ecn = tcp_flags & ECN_SETUP == ECN_SETUP && profile.flags & profile_flags::ECN != 0;
    kernel_tsval::cookie_tsval((now / 1_000_000) as u32, scale, sack, ecn).to_be()
}

/// Whether an ACK carries a cookie that the kernel will take.
#[inline(never)]
pub fn is_valid_kernel_cookie(ctx: &XdpContext, pkt: &mut PacketContext) -> bool {
    let headers = &mut pkt.cpu.cookie_headers;
    *headers = cookie_headers::headers(&pkt.cpu.packet, 0);
    let checked = kernel_socket::with_listener(ctx.ctx.cast(), &pkt.cpu.found.key, |listener| {
        let (ip, tcp) = (headers.ip.as_mut_ptr(), headers.tcp.as_mut_ptr());
        // SAFETY: as above.
        unsafe {
            bpf_tcp_check_syncookie(
                listener,
                ip.cast::<c_void>(),
                IP_BYTES,
                tcp.cast(),
                TCP_BYTES,
            )
        }
    });
    checked.unwrap_or(-1) == 0
}
