//! Queries the routing table: the interface and next hop of packets to an address, and the MTUs of routes.
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
const RTA_MULTIPATH: u16 = 9;
const RTAX_MTU: u16 = 2;
/// struct rtmsg.
const ROUTE: usize = 12;
const RTM_TYPE: usize = 7;
/// struct rtnexthop.
const RTNEXTHOP: usize = 8;

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

/// The smallest MTU that routes set, by family; `None`: they set none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteMtus {
    /// Of IPv4 routes, bytes.
    pub v4: Option<u32>,
    /// Of IPv6 routes, bytes.
    pub v6: Option<u32>,
}

/// The smallest MTU of the routes through `interfaces` (`ip route add … mtu 1400`).
///
/// # Errors
/// The netlink dump fails.
pub fn route_mtus(interfaces: &[u32]) -> io::Result<RouteMtus> {
    let smallest = |family: libc::c_int| {
        let mut request = [0; ROUTE];
        request[0] = family as u8;
        let mtus = netlink::dump(
            libc::NETLINK_ROUTE,
            libc::RTM_GETROUTE,
            &request,
            |kind, body| (kind == libc::RTM_NEWROUTE).then(|| mtu_of_route(body, interfaces))?,
        )?;
        Ok::<_, io::Error>(mtus.into_iter().min())
    };
    Ok(RouteMtus {
        v4: smallest(libc::AF_INET)?,
        v6: smallest(libc::AF_INET6)?,
    })
}

/// The MTU in a message about a route, if it is a unicast route through one of `interfaces` and sets one. A route whose next hops
/// are not named counts.
fn mtu_of_route(body: &[u8], interfaces: &[u32]) -> Option<u32> {
    let mtu = mtu_of(body)?;
    let attributes = body.get(ROUTE..)?;
    let single =
        netlink::find_attribute(attributes, RTA_OIF).and_then(|oif| netlink::u32_at(oif, 0));
    let goes_there = match (single, netlink::find_attribute(attributes, RTA_MULTIPATH)) {
        (Some(index), _) => interfaces.contains(&index),
        (None, Some(hops)) => next_hops(hops).any(|index| interfaces.contains(&index)),
        (None, None) => true,
    };
    goes_there.then_some(mtu)
}

/// The MTU in a message about a unicast route.
fn mtu_of(body: &[u8]) -> Option<u32> {
    if *body.get(RTM_TYPE)? != libc::RTN_UNICAST {
        return None;
    }
    let metrics = netlink::find_attribute(body.get(ROUTE..)?, RTA_METRICS)?;
    netlink::u32_at(netlink::find_attribute(metrics, RTAX_MTU)?, 0)
}

/// Whether a message about a route may change what [`route_mtus`] says. `any`: any unicast route may, because it may replace one
/// with an MTU.
pub(super) fn may_change_mtu(body: &[u8], any: bool) -> bool {
    any && body.get(RTM_TYPE) == Some(&libc::RTN_UNICAST) || mtu_of(body).is_some()
}

/// The interfaces of several next hops: struct rtnexthop, each as long as it says.
fn next_hops(mut bytes: &[u8]) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let length = usize::from(netlink::u16_at(bytes, 0)?).max(RTNEXTHOP);
        let index = netlink::u32_at(bytes, 4)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(index)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn route(kind: u8, hops: &[u8], mtu: Option<u32>) -> Vec<u8> {
        let mut body = vec![0; ROUTE];
        body[RTM_TYPE] = kind;
        body.extend(hops);
        if let Some(mtu) = mtu {
            let metric = netlink::attribute(RTAX_MTU, &mtu.to_ne_bytes());
            body.extend(netlink::attribute(RTA_METRICS | netlink::NESTED, &metric));
        }
        body
    }

    #[test]
    fn only_unicast_routes_through_the_interfaces_count() {
        let through = |index: u32| netlink::attribute(RTA_OIF, &index.to_ne_bytes());
        let several = |indices: &[u32]| {
            let hop = |index: &u32| [[8, 0, 0, 0], index.to_ne_bytes()].concat();
            netlink::attribute(
                RTA_MULTIPATH,
                &indices.iter().flat_map(hop).collect::<Vec<_>>(),
            )
        };
        let (unicast, local) = (libc::RTN_UNICAST, libc::RTN_LOCAL);
        for (kind, hops, mtu, expected) in [
            (unicast, through(3), Some(1400), Some(1400)),
            (unicast, through(3), None, None),
            (unicast, through(5), Some(1400), None),
            (local, through(3), Some(1400), None),
            (unicast, several(&[5, 4]), Some(1300), Some(1300)),
            (unicast, several(&[5, 6]), Some(1300), None),
            (unicast, vec![], Some(1280), Some(1280)),
        ] {
            let body = route(kind, &hops, mtu);
            assert_eq!(mtu_of_route(&body, &[3, 4]), expected, "{hops:?}");
        }
    }

    #[test]
    fn a_route_without_an_mtu_may_replace_one_with_it() {
        let bare = route(libc::RTN_UNICAST, &[], None);
        assert!(may_change_mtu(&bare, true) && !may_change_mtu(&bare, false));
        let local = route(libc::RTN_LOCAL, &[], None);
        assert!(!may_change_mtu(&local, true));
        let set = route(libc::RTN_UNICAST, &[], Some(1400));
        assert!(may_change_mtu(&set, false));
    }

    #[test]
    fn local_addresses_have_no_outgoing_interface() {
        for here in ["127.0.0.1", "::1"] {
            assert_eq!(outgoing_interface(here.parse().unwrap()), None);
        }
    }
}
