//! Queries the routing table: the interface through which packets to an address leave.
#![forbid(unsafe_code)]

use std::net::IpAddr;

use super::netlink;

// include/uapi/linux/rtnetlink.h
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
/// struct rtmsg.
const ROUTE: usize = 12;
const RTM_TYPE: usize = 7;

/// Index of the interface through which packets to `to` leave. `None`: the address is local to this network namespace, or
/// has no unicast route.
pub fn outgoing_interface(to: IpAddr) -> Option<u32> {
    let (family, address) = netlink::family_and_bytes(to);
    let mut request = vec![0; ROUTE];
    request[0] = family;
    request[1] = address.len() as u8 * 8;
    request.extend(netlink::attribute(RTA_DST, &address));
    let (kind, body) = netlink::query(libc::NETLINK_ROUTE, libc::RTM_GETROUTE, &request).ok()?;
    if kind != libc::RTM_NEWROUTE || *body.get(RTM_TYPE)? != libc::RTN_UNICAST {
        return None;
    }
    netlink::u32_at(netlink::find_attribute(body.get(ROUTE..)?, RTA_OIF)?, 0)
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
