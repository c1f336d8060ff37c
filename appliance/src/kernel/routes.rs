//! Queries the routing table: the interface and next hop of packets to an address.
#![forbid(unsafe_code)]

use std::net::IpAddr;

use super::netlink;

// include/uapi/linux/rtnetlink.h
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
/// A gateway of another address family: struct rtvia, two bytes of family and the address.
const RTA_VIA: u16 = 18;
/// struct rtmsg.
const ROUTE: usize = 12;
const RTM_TYPE: usize = 7;

/// Index of the interface through which packets to `to` leave. `None`: the address is local to this network namespace, or
/// has no unicast route.
pub fn outgoing_interface(to: IpAddr) -> Option<u32> {
    next_hop(to).map(|(interface, _)| interface)
}

/// Index of the interface through which packets to `to` leave, and the address of the neighbour that they are sent to.
/// `None` as for [`outgoing_interface`].
pub fn next_hop(to: IpAddr) -> Option<(u32, IpAddr)> {
    let (family, address) = netlink::family_and_bytes(to);
    let mut request = vec![0; ROUTE];
    request[0] = family;
    request[1] = address.len() as u8 * 8;
    request.extend(netlink::attribute(RTA_DST, &address));
    let (kind, body) = netlink::query(libc::NETLINK_ROUTE, libc::RTM_GETROUTE, &request).ok()?;
    if kind != libc::RTM_NEWROUTE || *body.get(RTM_TYPE)? != libc::RTN_UNICAST {
        return None;
    }
    let attributes = body.get(ROUTE..)?;
    let interface = netlink::u32_at(netlink::find_attribute(attributes, RTA_OIF)?, 0)?;
    let via = || netlink::find_attribute(attributes, RTA_VIA)?.get(2..);
    let gateway = netlink::find_attribute(attributes, RTA_GATEWAY).or_else(via);
    let gateway = gateway.and_then(netlink::ip_address);
    Some((interface, gateway.unwrap_or(to)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn local_addresses_have_no_outgoing_interface() {
        for here in ["127.0.0.1", "::1"] {
            assert_eq!(outgoing_interface(here.parse().unwrap()), None);
        }
    }
}
