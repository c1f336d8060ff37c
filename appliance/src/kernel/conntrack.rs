//! Looks up connections in connection tracking (`ctnetlink_get_conntrack`, net/netfilter/nf_conntrack_netlink.c).
#![forbid(unsafe_code)]

use std::io;
use std::net::SocketAddr;

use super::netlink::{self, NESTED, attribute, family_and_bytes, find_attribute};

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

/// The address to which a DNAT rule rewrote the destination of the connection from `from` to `to`, which has just
/// arrived. `None`: the connection is tracked without DNAT, or not tracked.
///
/// # Errors
/// The kernel refuses the query, which needs CAP_NET_ADMIN.
pub fn dnat_target(from: SocketAddr, to: SocketAddr) -> io::Result<Option<SocketAddr>> {
    let mut request = vec![0; GENERIC];
    request[0] = family_and_bytes(to.ip()).0;
    request.extend(tuple(from, to));
    match netlink::query(libc::NETLINK_NETFILTER, CT_GET, &request) {
        Ok((CT_NEW, body)) => Ok(
            reply_source(body.get(GENERIC..).unwrap_or_default()).filter(|origin| *origin != to)
        ),
        Ok(_) => Ok(None),
        // The connection is not tracked, or this kernel has no connection tracking.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The source of the replies of a tracked connection.
fn reply_source(connection: &[u8]) -> Option<SocketAddr> {
    let tuple = find_attribute(connection, CTA_TUPLE_REPLY)?;
    let ip = find_attribute(tuple, CTA_TUPLE_IP)?;
    let ip = find_attribute(ip, CTA_IP_V4).or_else(|| find_attribute(ip, CTA_IP_V6))?;
    let port = find_attribute(find_attribute(tuple, CTA_TUPLE_PROTO)?, CTA_PROTO_PORT)?;
    let port = u16::from_be_bytes(port.try_into().ok()?);
    Some(SocketAddr::new(netlink::ip_address(ip)?, port))
}

/// Encodes CTA_TUPLE_ORIG. The type of each destination attribute is that of the source attribute plus 1.
fn tuple(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let address = if to.is_ipv4() { CTA_IP_V4 } else { CTA_IP_V6 };
    let ip = [
        attribute(address, &family_and_bytes(from.ip()).1),
        attribute(address + 1, &family_and_bytes(to.ip()).1),
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_source_of_the_reply_tuple() {
        for (from, to) in [
            ("192.0.2.1:1024", "192.0.2.10:80"),
            ("[2001:db8::1]:1024", "[2001:db8::5]:443"),
        ] {
            let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
            let mut tuple = tuple(to, from);
            let kind = CTA_TUPLE_REPLY | NESTED;
            tuple[2..4].copy_from_slice(&kind.to_ne_bytes());
            assert_eq!(reply_source(&tuple), Some(to));
            for length in 0..tuple.len() {
                assert_eq!(reply_source(&tuple[..length]), None, "{length}");
            }
        }
    }
}
