//! Which of the kernel's sockets a segment belongs to. A look-up takes the segment's 4-tuple as a [`FlowKey`]; the client is
//! the sender.

use aya_ebpf::Global;
use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::helpers::{
    bpf_sk_release, bpf_skc_lookup_tcp, bpf_skc_to_tcp_sock, bpf_skc_to_tcp_timewait_sock,
};
use core::ffi::c_void;
use synward_core::flow::FlowKey;
use synward_core::wire::Address;

/// Offsets of `sk_ack_backlog` and `sk_max_ack_backlog`, both 32 bits, in this kernel's `struct sock`; the loader finds
/// them in the kernel's BTF. They are constants to the verifier, because it reads frozen maps.
#[unsafe(no_mangle)]
static SK_ACK_BACKLOG: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SK_MAX_ACK_BACKLOG: Global<u32> = Global::new(0);
/// Offset of the number of half-open connections of a listener, `icsk_accept_queue.qlen`, in `struct inet_connection_sock`.
#[unsafe(no_mangle)]
static ICSK_QLEN: Global<u32> = Global::new(0);
/// Offset of `is_mptcp`, 8 bits, in `struct tcp_sock`; 0 in kernels without it.
#[unsafe(no_mangle)]
static TCP_IS_MPTCP: Global<u32> = Global::new(0);

/// Offsets of the sequence numbers (RFC 9293 §3.3.1) in `struct tcp_sock`, and of that of a TIME_WAIT socket in
/// `struct sock_common`.
#[unsafe(no_mangle)]
static TCP_SND_UNA: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TCP_SND_NXT: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TCP_RCV_NXT: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TW_RCV_NXT: Global<u32> = Global::new(0);

/// `BPF_F_CURRENT_NETNS` of include/uapi/linux/bpf.h: the network namespace of the device.
const CURRENT_NETNS: u64 = -1i64 as u64;
/// `TCP_LISTEN` of include/net/tcp_states.h.
const LISTEN: u32 = 10;
/// `TCP_TIME_WAIT`; also of orphaned sockets in FIN_WAIT2.
const TIME_WAIT: u32 = 6;
/// `TCP_NEW_SYN_RECV`: half open.
const HALF_OPEN: u32 = 12;

/// What the kernel's socket table says about a segment's addresses and ports.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Socket {
    /// No socket at all.
    NotFound,
    /// A connection in any state: open, half open, TIME_WAIT.
    Connection,
    /// A connection whose outstanding or latest data the segment acknowledges: the segment is certainly its own.
    OwnConnection,
    /// A listener that has room for another connection.
    Listener,
    /// A listener whose accept queue is full.
    FullListener,
    /// A listener that has room, but takes only the kernel's own cookies: one for Multipath TCP.
    CookieListener,
    /// The same, whose accept queue is full.
    FullCookieListener,
}

/// Looks up the socket of a segment with this acknowledgement number; `ctx` is the context of an XDP or TC program.
#[inline(never)]
pub fn look_up_socket(ctx: *mut c_void, flow: &FlowKey, acknowledgement: u32) -> Socket {
    classify(
        ctx,
        flow,
        (flow.client, flow.client_port()),
        acknowledgement,
    )
}

/// Looks up the socket of a sender that cannot have a connection, 0.0.0.0:0 or [::]:0: the listener on a flow's server
/// address and port. The kernel looks for connections first, here always in the same hash bucket, which stays in the cache.
#[inline(never)]
pub fn look_up_listener(ctx: *mut c_void, flow: &FlowKey) -> Socket {
    classify(ctx, flow, (Address([0; 4]), 0), 0)
}

#[inline(always)]
fn classify(ctx: *mut c_void, flow: &FlowKey, sender: Sender, acknowledgement: u32) -> Socket {
    with_socket(ctx, flow, sender, |state, socket| {
        if state == TIME_WAIT {
            return Socket::Connection;
        }
        let tcp = tcp(socket);
        if state != LISTEN {
            return if !tcp.is_null() && is_acknowledgeable(tcp, acknowledgement) {
                Socket::OwnConnection
            } else {
                Socket::Connection
            };
        }
        if tcp.is_null() {
            return Socket::Listener;
        }
        match (is_mptcp(tcp), is_full(tcp)) {
            (false, false) => Socket::Listener,
            (false, true) => Socket::FullListener,
            (true, false) => Socket::CookieListener,
            (true, true) => Socket::FullCookieListener,
        }
    })
    .unwrap_or(Socket::NotFound)
}

/// Calls `act` with the listener that a segment belongs to, if it belongs to one.
#[inline(always)]
pub fn with_listener<T>(
    ctx: *mut c_void,
    flow: &FlowKey,
    act: impl FnOnce(*mut c_void) -> T,
) -> Option<T> {
    with_socket(
        ctx,
        flow,
        (flow.client, flow.client_port()),
        |state, socket| {
            let tcp = tcp(socket);
            (state == LISTEN && !tcp.is_null()).then(|| act(tcp))
        },
    )
    .flatten()
}

/// The sequence number that a stale connection on the flow's addresses and ports expects next. The connection is stale if a
/// segment with these numbers cannot be its own: the segment acknowledges nothing that is outstanding. A half-open
/// connection is taken to be from the same SYN, which the kernel answered before this program did.
#[inline(always)]
pub fn stale_rcv_nxt(
    ctx: *mut c_void,
    flow: &FlowKey,
    sequence: u32,
    acknowledgement: u32,
) -> Option<u32> {
    with_socket(
        ctx,
        flow,
        (flow.client, flow.client_port()),
        |state, socket| {
            if state == TIME_WAIT {
                // SAFETY: the socket is held; the helper checks what it is.
                let waiting = unsafe { bpf_skc_to_tcp_timewait_sock(socket.cast()) };
                return (!waiting.is_null()).then(|| field(waiting.cast(), &TW_RCV_NXT));
            }
            if state == HALF_OPEN {
                return Some(sequence);
            }
            let tcp = tcp(socket);
            if state == LISTEN || tcp.is_null() {
                return None;
            }
            (!is_acknowledgeable(tcp, acknowledgement)).then(|| field(tcp, &TCP_RCV_NXT))
        },
    )
    .flatten()
}

