//! Lists the listening TCP sockets of this network namespace (sock_diag(7)).
#![forbid(unsafe_code)]

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::netlink;

/// `SOCK_DIAG_BY_FAMILY` of include/uapi/linux/sock_diag.h.
const BY_FAMILY: u16 = 20;
/// `TCP_LISTEN` of include/net/tcp_states.h, as bit of `idiag_states`.
const LISTENING: u32 = 1 << 10;
/// struct inet_diag_req_v2.
const REQUEST: usize = 56;
/// struct inet_diag_msg.
const MESSAGE: usize = 72;
/// The bit of `INET_DIAG_INFO` in `idiag_ext`: with it the kernel also reports the two attributes below
/// (`inet_sk_diag_fill`, net/ipv4/inet_diag.c).
const WITH_INFO: u8 = 1 << 1;
/// `INET_DIAG_MD5SIG` of include/uapi/linux/inet_diag.h; only for CAP_NET_ADMIN.
const MD5_KEYS: u16 = 18;
/// `INET_DIAG_ULP_INFO`, and in it `INET_ULP_INFO_NAME`.
const ULP_INFO: u16 = 19;
const ULP_NAME: u16 = 1;

/// A listening TCP socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Local address and port. An unspecified address stands for all addresses of its family.
    pub at: SocketAddr,
    /// Index of the interface to which it is bound; 0 = none.
    pub interface: u32,
    /// Whether it is the subflow socket of a Multipath TCP listener.
    pub mptcp: bool,
    /// Whether it has keys for TCP-MD5 (RFC 2385). The kernel does not report keys for TCP-AO.
    pub md5: bool,
}

impl Listener {
    /// Whether this socket accepts, or may accept, connections to `server`. Not every kernel reports whether an IPv6
    /// socket also accepts IPv4, so a socket at `::` counts for both.
    pub fn accepts(&self, server: &SocketAddr) -> bool {
        let any = match self.at.ip() {
            IpAddr::V4(ip) => ip.is_unspecified() && server.is_ipv4(),
            IpAddr::V6(ip) => ip.is_unspecified(),
        };
        self.at.port() == server.port() && (any || self.at.ip().to_canonical() == server.ip())
    }
}

/// Lists every listener of the caller's network namespace.
///
/// # Errors
/// The dump fails, for example without CONFIG_INET_DIAG.
pub fn listeners() -> io::Result<Vec<Listener>> {
    let mut found = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let mut request = [0; REQUEST];
        request[0] = family as u8;
        request[1] = libc::IPPROTO_TCP as u8;
        request[2] = WITH_INFO;
        request[4..8].copy_from_slice(&LISTENING.to_ne_bytes());
        found.extend(netlink::dump(
            libc::NETLINK_SOCK_DIAG,
            BY_FAMILY,
            &request,
            |kind, body| (kind == BY_FAMILY).then(|| parse_listener(body))?,
        )?);
    }
    Ok(found)
}

/// Parses struct inet_diag_msg: family, state, timer, retransmits, then struct inet_diag_sockid: ports, addresses,
/// interface, cookie.
fn parse_listener(body: &[u8]) -> Option<Listener> {
    let address = body.get(8..24)?;
    let address = match i32::from(*body.first()?) {
        libc::AF_INET => netlink::ip_address(&address[..4])?,
        libc::AF_INET6 => Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?).into(),
        _ => return None,
    };
    let port = u16::from_be_bytes(body.get(4..6)?.try_into().ok()?);
    let attributes = body.get(MESSAGE..)?;
    let name = netlink::find_attribute(attributes, ULP_INFO)
        .and_then(|info| netlink::find_attribute(info, ULP_NAME))
        .map(netlink::text);
    Some(Listener {
        at: SocketAddr::new(address, port),
        interface: netlink::u32_at(body, 40)?,
        mptcp: name.as_deref() == Some("mptcp"),
        md5: netlink::find_attribute(attributes, MD5_KEYS).is_some(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn lists_a_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let listed = listeners().unwrap();
        let found = listed.iter().find(|one| one.at == at).unwrap();
        assert_eq!((found.interface, found.mptcp, found.md5), (0, false, false));
        assert!(found.accepts(&at) && !found.accepts(&"127.0.0.2:1".parse().unwrap()));
    }

    #[test]
    fn a_listener_for_multipath_tcp_is_recognised() {
        use socket2::{Domain, Protocol, SockAddr, Socket, Type};
        let Ok(socket) = Socket::new(
            Domain::IPV4,
            Type::STREAM,
            Some(Protocol::from(libc::IPPROTO_MPTCP)),
        ) else {
            return; // A kernel without it.
        };
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&SockAddr::from(any)).unwrap();
        socket.listen(1).unwrap();
        let at = socket.local_addr().unwrap().as_socket().unwrap();
        let listed = listeners().unwrap();
        assert!(listed.iter().any(|one| one.at == at && one.mptcp));
    }

    #[test]
    fn keys_for_tcp_md5_are_an_attribute() {
        let mut body = vec![0; MESSAGE];
        body[0] = libc::AF_INET as u8;
        assert!(!parse_listener(&body).unwrap().md5);
        body.extend(netlink::attribute(MD5_KEYS, &[0; 100]));
        assert!(parse_listener(&body).unwrap().md5);
    }

    #[test]
    fn wildcard_listeners_accept_every_address_of_their_family() {
        let listener = |at: &str| Listener {
            at: at.parse().unwrap(),
            interface: 0,
            mptcp: false,
            md5: false,
        };
        let (v4, v6) = ("192.0.2.1:80", "[2001:db8::1]:80");
        for (at, takes_v4, takes_v6) in [
            ("0.0.0.0:80", true, false),
            ("[::]:80", true, true),
            ("[::]:81", false, false),
            ("[::ffff:192.0.2.1]:80", true, false),
            ("[2001:db8::1]:80", false, true),
        ] {
            let takes = |server: &str| listener(at).accepts(&server.parse().unwrap());
            assert_eq!((takes(v4), takes(v6)), (takes_v4, takes_v6), "{at}");
        }
    }
}
