//! What rtnetlink(7) says about the interfaces of this network namespace and their addresses.
//!
//! Asked by netlink, since /sys may show another namespace's devices. Read by hand and leniently: an attribute that a
//! newer kernel adds or lengthens must not keep the appliance from starting.

use std::io::{self, Read as _, Write as _};
use std::net::IpAddr;

use ipnet::IpNet;
use socket2::{Domain, Protocol, Socket, Type};

/// struct nlmsghdr.
const HEADER: usize = 16;
/// struct ifinfomsg.
const LINK: usize = 16;
/// struct ifaddrmsg.
const ADDRESS: usize = 8;
const NLA_TYPE_MASK: u16 = 0x3fff;

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
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    /// ARPHRD_* of include/uapi/linux/if_arp.h.
    pub(super) link_type: u16,
    pub(super) mac: [u8; 6],
    pub(super) mtu: u32,
    /// Kind of a virtual device, such as `bridge`; empty for hardware.
    pub(super) kind: String,
    /// The device below a VLAN or the like; for veth the peer.
    pub(super) lower: Option<u32>,
    /// The bridge or bond that it is a port of.
    pub(super) master: Option<u32>,
    /// Receive queues that were allocated; a driver may use fewer.
    pub(super) receive_queues: u32,
    /// The XDP program that runs there.
    pub(super) xdp: Option<Attached>,
}

/// An XDP program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attached {
    pub(super) id: u32,
    /// In the driver or its hardware, rather than generic.
    pub(super) native: bool,
}

/// Every interface of the caller's network namespace.
pub(super) fn links() -> io::Result<Vec<Link>> {
    let links = dump(
        libc::NETLINK_ROUTE,
        libc::RTM_GETLINK,
        &[0; LINK],
        |kind, body| (kind == libc::RTM_NEWLINK).then(|| link(body))?,
    )?;
    Ok(links)
}

/// The addresses of an interface, each with the prefix that is on its link.
pub(super) fn addresses(index: u32) -> io::Result<Vec<IpNet>> {
    dump(
        libc::NETLINK_ROUTE,
        libc::RTM_GETADDR,
        &[0; ADDRESS],
        |kind, body| {
            let ours = kind == libc::RTM_NEWADDR && u32_at(body, 4) == Some(index);
            ours.then(|| address(body))?
        },
    )
}

/// Asks for everything of a kind, and gives what `read` makes of the type and body of each message of the answer.
pub(super) fn dump<T>(
    protocol: libc::c_int,
    kind: u16,
    question: &[u8],
    read: impl Fn(u16, &[u8]) -> Option<T>,
) -> io::Result<Vec<T>> {
    let mut socket = asked(protocol, kind, libc::NLM_F_DUMP, question)?;
    let mut found = Vec::new();
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let length = socket.read(&mut buffer)?;
        let mut rest = &buffer[..length];
        if rest.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while let Some((kind, body, next)) = message(rest) {
            match libc::c_int::from(kind) {
                libc::NLMSG_DONE => return Ok(found),
                libc::NLMSG_ERROR => return Err(error(body)),
                _ => found.extend(read(kind, body)),
            }
            rest = next;
        }
    }
}

/// Asks for one thing: the type and body of the answer.
pub(super) fn get(protocol: libc::c_int, kind: u16, question: &[u8]) -> io::Result<(u16, Vec<u8>)> {
    let mut socket = asked(protocol, kind, 0, question)?;
    let mut buffer = vec![0; DATAGRAM];
    let length = socket.read(&mut buffer)?;
    match message(&buffer[..length]) {
        Some((kind, body, _)) if libc::c_int::from(kind) == libc::NLMSG_ERROR => Err(error(body)),
        Some((kind, body, _)) => Ok((kind, body.to_vec())),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// The kernel fills at most 32 KiB a datagram (rtnl_dump_all, net/core/rtnetlink.c).
const DATAGRAM: usize = 1 << 16;

fn asked(
    protocol: libc::c_int,
    kind: u16,
    how: libc::c_int,
    question: &[u8],
) -> io::Result<Socket> {
    let mut socket = Socket::new(
        Domain::from(libc::AF_NETLINK),
        Type::RAW,
        Some(Protocol::from(protocol)),
    )?;
    socket.write_all(&request(kind, how, question))?;
    Ok(socket)
}

fn request(kind: u16, how: libc::c_int, question: &[u8]) -> Vec<u8> {
    let length = (HEADER + question.len()) as u32;
    let flags = (libc::NLM_F_REQUEST | how) as u16;
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    // Sequence number and port: one question a socket needs neither.
    bytes.extend([0; 8]);
    bytes.extend(question);
    bytes
}

/// The type and body of the first message, and what follows it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32_at(bytes, 0)? as usize;
    let kind = u16_at(bytes, 4)?;
    let body = bytes.get(HEADER..length)?;
    Some((
        kind,
        body,
        bytes.get(length.next_multiple_of(4)..).unwrap_or_default(),
    ))
}

/// The error of struct nlmsgerr.
fn error(body: &[u8]) -> io::Error {
    match u32_at(body, 0) {
        Some(errno) => io::Error::from_raw_os_error((errno as i32).wrapping_neg()),
        None => io::ErrorKind::UnexpectedEof.into(),
    }
}

/// An address of struct ifaddrmsg and its attributes. On a point-to-point link IFA_ADDRESS is the other end's.
fn address(body: &[u8]) -> Option<IpNet> {
    let length = *body.get(1)?;
    let of = |wanted| attributes(body.get(ADDRESS..)?).find(|(kind, _)| *kind == wanted);
    let (_, value) = of(IFA_LOCAL).or_else(|| of(IFA_ADDRESS))?;
    IpNet::new(ip(value)?, length).ok()
}

/// An address of 4 or 16 bytes.
pub(super) fn ip(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => Some(<[u8; 4]>::try_from(value).ok()?.into()),
        16 => Some(<[u8; 16]>::try_from(value).ok()?.into()),
        _ => None,
    }
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
                let info = attributes(value).find(|(kind, _)| *kind == IFLA_INFO_KIND);
                link.kind = info.map_or_else(String::new, |(_, kind)| text(kind));
            }
            IFLA_XDP => link.xdp = attached(value),
            _ => {}
        }
    }
    Some(link)
}

fn attached(value: &[u8]) -> Option<Attached> {
    const NONE: u8 = 0;
    const GENERIC: u8 = 2;
    let of = |wanted| {
        attributes(value)
            .find(|(kind, _)| *kind == wanted)
            .map(|(_, value)| value)
    };
    let mode = *of(IFLA_XDP_ATTACHED)?.first()?;
    // With programs in several places there is no IFLA_XDP_PROG_ID.
    let id = [IFLA_XDP_PROG_ID, IFLA_XDP_DRV_PROG_ID, IFLA_XDP_SKB_PROG_ID];
    let id = id
        .into_iter()
        .find_map(|kind| u32_at(of(kind)?, 0))
        .unwrap_or(0);
    (mode != NONE).then_some(Attached {
        id,
        native: mode != GENERIC,
    })
}

/// The attributes in a sequence of them: type and value.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & NLA_TYPE_MASK;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

pub(super) fn text(value: &[u8]) -> String {
    let end = value
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
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

    #[test]
    fn an_attribute_of_no_length_ends_the_list() {
        assert_eq!(attributes(&[0; 8]).count(), 0);
        assert_eq!(attributes(&[4, 0, 9, 0, 3, 0, 1, 0]).count(), 1);
    }
}
