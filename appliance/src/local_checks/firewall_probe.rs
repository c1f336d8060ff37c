//! Tests, before the program is attached, whether this machine's firewall accepts the segments of validated clients.
//!
//! The kernel sees no SYN of such a client: its first segment is an ACK that belongs to no tracked connection. Rules such as
//! `ct state invalid drop` with nf_conntrack_tcp_loose=0, or a rule that `ct state new` must be a SYN, drop it after the TC
//! program, and the client hangs. The probe therefore injects one such ACK on the interface (the eBPF program `test_inject`),
//! with the source address of a neighbour on its link and the destination address and port of the service. A raw socket
//! receives what has passed INPUT (`raw_local_deliver`, net/ipv4/ip_input.c). Applications notice nothing: the kernel answers
//! an ACK without a cookie with a RST, which goes to that neighbour. If the ACK is not delivered, the probe sends a SYN. A
//! delivered SYN shows that the firewall distinguishes the two. If neither is delivered, the firewall may drop all
//! neighbours, and the probe shows nothing.
//!
//! A segment that a DNAT rule rewrites is not delivered either; connection tracking reports its new destination.
//!
//! The probe shows that the firewall accepts connections whose SYN it has not seen, on this interface, to this address and
//! port. It does not cover rules for other clients, rules for outgoing packets, or rules that are added later.

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

/// Time to wait for a delivery. Delivery is immediate, except on a busy machine.
const PATIENCE: Duration = Duration::from_millis(200);

/// The result of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reachability {
    /// The ACK was delivered.
    Reachable,
    /// The ACK was not delivered, but a SYN was.
    Dropped {
        /// The source address of the probe.
        from: IpAddr,
    },
    /// A DNAT rule rewrote the destination.
    Redirected {
        /// The new destination.
        on: SocketAddr,
    },
    /// Nothing was delivered, or the link has no usable neighbour address.
    Unknown,
}

/// Probes the address and port of a local service with the source address of a neighbour on the link.
///
/// # Errors
/// The address does not belong to this machine ([`io::ErrorKind::AddrNotAvailable`]), or the kernel refuses the sockets or
/// the injection.
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
        socket: open_raw_socket(from, to.ip())?,
    };
    probe.send(port, flags::ACK)?;
    if probe.delivered(&[port]).is_some() {
        return Ok(Reachability::Reachable);
    }
    if let Some(on) = kernel::dnat_target(SocketAddr::new(from, port), to)? {
        return Ok(Reachability::Redirected { on });
    }
    probe.send(port + 1, flags::SYN)?;
    let delivered = probe.delivered(&[port, port + 1]);
    // Without the RST, the half-open connection stays for a minute.
    probe.send(port + 1, flags::RST)?;
    // On a machine that stopped, the first ACK is late, and comes before the SYN.
    if delivered == Some(port) {
        return Ok(Reachability::Reachable);
    }
    probe.send(port + 2, flags::ACK)?;
    Ok(match (probe.delivered(&[port, port + 2]), delivered) {
        (Some(_), _) => Reachability::Reachable,
        (None, Some(_)) => Reachability::Dropped { from },
        (None, None) => Reachability::Unknown,
    })
}

struct Probe<'a> {
    program: &'a SchedClassifier,
    interface: &'a SteeredInterface,
    from: IpAddr,
    to: SocketAddr,
    socket: UdpSocket,
}

impl Probe<'_> {
    fn send(&self, port: u16, with: u8) -> io::Result<()> {
        let frame = self.frame(port, with).ok_or(io::ErrorKind::InvalidInput)?;
        // `ifindex` of struct __sk_buff. The other fields are zero.
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
                "the interface does not accept the frame; is it up?",
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
        // A locally administered source address.
        frame.extend([2, 0, 0, 0, 0, 1]);
        frame.extend(ethertype.to_be_bytes());
        frame.resize(128, 0);
        let length = segment.emit(&mut frame[ethernet::LENGTH..], &[])?;
        frame.truncate(ethernet::LENGTH + length);
        Some(frame)
    }

    /// The source port of the first segment that is delivered, of these.
    fn delivered(&self, ports: &[u16]) -> Option<u16> {
        let until = Instant::now() + PATIENCE;
        let mut bytes = [0; 256];
        // What has come in time is read, however late this thread runs.
        let mut left = PATIENCE;
        while !left.is_zero() && self.socket.set_read_timeout(Some(left)).is_ok() {
            let Ok(length) = self.socket.recv(&mut bytes) else {
                break;
            };
            let port = source_port(&bytes[..length], self.from.is_ipv4());
            if let Some(port) = port.filter(|port| ports.contains(port)) {
                return Some(port);
            }
            left = until.saturating_duration_since(Instant::now());
        }
        None
    }
}

/// Opens a raw socket that receives the TCP segments from one address to another. IPv4 segments include the IP header.
fn open_raw_socket(from: IpAddr, to: IpAddr) -> io::Result<UdpSocket> {
    let address = |ip| SockAddr::from(SocketAddr::new(ip, 0));
    let socket = Socket::new(
        Domain::for_address(SocketAddr::new(to, 0)),
        Type::RAW,
        Some(Protocol::TCP),
    )?;
    socket.bind(&address(to))?;
    socket.connect(&address(from))?;
    // This remains a raw socket. The type UdpSocket offers a safe recv(2).
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

/// An address on the link that is not our own, of the same family as `to`.
fn neighbour(own: &[IpNet], to: IpAddr) -> Option<IpAddr> {
    // The first address of an IPv6 prefix is the subnet-router anycast address (RFC 4291 §2.6.1).
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
    fn the_neighbour_is_on_the_link_and_not_an_own_address() {
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
