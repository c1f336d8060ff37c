//! Lists the interfaces of this network namespace and their addresses (rtnetlink(7)).
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use super::netlink::{self, attributes, find_attribute, ip_address, text, u16_at, u32_at};

/// struct ifinfomsg.
pub(super) const LINK: usize = 16;
/// struct ifaddrmsg.
const ADDRESS: usize = 8;

// include/uapi/linux/if_addr.h
const IFA_LOCAL: u16 = 2;
const IFA_ADDRESS: u16 = 1;
const IFA_BROADCAST: u16 = 4;

// include/uapi/linux/if_link.h
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_STATS64: u16 = 23;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_LINK_NETNSID: u16 = 37;
pub(super) const IFLA_XDP: u16 = 43;
const IFLA_PERM_ADDRESS: u16 = 54;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BOND_SLAVE_STATE: u16 = 1;
const IFLA_BOND_ALL_SLAVES_ACTIVE: u16 = 17;
const IFLA_VLAN_ID: u16 = 1;
const IFLA_VLAN_PROTOCOL: u16 = 5;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
const IFLA_XDP_DRV_PROG_ID: u16 = 5;
const IFLA_XDP_SKB_PROG_ID: u16 = 6;

/// An interface as the kernel describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Interface index.
    pub index: u32,
    /// Interface name.
    pub name: String,
    /// ARPHRD_* of include/uapi/linux/if_arp.h.
    pub link_type: u16,
    /// Hardware address.
    pub mac: [u8; 6],
    /// The hardware address that the device was made with; `None`: it has none of its own.
    pub permanent_mac: Option<[u8; 6]>,
    /// MTU, bytes.
    pub mtu: u32,
    /// Kind of a virtual device, such as `bridge`. Empty for hardware.
    pub kind: String,
    /// EtherType and id of a VLAN device's tag.
    pub vlan: Option<(u16, u16)>,
    /// The lower device of a VLAN, macvlan or similar; the peer of a veth. `None` also if it is in another network namespace.
    pub lower: Option<u32>,
    /// The bridge or bond that has this device as a port.
    pub master: Option<u32>,
    /// Whether it is a port that its bond uses for nothing at the moment (`BOND_STATE_BACKUP`).
    pub standby: bool,
    /// Whether it is a bond that receives on such ports as well (`all_slaves_active`).
    pub receives_on_standby: bool,
    /// Whether it is set up (IFF_UP).
    pub up: bool,
    /// Whether it has a carrier (IFF_LOWER_UP).
    pub carrier: bool,
    /// Allocated receive queues. A driver may use fewer.
    pub receive_queues: u32,
    /// The attached XDP program.
    pub xdp: Option<AttachedProgram>,
    /// Frames that it has received.
    pub received: u64,
    /// Frames that its driver lost, in the order of [`LOSSES`].
    pub losses: [u64; LOSSES.len()],
}

/// The counters of `struct rtnl_link_stats64` (include/uapi/linux/if_link.h) that count lost frames: name, and place.
pub const LOSSES: [(&str, usize); 6] = [
    ("rx_errors", 4),
    ("tx_errors", 5),
    ("rx_dropped", 6),
    ("tx_dropped", 7),
    ("rx_fifo_errors", 14),
    ("rx_missed_errors", 15),
];

/// An XDP program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachedProgram {
    /// The id of the program.
    pub id: u32,
    /// Whether it runs in the driver or the hardware, not in generic mode.
    pub native: bool,
}

/// Lists every interface of the caller's network namespace.
///
/// # Errors
/// The netlink dump fails.
pub fn links() -> io::Result<Vec<Link>> {
    netlink::dump(
        libc::NETLINK_ROUTE,
        libc::RTM_GETLINK,
        &[0; LINK],
        |kind, body| (kind == libc::RTM_NEWLINK).then(|| parse_link(body))?,
    )
}

/// Lists the addresses of an interface, each with its on-link prefix.
///
/// # Errors
/// The netlink dump fails.
pub fn addresses(index: u32) -> io::Result<Vec<IpNet>> {
    netlink::dump(
        libc::NETLINK_ROUTE,
        libc::RTM_GETADDR,
        &[0; ADDRESS],
        |kind, body| {
            let ours = kind == libc::RTM_NEWADDR && u32_at(body, 4) == Some(index);
            ours.then(|| parse_address(body))?
        },
    )
}

/// Lists the addresses of this network namespace, on all interfaces.
///
/// # Errors
/// The netlink dump fails.
pub fn own_addresses() -> io::Result<BTreeSet<IpAddr>> {
    let addresses = netlink::dump(
        libc::NETLINK_ROUTE,
        libc::RTM_GETADDR,
        &[0; ADDRESS],
        |kind, body| (kind == libc::RTM_NEWADDR).then(|| parse_address(body))?,
    )?;
    Ok(addresses.into_iter().map(|net| net.addr()).collect())
}

