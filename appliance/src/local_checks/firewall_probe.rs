//! Asks this machine's firewall, before anything is steered, what it does with the segments of proven clients.
//!
//! The kernel sees no SYN of such a client: its first segment is an ACK of no known connection. Rules such as `ct state
//! invalid drop` with nf_conntrack_tcp_loose=0, or `ct state new` that must be a SYN, drop it behind the TC program,
//! and the client hangs. So one such ACK is let arrive on the interface itself (the eBPF program `test_inject`), from an
//! address on its link, for the service's own address and port. A raw socket sees what has passed INPUT
//! (`raw_local_deliver`, net/ipv4/ip_input.c). No application notices: to an ACK without a cookie the kernel
//! answers with a RST, which goes to that neighbour. If the ACK does not come through, a SYN tells whether the
//! firewall makes a difference between the two or knows no neighbours at all, which proves nothing.
//!
//! Nor does what a DNAT rule sends elsewhere, and connection tracking tells where that is.
//!
//! What this shows: that the firewall lets in connections which it has not seen begin, by this interface, for this
//! address and port. What it does not: rules for other clients, rules about what leaves, or rules that come later.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use ipnet::IpNet;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use synward_core::generated_segment::Segment;
use synward_core::wire::tcp::{Repr, Tcp, flags};
use synward_core::wire::{ethernet, tcp};

use crate::kernel;
use crate::steering::SteeredInterface;

/// What is delivered is delivered at once; a busy machine may take a while.
const PATIENCE: Duration = Duration::from_millis(200);

/// What became of an ACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reachability {
    /// It came through.
    Reachable,
    /// It did not, though a SYN did.
    Dropped {
        /// The neighbour in whose name it came.
        from: IpAddr,
    },
    /// A DNAT rule sends it on.
    Redirected {
        /// To where.
        on: SocketAddr,
    },
    /// Nothing came through, or there is nobody in whose name it could come.
    Unknown,
}

/// Probes the port of a service of this machine, as if from a neighbour on the link.
///
/// # Errors
/// The service's address is not one of this machine ([`io::ErrorKind::AddrNotAvailable`]), or the kernel refuses
/// sockets or the injection.
pub(super) fn probe(
    program: &SchedClassifier,
    interface: &SteeredInterface,
    to: SocketAddr,
) -> io::Result<Reachability> {
    let own = kernel::addresses(interface.index)?;
    let Some(from) = neighbour(&own, to.ip()) else {
        return Ok(Reachability::Unknown);
    };
    let mut random = [0; 2];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let port = 0x8000 | u16::from_ne_bytes(random) & 0x7ff0;
    let probe = Probe {
        program,
        interface,
        from,
        to,
        watch: watch(from, to.ip())?,
    };
    probe.send(port, flags::ACK)?;
    if probe.sees(port) {
        return Ok(Reachability::Reachable);
    }
    if let Some(on) = kernel::dnat_target(SocketAddr::new(from, port), to)? {
        return Ok(Reachability::Redirected { on });
    }
    probe.send(port + 1, flags::SYN)?;
    let listens = probe.sees(port + 1);
    // Else it waits for the neighbour's ACK for a minute.
    probe.send(port + 1, flags::RST)?;
    probe.send(port + 2, flags::ACK)?;
    Ok(match (probe.sees(port + 2), listens) {
        (true, _) => Reachability::Reachable,
        (false, true) => Reachability::Dropped { from },
        (false, false) => Reachability::Unknown,
    })
}

struct Probe<'a> {
    program: &'a SchedClassifier,
    interface: &'a SteeredInterface,
    from: IpAddr,
    to: SocketAddr,
    watch: UdpSocket,
}

