//! The interfaces of this network namespace and their addresses, as rtnetlink(7) lists them.
#![forbid(unsafe_code)]

use std::io;

use ipnet::IpNet;

use super::netlink::{self, attributes, find_attribute, ip_address, text, u16_at, u32_at};

/// struct ifinfomsg.
const LINK: usize = 16;
/// struct ifaddrmsg.
const ADDRESS: usize = 8;

// include/uapi/linux/if_addr.h
const IFA_LOCAL: u16 = 2;
const IFA_ADDRESS: u16 = 1;

// include/uapi/linux/if_link.h
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_XDP: u16 = 43;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
const IFLA_XDP_DRV_PROG_ID: u16 = 5;
const IFLA_XDP_SKB_PROG_ID: u16 = 6;

/// An interface as the kernel describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// As the kernel numbers it.
    pub index: u32,
    /// As the kernel names it.
    pub name: String,
    /// ARPHRD_* of include/uapi/linux/if_arp.h.
    pub link_type: u16,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Its MTU, bytes.
    pub mtu: u32,
    /// Kind of a virtual device, such as `bridge`; empty for hardware.
    pub kind: String,
    /// The device below a VLAN or the like; for veth the peer.
    pub lower: Option<u32>,
    /// The bridge or bond that it is a port of.
    pub master: Option<u32>,
    /// Receive queues that were allocated; a driver may use fewer.
    pub receive_queues: u32,
    /// The XDP program that runs there.
    pub xdp: Option<AttachedProgram>,
}

/// An XDP program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachedProgram {
    /// The id of the program.
    pub id: u32,
    /// In the driver or its hardware, rather than generic.
    pub native: bool,
}

/// Every interface of the caller's network namespace.
///
/// # Errors
/// The kernel does not tell.
pub fn links() -> io::Result<Vec<Link>> {
    netlink::dump(
        libc::NETLINK_ROUTE,
        libc::RTM_GETLINK,
        &[0; LINK],
        |kind, body| (kind == libc::RTM_NEWLINK).then(|| link(body))?,
    )
}

/// The addresses of an interface, each with the prefix that is on its link.
///
/// # Errors
/// The kernel does not tell.
pub fn addresses(index: u32) -> io::Result<Vec<IpNet>> {
    netlink::dump(
        libc::NETLINK_ROUTE,
        libc::RTM_GETADDR,
        &[0; ADDRESS],
        |kind, body| {
            let ours = kind == libc::RTM_NEWADDR && u32_at(body, 4) == Some(index);
            ours.then(|| address(body))?
        },
    )
}

fn link(body: &[u8]) -> Option<Link> {
    let mut link = Link {
        link_type: u16_at(body, 2)?,
        index: u32_at(body, 4)?,
        ..Link::default()
    };
    for (kind, value) in attributes(body.get(LINK..)?) {
        match kind {
            IFLA_ADDRESS => link.mac = value.try_into().unwrap_or_default(),
            IFLA_IFNAME => link.name = text(value),
            IFLA_MTU => link.mtu = u32_at(value, 0)?,
            IFLA_LINK => link.lower = u32_at(value, 0),
            IFLA_MASTER => link.master = u32_at(value, 0),
            IFLA_NUM_RX_QUEUES => link.receive_queues = u32_at(value, 0)?,
            IFLA_LINKINFO => {
                link.kind = find_attribute(value, IFLA_INFO_KIND).map_or_else(String::new, text);
            }
            IFLA_XDP => link.xdp = attached(value),
            _ => {}
        }
    }
    Some(link)
}

fn attached(value: &[u8]) -> Option<AttachedProgram> {
    const NONE: u8 = 0;
    const GENERIC: u8 = 2;
    let mode = *find_attribute(value, IFLA_XDP_ATTACHED)?.first()?;
    // With programs in several places there is no IFLA_XDP_PROG_ID.
    let id = [IFLA_XDP_PROG_ID, IFLA_XDP_DRV_PROG_ID, IFLA_XDP_SKB_PROG_ID];
    let id = id
        .into_iter()
        .find_map(|kind| u32_at(find_attribute(value, kind)?, 0))
        .unwrap_or(0);
    (mode != NONE).then_some(AttachedProgram {
        id,
        native: mode != GENERIC,
    })
}

/// An address of struct ifaddrmsg and its attributes. On a point-to-point link IFA_ADDRESS is the other end's.
fn address(body: &[u8]) -> Option<IpNet> {
    let length = *body.get(1)?;
    let attributes = body.get(ADDRESS..)?;
    let value = find_attribute(attributes, IFA_LOCAL)
        .or_else(|| find_attribute(attributes, IFA_ADDRESS))?;
    IpNet::new(ip_address(value)?, length).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_described() {
        let links = links().unwrap();
        let lo = links.iter().find(|link| link.name == "lo").unwrap();
        assert_eq!(
            (lo.index, lo.link_type, lo.mac),
            (1, libc::ARPHRD_LOOPBACK, [0; 6])
        );
        assert!(lo.receive_queues >= 1 && lo.mtu > 0);
    }

    #[test]
    fn the_loopback_interface_has_addresses() {
        let addresses = addresses(1).unwrap();
        assert!(
            addresses.contains(&"127.0.0.1/8".parse().unwrap()),
            "{addresses:?}"
        );
    }

    #[test]
    fn cut_messages_are_no_links() {
        let whole = {
            let mut bytes = vec![0; LINK];
            bytes[4] = 7;
            bytes.extend([8, 0, 3, 0, b'e', b't', b'h', 0]);
            bytes
        };
        assert_eq!(link(&whole).unwrap().name, "eth");
        for length in 0..whole.len() {
            let name = link(&whole[..length]).map(|link| link.name);
            assert!(name.is_none_or(|name| name.is_empty()), "{length}");
        }
    }
}
