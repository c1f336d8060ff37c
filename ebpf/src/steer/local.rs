//! A service of this machine: its kernel knows better than any table of ours whose a segment is.
//!
//! To answer blindly would hang real clients: those that come back from the same port while the server is in
//! TIME_WAIT, those that have crashed and left it a connection, those of a full accept queue or a closed port.

use crate::socket::{self, Socket};
use crate::{Case, Verdict, mptcp};
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::programs::XdpContext;
use synward_ebpf::counters::{Counter, ServiceCounters};
use synward_ebpf::wire::tcp::flags;

/// No verdict: a listener has to be convinced by a cookie first.
pub const NOBODY: Verdict = 102;

/// Passes what a socket owns, and what the kernel itself answers best; refuses what it would refuse.
#[inline(never)]
pub fn owner(ctx: &XdpContext, case: &mut Case, counters: &mut ServiceCounters) -> Verdict {
    let is_syn =
        case.packet.flags & (flags::SYN | flags::ACK | flags::RST | flags::FIN) == flags::SYN;
    match socket::of(ctx.ctx.cast(), case.packet) {
        Socket::Listener => NOBODY,
        // The kernel drops a SYN for which it has no room (`tcp_conn_request`, net/ipv4/tcp_input.c).
        Socket::FullListener if is_syn => {
            counters.bump(Counter::DropQueueFull);
            XDP_DROP
        }
        Socket::FullListener => NOBODY,
        Socket::MptcpListener if is_syn && mptcp::cookie(ctx, case.packet) => NOBODY,
        Socket::MptcpListener if !is_syn && mptcp::is_cookie(ctx, case.packet) => {
            counters.bump(Counter::CookieValid);
            XDP_PASS
        }
        // To a SYN the kernel says that the port is closed. Anything else has only a cookie to show.
        Socket::Nobody | Socket::MptcpListener if !is_syn => NOBODY,
        // The kernel makes no cookie, or none yet: its listener looks after itself.
        Socket::Connection | Socket::Nobody | Socket::MptcpListener => {
            counters.bump(Counter::Passed);
            XDP_PASS
        }
    }
}
