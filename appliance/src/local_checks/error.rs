//! Why this machine cannot serve a local service, and what to do about it.

use std::net::{IpAddr, SocketAddr};

use crate::kernel::KernelError;
use crate::steering::SteeringError;

/// Why this machine's kernel cannot serve a service with `handoff = "local"`. Every message is one line that names the
/// thing and the cure.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum LocalError {
    #[error(transparent)]
    Kernel(#[from] KernelError),

    #[error(transparent)]
    Steering(#[from] SteeringError),

    #[error(
        "this kernel cannot take over validated clients from synward's cookies (no bpf_sk_assign_tcp_reqsk, which Linux 6.9 and \
         later have with CONFIG_SYN_COOKIES), only from its own: `sysctl -w net.ipv4.tcp_syncookies=2`, or set \
         handoff = \"splice\", or install a newer one"
    )]
    NoAssign,

    #[error(
        "service \"{service}\" is configured for the kernel's own cookies (cookies = \"kernel\"), which the kernel makes for us \
        only \
         with net.ipv4.tcp_syncookies=2: `sysctl -w net.ipv4.tcp_syncookies=2`, or take `cookies` out"
    )]
    KernelCookies { service: String },

    #[error(
        "clients of {to} are sent on to {on} by a DNAT rule of this machine, as a container's published port makes one, so its \
         kernel cannot take them at {to}: let the program listen in this network namespace (for a container: host \
         networking), or put synward with handoff = \"splice\" on a machine in front"
    )]
    Dnat { to: SocketAddr, on: SocketAddr },

    #[error(
        "{to} is not of this network namespace but behind {interface}, as a container's address is, so nothing here can \
         listen at it: set handoff = \"splice\", with {interface} as an [[interface]] of side \"inside\""
    )]
    Elsewhere { to: IpAddr, interface: String },

    #[error(
        "net.ipv4.tcp_syncookies is 0, and then this kernel resets the connections of validated clients: \
         `sysctl -w net.ipv4.tcp_syncookies=1`, or set handoff = \"splice\""
    )]
    NoSyncookies,

    #[error(
        "a firewall of this machine drops what validated clients send to {to}: on {interface}, an ACK of a connection whose \
         SYN it did not see does not get through (tested with the source address {from}), though a SYN does. Let it in, for \
         example `nft insert rule inet filter input ip daddr {} tcp dport {} accept` or \
         `sysctl -w net.netfilter.nf_conntrack_tcp_loose=1`; or set handoff = \"splice\"", to.ip(), to.port()
    )]
    Firewall {
        to: SocketAddr,
        interface: String,
        from: IpAddr,
    },
}
