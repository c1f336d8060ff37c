//! The kernel's cookie (net/ipv4/syncookies.c), and the options that the kernel reads from the timestamp beside it.

use aya_ebpf::helpers::bpf_ktime_get_coarse_ns;
use aya_ebpf::helpers::generated::{
    bpf_tcp_raw_check_syncookie_ipv4, bpf_tcp_raw_check_syncookie_ipv6,
    bpf_tcp_raw_gen_syncookie_ipv4, bpf_tcp_raw_gen_syncookie_ipv6,
};
use synward_core::client_options::{DEFAULT_MSS_V4, DEFAULT_MSS_V6};
use synward_core::generated_segment::{HandshakeOptions, Segment};
use synward_core::kernel_tsval;
use synward_core::layout::Profile;
use synward_core::wire::tcp::{Repr, flags};
use synward_xdp::cookie_headers::{TCP_BYTES, headers};
use synward_xdp::packet::Packet;

/// The unit of the kernel's TCP timestamps (TCP_TS_HZ), ns.
const TIMESTAMP_UNIT: u64 = 1_000_000;

/// Writes the SYN-ACK for the SYN in `packet`, whose options are walked over. False if the kernel makes no cookie for it.
#[inline(never)]
pub fn make_syn_ack(packet: &Packet, server: &Profile, reply: &mut Segment) -> bool {
    let found = &packet.walked.found;
    let default = if packet.v4 {
        DEFAULT_MSS_V4
    } else {
        DEFAULT_MSS_V6
    };
    let mut headers = headers(packet, found.mss().unwrap_or(default));
    let (ip, tcp) = (headers.ip.as_mut_ptr(), headers.tcp.as_mut_ptr());
    // SAFETY: both headers are live, and of the lengths that the helpers read.
    let cookie = unsafe {
        if packet.v4 {
            bpf_tcp_raw_gen_syncookie_ipv4(ip.cast(), tcp.cast(), TCP_BYTES)
        } else {
            bpf_tcp_raw_gen_syncookie_ipv6(ip.cast(), tcp.cast(), TCP_BYTES)
        }
    };
    if cookie < 0 {
        return false;
    }
    let times = packet.walked_timestamps();
    // Without timestamps the kernel's cookie holds no option but the MSS.
    let (scale, sack) = if times.present {
        (found.window_scale(), found.sack_permitted())
    } else {
        (None, false)
    };
    let options = HandshakeOptions {
        mss: server.mss,
        sack,
        times: if times.present {
            Some((timestamp(scale, sack), times.tsval))
        } else {
            None
        },
        scale: match scale {
            Some(_) => Some(server.window_scale),
            None => None,
        },
    };
    let (options, words) = options.words();
    *reply = Segment {
        source: packet.destination,
        destination: packet.source,
        tcp: Repr {
            source: packet.destination_port,
            destination: packet.source_port,
            sequence: cookie as u32,
            acknowledgement: packet.sequence.wrapping_add(1),
            flags: flags::SYN | flags::ACK,
            window: server.window,
            options: words * 4,
        },
        options,
    };
    true
}

/// Whether an ACK carries a valid cookie of the kernel's.
#[inline(never)]
pub fn is_valid(packet: &Packet) -> bool {
    let mut headers = headers(packet, 0);
    let (ip, tcp) = (headers.ip.as_mut_ptr(), headers.tcp.as_mut_ptr());
    // SAFETY: as above.
    let checked = unsafe {
        if packet.v4 {
            bpf_tcp_raw_check_syncookie_ipv4(ip.cast(), tcp.cast())
        } else {
            bpf_tcp_raw_check_syncookie_ipv6(ip.cast(), tcp.cast())
        }
    };
    checked == 0
}

/// The time, at most a little in the past, with the client's options in its low bits. The kernel accepts it as its own
/// timestamp if `net.ipv4.tcp_timestamps` is 2, without random offsets.
#[inline(always)]
fn timestamp(scale: Option<u8>, sack: bool) -> u32 {
    // SAFETY: the helper takes nothing and cannot fail.
    let now = (unsafe { bpf_ktime_get_coarse_ns() } / TIMESTAMP_UNIT) as u32;
    kernel_tsval::cookie_tsval(now, scale, sack, false)
}
