//! Whether what comes for a local service goes past this network namespace's sockets: by a route, or by a DNAT rule.
//!
//! The kernel is asked, by netlink: for its route, and for what its connection tracking made of a segment
//! (`ctnetlink_get_conntrack`, net/netfilter/nf_conntrack_netlink.c).

use std::io;
use std::net::{IpAddr, SocketAddr};

use super::netlink;

// include/uapi/linux/rtnetlink.h
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
/// struct rtmsg.
const ROUTE: usize = 12;
const RTM_TYPE: usize = 7;

/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET`, and `…_NEW`, of include/uapi/linux/netfilter/nfnetlink*.h.
const CT_GET: u16 = 1 << 8 | 1;
const CT_NEW: u16 = 1 << 8;
/// struct nfgenmsg.
const GENERIC: usize = 4;

// include/uapi/linux/netfilter/nfnetlink_conntrack.h
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4: u16 = 1;
const CTA_IP_V6: u16 = 3;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_PORT: u16 = 2;
const NESTED: u16 = 1 << 15;

/// The interface, by index, that packets for `to` leave by; nothing if they are for this network namespace itself, or for
/// nobody.
pub(super) fn leaves_by(to: IpAddr) -> Option<u32> {
    let (family, bytes) = family(to);
    let mut question = vec![0; ROUTE];
    question[0] = family;
    question[1] = bytes.len() as u8 * 8;
    question.extend(attribute(RTA_DST, &bytes));
    let route = netlink::get(libc::NETLINK_ROUTE, libc::RTM_GETROUTE, &question).ok()?;
    let (kind, body) = (route.0, route.1.as_slice());
    if kind != libc::RTM_NEWROUTE || *body.get(RTM_TYPE)? != libc::RTN_UNICAST {
        return None;
    }
    let mut attributes = netlink::attributes(body.get(ROUTE..)?);
    let (_, index) = attributes.find(|(kind, _)| *kind == RTA_OIF)?;
    netlink::u32_at(index, 0)
}

/// Where a DNAT rule has sent the segment from `from` to `to` that has just come in; nothing if it is tracked without
/// that, or not at all.
///
/// # Errors
/// The kernel does not tell; it needs CAP_NET_ADMIN.
pub(super) fn translated(from: SocketAddr, to: SocketAddr) -> io::Result<Option<SocketAddr>> {
    let mut question = vec![0; GENERIC];
    question[0] = family(to.ip()).0;
    question.extend(tuple(from, to));
    match netlink::get(libc::NETLINK_NETFILTER, CT_GET, &question) {
        Ok((CT_NEW, body)) => Ok(
            replies_from(body.get(GENERIC..).unwrap_or_default()).filter(|origin| *origin != to)
        ),
        Ok(_) => Ok(None),
        // Not tracked, or no tracking in this kernel.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where the replies of a tracked connection come from.
fn replies_from(connection: &[u8]) -> Option<SocketAddr> {
    let within = |bytes, wanted| {
        let mut found = netlink::attributes(bytes);
        found
            .find(|(kind, _)| *kind == wanted)
            .map(|(_, value)| value)
    };
    let tuple = within(connection, CTA_TUPLE_REPLY)?;
    let ip = within(tuple, CTA_TUPLE_IP)?;
    let ip = within(ip, CTA_IP_V4).or_else(|| within(ip, CTA_IP_V6))?;
    let port = within(within(tuple, CTA_TUPLE_PROTO)?, CTA_PROTO_PORT)?;
    let port = u16::from_be_bytes(port.try_into().ok()?);
    Some(SocketAddr::new(netlink::ip(ip)?, port))
}

/// CTA_TUPLE_ORIG; the attributes of the destination follow those of the source.
fn tuple(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let address = if to.is_ipv4() { CTA_IP_V4 } else { CTA_IP_V6 };
    let ip = [
        attribute(address, &family(from.ip()).1),
        attribute(address + 1, &family(to.ip()).1),
    ];
    let protocol = [
        attribute(CTA_PROTO_NUM, &[libc::IPPROTO_TCP as u8]),
        attribute(CTA_PROTO_PORT, &from.port().to_be_bytes()),
        attribute(CTA_PROTO_PORT + 1, &to.port().to_be_bytes()),
    ];
    let both = [
        attribute(CTA_TUPLE_IP | NESTED, &ip.concat()),
        attribute(CTA_TUPLE_PROTO | NESTED, &protocol.concat()),
    ];
    attribute(CTA_TUPLE_ORIG | NESTED, &both.concat())
}

fn family(ip: IpAddr) -> (u8, Vec<u8>) {
    match ip {
        IpAddr::V4(ip) => (libc::AF_INET as u8, ip.octets().to_vec()),
        IpAddr::V6(ip) => (libc::AF_INET6 as u8, ip.octets().to_vec()),
    }
}

/// struct nlattr and its value, padded to 4 bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = (value.len() as u16 + 4).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_address_is_here() {
        for here in ["127.0.0.1", "::1"] {
            assert_eq!(leaves_by(here.parse().unwrap()), None);
        }
    }

    #[test]
    fn the_replies_come_from_where_the_tuple_says() {
        for (from, to) in [
            ("192.0.2.1:1024", "192.0.2.10:80"),
            ("[2001:db8::1]:1024", "[2001:db8::5]:443"),
        ] {
            let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
            let mut tuple = tuple(to, from);
            let kind = CTA_TUPLE_REPLY | NESTED;
            tuple[2..4].copy_from_slice(&kind.to_ne_bytes());
            assert_eq!(replies_from(&tuple), Some(to));
            for length in 0..tuple.len() {
                assert_eq!(replies_from(&tuple[..length]), None, "{length}");
            }
        }
    }
}
