//! Whether a segment belongs to a connection that the kernel has.

use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::helpers::{bpf_sk_release, bpf_skc_lookup_tcp};
use aya_ebpf::programs::XdpContext;
use synward_xdp::packet::Packet;

/// `BPF_F_CURRENT_NETNS` of include/uapi/linux/bpf.h: the network namespace of the device.
const CURRENT_NETNS: u64 = -1i64 as u64;
/// `TCP_LISTEN` of include/net/tcp_states.h.
const LISTEN: u32 = 10;

/// Whether a socket that is no listener has a segment's addresses and ports.
#[inline(never)]
pub fn is_connected(ctx: &XdpContext, packet: &Packet) -> bool {
    let (from, to) = (
        packet.source_port.to_be_bytes(),
        packet.destination_port.to_be_bytes(),
    );
    let ports = u32::from_ne_bytes([from[0], from[1], to[0], to[1]]);
    let ([a, b, c, d], [e, f, g, h]) = (packet.source.0, packet.destination.0);
    // Two calls, because the verifier wants to see a constant size.
    let socket = if packet.v4 {
        look_up(ctx, &mut Tuple([d, h, ports]))
    } else {
        look_up(ctx, &mut Tuple([a, b, c, d, e, f, g, h, ports]))
    };
    if socket.is_null() {
        return false;
    }
    // SAFETY: the look-up holds the socket until it is released, once, below; its state is readable.
    unsafe {
        let state = core::ptr::read_volatile(&raw const (*socket).state);
        bpf_sk_release(socket.cast());
        state != LISTEN
    }
}

/// `struct bpf_sock_tuple` in words: addresses, then ports. The compiler writes two words at once, and the verifier allows no
/// unaligned access to the stack.
#[repr(C, align(8))]
struct Tuple<const N: usize>([u32; N]);

#[inline(always)]
fn look_up<const N: usize>(ctx: &XdpContext, tuple: &mut Tuple<N>) -> *mut bpf_sock {
    let (ctx, size) = (ctx.ctx.cast(), 4 * N as u32);
    // SAFETY: the tuple is live and of the size given; the context is the kernel's own.
    unsafe { bpf_skc_lookup_tcp(ctx, tuple.0.as_mut_ptr().cast(), size, CURRENT_NETNS, 0) }
}
