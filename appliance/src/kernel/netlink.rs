//! Netlink requests and replies, messages and attributes (Documentation/userspace-api/netlink/intro.rst).
//!
//! The appliance uses netlink because /sys may show the devices of another namespace. The parser is lenient: an attribute
//! that a newer kernel adds or lengthens must not keep the appliance from starting.
#![forbid(unsafe_code)]

use std::io::{self, Read as _, Write as _};
use std::net::IpAddr;

use socket2::{Domain, Protocol, Socket, Type};

/// struct nlmsghdr.
const HEADER: usize = 16;
/// The bits of `nla_type` that hold the type, without the flags.
const NLA_TYPE_MASK: u16 = 0x3fff;
/// `NLA_F_NESTED` of include/uapi/linux/netlink.h.
pub(super) const NESTED: u16 = 1 << 15;

/// The kernel fills at most 32 KiB of a datagram (rtnl_dump_all, net/core/rtnetlink.c).
const DATAGRAM: usize = 1 << 16;

/// Requests a dump. `read` gets the type and body of each message of the reply and returns the element, if any.
pub(super) fn dump<T>(
    protocol: libc::c_int,
    kind: u16,
    body: &[u8],
    read: impl Fn(u16, &[u8]) -> Option<T>,
) -> io::Result<Vec<T>> {
    let mut socket = send_request(protocol, kind, libc::NLM_F_DUMP, body)?;
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

/// Requests one object. Returns the type and body of the reply.
pub(super) fn query(protocol: libc::c_int, kind: u16, body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
    let mut socket = send_request(protocol, kind, 0, body)?;
    let mut buffer = vec![0; DATAGRAM];
    let length = socket.read(&mut buffer)?;
    match message(&buffer[..length]) {
        Some((kind, body, _)) if libc::c_int::from(kind) == libc::NLMSG_ERROR => Err(error(body)),
        Some((kind, body, _)) => Ok((kind, body.to_vec())),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// A request that the kernel refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The text of the kernel or a driver, if it sent one and the socket has `NETLINK_EXT_ACK`.
    pub(super) text: Option<String>,
}

/// Requests a change. Returns the refusal, if any.
pub(super) fn acknowledge(
    socket: &mut Socket,
    kind: u16,
    body: &[u8],
) -> io::Result<Option<Refusal>> {
    let request = request(kind, libc::NLM_F_ACK, body);
    socket.write_all(&request)?;
    let mut buffer = vec![0; DATAGRAM];
    let length = socket.read(&mut buffer)?;
    match message(&buffer[..length]) {
        Some((kind, body, _)) if libc::c_int::from(kind) == libc::NLMSG_ERROR => {
            Ok(refusal(body, request.len()))
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Parses struct nlmsgerr: the error number, the request of `request` bytes, which the kernel repeats if it refuses it, and
/// attributes.
fn refusal(body: &[u8], request: usize) -> Option<Refusal> {
    const NLMSGERR_ATTR_MSG: u16 = 1;
    if u32_at(body, 0) == Some(0) {
        return None;
    }
    let behind = 4 + request.next_multiple_of(4);
    let said = body
        .get(behind..)
        .and_then(|rest| find_attribute(rest, NLMSGERR_ATTR_MSG));
    Some(Refusal {
        text: said.map(text).filter(|text| !text.is_empty()),
    })
}

/// Opens a socket.
pub(super) fn open(protocol: libc::c_int) -> io::Result<Socket> {
    Socket::new(
        Domain::from(libc::AF_NETLINK),
        Type::RAW,
        Some(Protocol::from(protocol)),
    )
}

/// Requests a change, and waits for the kernel's acknowledgement.
pub(super) fn change(
    protocol: libc::c_int,
    kind: u16,
    flags: libc::c_int,
    body: &[u8],
) -> io::Result<()> {
    let mut socket = send_request(protocol, kind, libc::NLM_F_ACK | flags, body)?;
    let mut buffer = vec![0; DATAGRAM];
    let length = socket.read(&mut buffer)?;
    match message(&buffer[..length]) {
        // An acknowledgement is an error with number 0.
        Some((_, body, _)) if u32_at(body, 0) == Some(0) => Ok(()),
        Some((_, body, _)) => Err(error(body)),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn send_request(
    protocol: libc::c_int,
    kind: u16,
    flags: libc::c_int,
    body: &[u8],
) -> io::Result<Socket> {
    let mut socket = open(protocol)?;
    socket.write_all(&request(kind, flags, body))?;
    Ok(socket)
}

fn request(kind: u16, flags: libc::c_int, body: &[u8]) -> Vec<u8> {
    let length = (HEADER + body.len()) as u32;
    let flags = (libc::NLM_F_REQUEST | flags) as u16;
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    // Sequence number and port id. Each socket sends one request, so both may be 0.
    bytes.extend([0; 8]);
    bytes.extend(body);
    bytes
}

/// Iterates over messages: type and body.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (kind, body, rest) = message(bytes)?;
        bytes = rest;
        Some((kind, body))
    })
}

/// Splits off the first message: its type, its body, and the rest.
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

/// Parses the error of struct nlmsgerr.
fn error(body: &[u8]) -> io::Error {
    match u32_at(body, 0) {
        Some(errno) => io::Error::from_raw_os_error((errno as i32).wrapping_neg()),
        None => io::ErrorKind::UnexpectedEof.into(),
    }
}

/// Iterates over attributes: type and value.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & NLA_TYPE_MASK;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of the first attribute of type `wanted`.
pub(super) fn find_attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut attributes = attributes(bytes);
    attributes
        .find(|(kind, _)| *kind == wanted)
        .map(|(_, value)| value)
}

/// Encodes struct nlattr and its value, padded to 4 bytes.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = (value.len() as u16 + 4).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Decodes a string up to its NUL, if any.
pub(super) fn text(value: &[u8]) -> String {
    let end = value
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Decodes an address of 4 or 16 bytes.
pub(super) fn ip_address(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => Some(<[u8; 4]>::try_from(value).ok()?.into()),
        16 => Some(<[u8; 16]>::try_from(value).ok()?.into()),
        _ => None,
    }
}

/// Encodes an address: its family and its bytes.
pub(super) fn family_and_bytes(ip: IpAddr) -> (u8, Vec<u8>) {
    match ip {
        IpAddr::V4(ip) => (libc::AF_INET as u8, ip.octets().to_vec()),
        IpAddr::V6(ip) => (libc::AF_INET6 as u8, ip.octets().to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_the_text_behind_the_request() {
        let mut body = (-95i32).to_ne_bytes().to_vec();
        body.extend([7; 18 + 2]);
        body.extend(attribute(1, b"no\0"));
        let said = |text: &str| {
            Some(Refusal {
                text: (!text.is_empty()).then(|| text.to_owned()),
            })
        };
        assert_eq!(refusal(&body, 18), said("no"));
        assert_eq!(refusal(&body[..24], 18), said(""));
        assert_eq!(refusal(&[0; 20], 16), None);
    }

    #[test]
    fn an_attribute_of_length_zero_ends_the_iteration() {
        assert_eq!(attributes(&[0; 8]).count(), 0);
        assert_eq!(attributes(&[4, 0, 9, 0, 3, 0, 1, 0]).count(), 1);
    }
}