impl Probe<'_> {
    fn send(&self, port: u16, with: u8) -> io::Result<()> {
        let frame = self.frame(port, with).ok_or(io::ErrorKind::InvalidInput)?;
        // `ifindex` of struct __sk_buff, the only one of its fields that is not zero.
        let mut context = [0; 44];
        context[40..].copy_from_slice(&self.interface.index.to_ne_bytes());
        let done = self
            .program
            .test_run(TestRunOptions {
                data_in: Some(&frame),
                ctx_in: Some(&context),
                ..TestRunOptions::new()
            })
            .map_err(io::Error::other)?;
        match done.return_value {
            1 => Ok(()),
            _ => Err(io::Error::other(
                "the interface does not take it; is it up?",
            )),
        }
    }

    fn frame(&self, port: u16, with: u8) -> Option<Vec<u8>> {
        let segment = Segment {
            source: self.from.into(),
            destination: self.to.ip().into(),
            tcp: Repr {
                source: port,
                destination: self.to.port(),
                sequence: u32::from(port) + u32::from(with == flags::RST),
                acknowledgement: u32::from(with == flags::ACK),
                flags: with,
                window: 1024,
                options: 0,
            },
            options: Default::default(),
        };
        let ethertype = if self.from.is_ipv4() {
            ethernet::IPV4
        } else {
            ethernet::IPV6
        };
        let mut frame = self.interface.mac.to_vec();
        // A locally administered station.
        frame.extend([2, 0, 0, 0, 0, 1]);
        frame.extend(ethertype.to_be_bytes());
        frame.resize(128, 0);
        let length = segment.emit(&mut frame[ethernet::LENGTH..], &[])?;
        frame.truncate(ethernet::LENGTH + length);
        Some(frame)
    }

    /// Whether the segment from that port has come through.
    fn sees(&self, port: u16) -> bool {
        let until = Instant::now() + PATIENCE;
        let mut bytes = [0; 256];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.watch.set_read_timeout(Some(left)).is_err() {
                return false;
            }
            let Ok(length) = self.watch.recv(&mut bytes) else {
                return false;
            };
            if source_port(&bytes[..length], self.from.is_ipv4()) == Some(port) {
                return true;
            }
        }
    }
}

/// A raw socket that sees the TCP segments of one address to another; IPv4 ones with their IP header.
fn watch(from: IpAddr, to: IpAddr) -> io::Result<UdpSocket> {
    let address = |ip| SockAddr::from(SocketAddr::new(ip, 0));
    let socket = Socket::new(
        Domain::for_address(SocketAddr::new(to, 0)),
        Type::RAW,
        Some(Protocol::TCP),
    )?;
    socket.bind(&address(to))?;
    socket.connect(&address(from))?;
    // A raw socket all the same; only its type offers a safe recv(2) here.
    Ok(UdpSocket::from(socket))
}

fn source_port(packet: &[u8], v4: bool) -> Option<u16> {
    let header = if v4 {
        usize::from(packet.first()? & 0xf) * 4
    } else {
        0
    };
    let segment = packet.get(header..)?.first_chunk::<{ tcp::LENGTH }>()?;
    Some(Tcp(segment).source())
}

/// An address on the link that is not ours, of the same family as `to`.
fn neighbour(own: &[IpNet], to: IpAddr) -> Option<IpAddr> {
    // The first address of an IPv6 prefix is every router's (RFC 4291 §2.6.1).
    let ours = |ip: &IpAddr| {
        *ip == to
            || own
                .iter()
                .any(|net| net.addr() == *ip || net.network() == *ip)
    };
    own.iter()
        .filter(|net| net.addr().is_ipv4() == to.is_ipv4())
        .filter(|net| !matches!(net.addr(), IpAddr::V6(ip) if ip.is_unicast_link_local()))
        .filter(|net| net.prefix_len() < net.max_prefix_len())
        .find_map(|net| net.hosts().take(own.len() + 2).find(|ip| !ours(ip)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_neighbour_is_on_the_link_and_not_us() {
        let nets = |texts: &[&str]| -> Vec<IpNet> {
            texts.iter().filter_map(|text| text.parse().ok()).collect()
        };
        for (own, to, expected) in [
            (&["192.0.2.1/24"][..], "192.0.2.10", Some("192.0.2.2")),
            (&["192.0.2.10/32"], "192.0.2.10", None),
            (
                &["192.0.2.10/32", "198.51.100.9/30"],
                "192.0.2.10",
                Some("198.51.100.10"),
            ),
            (
                &["fe80::1/64", "2001:db8::5/64"],
                "2001:db8::5",
                Some("2001:db8::1"),
            ),
            (&["fe80::1/64"], "2001:db8::5", None),
            (&["2001:db8::5/64"], "192.0.2.10", None),
        ] {
            let found = to.parse().ok().and_then(|to| neighbour(&nets(own), to));
            let expected: Option<IpAddr> = expected.and_then(|text| text.parse().ok());
            assert_eq!(found, expected, "{own:?}");
        }
    }
}