/// Lists the broadcast addresses of the IPv4 networks that this network namespace is connected to, but for 255.255.255.255.
///
/// # Errors
/// The netlink dump fails.
pub fn broadcast_addresses() -> io::Result<BTreeSet<IpAddr>> {
    let found = netlink::dump(
        libc::NETLINK_ROUTE,
        libc::RTM_GETADDR,
        &[0; ADDRESS],
        |kind, body| (kind == libc::RTM_NEWADDR).then(|| parse_broadcasts(body))?,
    )?;
    let all = found.into_iter().flatten().flatten();
    let directed = all.filter(|one| *one != Ipv4Addr::BROADCAST);
    Ok(directed.map(IpAddr::from).collect())
}

/// The broadcast address that is set, and the last address of the network. The kernel takes both for broadcasts, the second
/// in networks of more than two addresses (`fib_add_ifaddr` in net/ipv4/fib_frontend.c).
fn parse_broadcasts(body: &[u8]) -> Option<[Option<Ipv4Addr>; 2]> {
    let length = *body.get(1)?;
    let attributes = body.get(ADDRESS..)?;
    let v4 = |kind| match ip_address(find_attribute(attributes, kind)?)? {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    };
    let net = Ipv4Net::new(v4(IFA_ADDRESS)?, length).ok()?;
    Some([v4(IFA_BROADCAST), (length < 31).then(|| net.broadcast())])
}

fn parse_link(body: &[u8]) -> Option<Link> {
    let flags = u32_at(body, 8)?;
    let mut link = Link {
        link_type: u16_at(body, 2)?,
        index: u32_at(body, 4)?,
        up: flags & libc::IFF_UP as u32 != 0,
        carrier: flags & libc::IFF_LOWER_UP as u32 != 0,
        ..Link::default()
    };
    let mut is_lower_elsewhere = false;
    for (kind, value) in attributes(body.get(LINK..)?) {
        match kind {
            IFLA_ADDRESS => link.mac = value.try_into().unwrap_or_default(),
            IFLA_PERM_ADDRESS => link.permanent_mac = value.try_into().ok(),
            IFLA_IFNAME => link.name = text(value),
            IFLA_MTU => link.mtu = u32_at(value, 0)?,
            IFLA_LINK => link.lower = u32_at(value, 0),
            IFLA_LINK_NETNSID => is_lower_elsewhere = true,
            IFLA_MASTER => link.master = u32_at(value, 0),
            IFLA_NUM_RX_QUEUES => link.receive_queues = u32_at(value, 0)?,
            IFLA_STATS64 => {
                link.received = u64_at(value, 0).unwrap_or(0);
                link.losses = LOSSES.map(|(_, place)| u64_at(value, place * 8).unwrap_or(0));
            }
            IFLA_LINKINFO => {
                link.kind = find_attribute(value, IFLA_INFO_KIND).map_or_else(String::new, text);
                let data = find_attribute(value, IFLA_INFO_DATA);
                match link.kind.as_str() {
                    "vlan" => link.vlan = data.and_then(parse_vlan),
                    "bond" => {
                        let all =
                            find_attribute(data.unwrap_or_default(), IFLA_BOND_ALL_SLAVES_ACTIVE);
                        link.receives_on_standby = all.is_some_and(|all| all.first() == Some(&1));
                    }
                    _ => {}
                }
                link.standby = is_standby(value);
            }
            IFLA_XDP => link.xdp = parse_xdp(value),
            _ => {}
        }
    }
    if is_lower_elsewhere {
        // The index is one of that namespace: here it may be that of any device.
        link.lower = None;
    }
    Some(link)
}

/// Whether the IFLA_LINKINFO of a device says that it is a port of a bond that the bond does not use.
fn is_standby(info: &[u8]) -> bool {
    const BOND_STATE_BACKUP: u8 = 1;
    let of_bond =
        find_attribute(info, IFLA_INFO_SLAVE_KIND).is_some_and(|kind| text(kind) == "bond");
    let data = find_attribute(info, IFLA_INFO_SLAVE_DATA).filter(|_| of_bond);
    let state = data.and_then(|data| find_attribute(data, IFLA_BOND_SLAVE_STATE));
    state.is_some_and(|state| state.first() == Some(&BOND_STATE_BACKUP))
}

fn u64_at(value: &[u8], at: usize) -> Option<u64> {
    let bytes = value.get(at..at + 8)?;
    bytes.try_into().ok().map(u64::from_ne_bytes)
}