/// SND.UNA ≤ SEG.ACK ≤ SND.NXT (RFC 9293 §3.10.7.4).
#[inline(always)]
fn is_acknowledgeable(tcp: *mut c_void, acknowledgement: u32) -> bool {
    let oldest = field(tcp, &TCP_SND_UNA);
    let outstanding = field(tcp, &TCP_SND_NXT).wrapping_sub(oldest);
    acknowledgement.wrapping_sub(oldest) <= outstanding
}

/// A socket's `struct tcp_sock`, null for small ones (TIME_WAIT and half open).
#[inline(always)]
fn tcp(socket: *mut bpf_sock) -> *mut c_void {
    // SAFETY: callers hold the socket; the helper checks what it is.
    unsafe { bpf_skc_to_tcp_sock(socket.cast()).cast() }
}

/// Calls `act` with the state of a segment's socket and the socket, which is held meanwhile.
#[inline(always)]
fn with_socket<T>(
    ctx: *mut c_void,
    flow: &FlowKey,
    sender: Sender,
    act: impl FnOnce(u32, *mut bpf_sock) -> T,
) -> Option<T> {
    let mut tuple = tuple(flow, sender);
    // Read again: the verifier knows no bound of a size that was kept on the stack.
    // SAFETY: a reference is read.
    let size = if unsafe { core::ptr::read_volatile(&raw const flow.server) }.is_v4() {
        12
    } else {
        36
    };
    // SAFETY: the tuple is live and of the size given; the helper takes the context of either program.
    let socket =
        unsafe { bpf_skc_lookup_tcp(ctx, tuple.as_mut_ptr().cast(), size, CURRENT_NETNS, 0) };
    if socket.is_null() {
        return None;
    }
    // SAFETY: the look-up holds the socket until it is released below; its state is readable.
    let state = unsafe { core::ptr::read_volatile(&raw const (*socket).state) };
    let outcome = act(state, socket);
    // SAFETY: what the look-up gave, once; `act` has not kept it.
    unsafe { bpf_sk_release(socket.cast()) };
    Some(outcome)
}

/// An address and a port.
type Sender = (Address, u16);

/// `struct bpf_sock_tuple` in words, from a sender to a flow's server; IPv4 fills three of them. Words rather than the
/// union: the compiler would leave its unused part as it is in a register, and the verifier refuses to read that.
#[inline(always)]
fn tuple(flow: &FlowKey, (source, port): Sender) -> [u32; 9] {
    let (from, to) = (port.to_be_bytes(), flow.server_port().to_be_bytes());
    let ports = u32::from_ne_bytes([from[0], from[1], to[0], to[1]]);
    let ([a, b, c, d], [e, f, g, h]) = (source.0, flow.server.0);
    if flow.server.is_v4() {
        [d, h, ports, 0, 0, 0, 0, 0, 0]
    } else {
        [a, b, c, d, e, f, g, h, ports]
    }
}

/// `sk_acceptq_is_full` of include/net/sock.h.
#[inline(always)]
fn is_full(tcp: *mut c_void) -> bool {
    field(tcp, &SK_ACK_BACKLOG) > field(tcp, &SK_MAX_ACK_BACKLOG)
}

/// Whether more than half of the SYN queue of a flow's listener is in use: a SYN is left to the kernel only below that. The kernel
/// takes half-open connections up to the backlog (`inet_csk_reqsk_queue_is_full`, include/net/inet_connection_sock.h). `false`:
/// there is no listener for the flow.
#[inline(never)]
pub fn is_half_full(ctx: *mut c_void, flow: &FlowKey) -> bool {
    with_listener(ctx, flow, |tcp| {
        field(tcp, &ICSK_QLEN) > field(tcp, &SK_MAX_ACK_BACKLOG) / 2
    })
    .unwrap_or(false)
}

/// Segments that may be between the program at TC and TCP at a time: a batch has eight (`net.core.gro_normal_batch`), and
/// there are some CPUs.
const IN_FLIGHT_TO_TCP: u32 = 32;

/// Whether a listener has room for all segments that may be on their way to it. One with a short queue never has.
#[inline(always)]
pub fn has_room_for_all(listener: *mut c_void) -> bool {
    field(listener, &SK_ACK_BACKLOG).saturating_add(IN_FLIGHT_TO_TCP)
        <= field(listener, &SK_MAX_ACK_BACKLOG)
}

/// `sk_is_mptcp` of include/net/mptcp.h.
#[inline(always)]
fn is_mptcp(tcp: *mut c_void) -> bool {
    let offset = TCP_IS_MPTCP.load() as usize;
    // SAFETY: the loader has found a field of 8 bits there; the verifier checks that.
    offset != 0 && unsafe { core::ptr::read_volatile(tcp.cast::<u8>().add(offset)) } != 0
}

#[inline(always)]
fn field(socket: *mut c_void, offset: &Global<u32>) -> u32 {
    // SAFETY: a `tcp_sock` begins with its `sock`, that and a `tcp_timewait_sock` with their `sock_common`, and the loader
    // has found a field of 32 bits there; the verifier checks that against the kernel's BTF.
    unsafe {
        core::ptr::read_volatile(
            socket
                .cast::<u8>()
                .add(offset.load() as usize)
                .cast::<u32>(),
        )
    }
}
