//! The neighbour tables (ARP and NDP): lists entries, and has the kernel resolve or confirm one.
#![forbid(unsafe_code)]

use std::io;
use std::net::IpAddr;

use super::netlink::{self, attribute, find_attribute, ip_address, u16_at, u32_at};

/// struct ndmsg of include/uapi/linux/neighbour.h.
const NEIGHBOUR: usize = 12;
const NDA_DST: u16 = 1;
/// "Use": the kernel does with the entry as if it had a packet for the neighbour.
const NTF_USE: u8 = 1;
const NUD_STALE: u16 = 0x04;
const NUD_FAILED: u16 = 0x20;

/// An entry of the neighbour tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Index of its interface.
    pub interface: u32,
    /// Its address.
    pub address: IpAddr,
    state: u16,
}

impl Neighbour {
    /// Whether nobody has confirmed its hardware address lately (NUD_STALE).
    pub fn is_stale(&self) -> bool {
        self.state & NUD_STALE != 0
    }

    /// Whether it did not answer (NUD_FAILED).
    pub fn has_failed(&self) -> bool {
        self.state & NUD_FAILED != 0
    }
}

/// Lists the neighbours of all interfaces of this network namespace.
///
/// # Errors
/// The netlink dump fails.
pub fn neighbours() -> io::Result<Vec<Neighbour>> {
    netlink::dump(
        libc::NETLINK_ROUTE,
        libc::RTM_GETNEIGH,
        &[0; NEIGHBOUR],
        |kind, body| (kind == libc::RTM_NEWNEIGH).then(|| parse(body))?,
    )
}

/// Has the kernel resolve a neighbour that it does not know, or confirm one whose entry is stale, as it does when it sends
/// a packet there (`neigh_event_send`). An entry that is valid does not change.
///
/// # Errors
/// The interface does not exist, or the process has no CAP_NET_ADMIN.
pub fn use_neighbour(interface: u32, address: IpAddr) -> io::Result<()> {
    let (family, bytes) = netlink::family_and_bytes(address);
    let mut request = vec![0; NEIGHBOUR];
    request[0] = family;
    request[4..8].copy_from_slice(&interface.to_ne_bytes());
    request[10] = NTF_USE;
    request.extend(attribute(NDA_DST, &bytes));
    let flags = libc::NLM_F_CREATE;
    netlink::change(libc::NETLINK_ROUTE, libc::RTM_NEWNEIGH, flags, &request)
}

fn parse(body: &[u8]) -> Option<Neighbour> {
    Some(Neighbour {
        interface: u32_at(body, 4)?,
        state: u16_at(body, 8)?,
        address: ip_address(find_attribute(body.get(NEIGHBOUR..)?, NDA_DST)?)?,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn truncated_messages_yield_no_neighbour() {
        let mut whole = vec![0; NEIGHBOUR];
        (whole[4], whole[8]) = (7, 4);
        whole.extend(attribute(NDA_DST, &[192, 0, 2, 1]));
        let expected = Neighbour {
            interface: 7,
            address: "192.0.2.1".parse().unwrap(),
            state: NUD_STALE,
        };
        assert_eq!(parse(&whole), Some(expected));
        assert!(expected.is_stale() && !expected.has_failed());
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), None, "{length}");
        }
    }
}
