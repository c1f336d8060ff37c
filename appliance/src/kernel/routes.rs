//! Queries the routing table: the interface and next hop of packets to an address, and the MTU of default routes.
#![forbid(unsafe_code)]

use std::io;
use std::net::IpAddr;

use super::netlink;

// include/uapi/linux/rtnetlink.h
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
/// A gateway of another address family: struct rtvia, two bytes of family and the address.
const RTA_VIA: u16 = 18;
const RTA_METRICS: u16 = 8;
const RTAX_MTU: u16 = 2;
/// struct rtmsg.
const ROUTE: usize = 12;
const RTM_DST_LEN: usize = 1;
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

/// The smallest MTU that default routes set, by family; `None`: they set none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteMtus {
    /// Of IPv4 routes, bytes.
    pub v4: Option<u32>,
    /// Of IPv6 routes, bytes.
    pub v6: Option<u32>,
}

/// The MTU of the default routes through `interfaces` (`ip route add default … mtu 1400`).
///
/// # Errors
/// The netlink dump fails.
pub fn default_route_mtus(interfaces: &[u32]) -> io::Result<RouteMtus> {
    let smallest = |family: libc::c_int| {
        let mut request = [0; ROUTE];
        request[0] = family as u8;
        let mtus = netlink::dump(
            libc::NETLINK_ROUTE,
            libc::RTM_GETROUTE,
            &request,
            |kind, body| (kind == libc::RTM_NEWROUTE).then(|| mtu_of_default(body, interfaces))?,
        )?;
        Ok::<_, io::Error>(mtus.into_iter().min())
    };
    Ok(RouteMtus {
        v4: smallest(libc::AF_INET)?,
        v6: smallest(libc::AF_INET6)?,
    })
}

/// The MTU in a message about a route, if it is a default route through one of `interfaces` and sets one. A route with
/// several next hops names no interface, and counts.
fn mtu_of_default(body: &[u8], interfaces: &[u32]) -> Option<u32> {
    if *body.get(RTM_DST_LEN)? != 0 || *body.get(RTM_TYPE)? != libc::RTN_UNICAST {
        return None;
    }
    let attributes = body.get(ROUTE..)?;
    let interface =
        netlink::find_attribute(attributes, RTA_OIF).and_then(|oif| netlink::u32_at(oif, 0));
    if interface.is_some_and(|index| !interfaces.contains(&index)) {
        return None;
    }
    let metrics = netlink::find_attribute(attributes, RTA_METRICS)?;
    netlink::u32_at(netlink::find_attribute(metrics, RTAX_MTU)?, 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_default_routes_through_the_interfaces_count() {
        let route = |prefix_length: u8, interface: u32, mtu: Option<u32>| {
            let mut body = vec![0; ROUTE];
            (body[RTM_DST_LEN], body[RTM_TYPE]) = (prefix_length, libc::RTN_UNICAST);
            body.extend(netlink::attribute(RTA_OIF, &interface.to_ne_bytes()));
            if let Some(mtu) = mtu {
                let metric = netlink::attribute(RTAX_MTU, &mtu.to_ne_bytes());
                body.extend(netlink::attribute(RTA_METRICS | netlink::NESTED, &metric));
            }
            mtu_of_default(&body, &[3, 4])
        };
        assert_eq!(route(0, 3, Some(1400)), Some(1400));
        assert_eq!(route(0, 3, None), None);
        assert_eq!(route(24, 3, Some(1400)), None);
        assert_eq!(route(0, 5, Some(1400)), None);
    }

    #[test]
    fn local_addresses_have_no_outgoing_interface() {
        for here in ["127.0.0.1", "::1"] {
            assert_eq!(outgoing_interface(here.parse().unwrap()), None);
        }
    }
}