/// EtherType (in network order) and id of a VLAN.
fn parse_vlan(value: &[u8]) -> Option<(u16, u16)> {
    let id = u16_at(find_attribute(value, IFLA_VLAN_ID)?, 0)?;
    let protocol = u16_at(find_attribute(value, IFLA_VLAN_PROTOCOL)?, 0)?;
    Some((u16::from_be(protocol), id))
}

fn parse_xdp(value: &[u8]) -> Option<AttachedProgram> {
    const NONE: u8 = 0;
    const GENERIC: u8 = 2;
    let mode = *find_attribute(value, IFLA_XDP_ATTACHED)?.first()?;
    // IFLA_XDP_PROG_ID is absent if programs are attached in several modes.
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

/// Parses struct ifaddrmsg and its attributes. On a point-to-point link IFA_ADDRESS is the address of the peer.
fn parse_address(body: &[u8]) -> Option<IpNet> {
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

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = (value.len() as u16 + 4).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn an_index_of_another_namespace_is_no_lower_device() {
        let message = |attributes: &[Vec<u8>]| [vec![0; LINK], attributes.concat()].concat();
        let lower = attribute(IFLA_LINK, &3_u32.to_ne_bytes());
        let elsewhere = attribute(IFLA_LINK_NETNSID, &0_u32.to_ne_bytes());
        let here = parse_link(&message(std::slice::from_ref(&lower))).unwrap();
        assert_eq!(here.lower, Some(3));
        // The kernel's order, and another one.
        for both in [[lower.clone(), elsewhere.clone()], [elsewhere, lower]] {
            assert_eq!(parse_link(&message(&both)).unwrap().lower, None);
        }
    }

    #[test]
    fn a_port_says_whether_its_bond_uses_it() {
        let port = |kind: &[u8], state| {
            let state = attribute(IFLA_BOND_SLAVE_STATE, &[state]);
            let data = attribute(IFLA_INFO_SLAVE_DATA, &state);
            is_standby(&[attribute(IFLA_INFO_SLAVE_KIND, kind), data].concat())
        };
        assert!(port(b"bond\0", 1));
        assert!(!port(b"bond\0", 0));
        assert!(!port(b"bridge\0", 1));
        assert!(!is_standby(&[]));
    }

    #[test]
    fn lists_the_loopback_interface() {
        let links = links().unwrap();
        let lo = links.iter().find(|link| link.name == "lo").unwrap();
        assert_eq!(
            (lo.index, lo.link_type, lo.mac),
            (1, libc::ARPHRD_LOOPBACK, [0; 6])
        );
        assert!(lo.receive_queues >= 1 && lo.mtu > 0);
    }

    #[test]
    fn lists_the_addresses_of_the_loopback_interface() {
        let addresses = addresses(1).unwrap();
        assert!(
            addresses.contains(&"127.0.0.1/8".parse().unwrap()),
            "{addresses:?}"
        );
    }

    #[test]
    fn truncated_messages_yield_no_link() {
        let whole = {
            let mut bytes = vec![0; LINK];
            bytes[4] = 7;
            bytes.extend([8, 0, 3, 0, b'e', b't', b'h', 0]);
            bytes
        };
        assert_eq!(parse_link(&whole).unwrap().name, "eth");
        for length in 0..whole.len() {
            let name = parse_link(&whole[..length]).map(|link| link.name);
            assert!(name.is_none_or(|name| name.is_empty()), "{length}");
        }
    }

    #[test]
    fn broadcast_addresses_are_those_that_the_kernel_knows() {
        // family, prefix length, flags, scope, interface index (struct ifaddrmsg), then attributes.
        let message = |length: u8, attributes: &[(u8, [u8; 4])]| {
            let mut body = vec![libc::AF_INET as u8, length, 0, 0, 1, 0, 0, 0];
            for (kind, value) in attributes {
                body.extend([8, 0, *kind, 0]);
                body.extend(value);
            }
            parse_broadcasts(&body).unwrap()
        };
        let address = (IFA_ADDRESS as u8, [192, 0, 2, 1]);
        let set = (IFA_BROADCAST as u8, [192, 0, 2, 127]);
        let last = Some(Ipv4Addr::new(192, 0, 2, 255));
        assert_eq!(message(24, &[address]), [None, last]);
        let both = [Some(Ipv4Addr::new(192, 0, 2, 127)), last];
        assert_eq!(message(24, &[address, set]), both);
        for length in [31, 32] {
            assert_eq!(message(length, &[address]), [None, None]);
        }
        let lo = Ipv4Addr::new(127, 255, 255, 255);
        assert!(broadcast_addresses().unwrap().contains(&lo.into()));
    }
}
