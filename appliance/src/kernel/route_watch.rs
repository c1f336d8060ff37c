//! Watches the routing tables for changes of MTUs (rtnetlink multicast).
#![forbid(unsafe_code)]

use std::io::{self, Read as _};

use rustix::net::netlink::SocketAddrNetlink;
use socket2::Socket;

use super::{netlink, routes};

// include/uapi/linux/rtnetlink.h
const RTMGRP_IPV4_ROUTE: u32 = 0x40;
const RTMGRP_IPV6_ROUTE: u32 = 0x400;

/// Datagrams that one look reads at most. Routing daemons change many routes at once.
const A_LOOK: usize = 4096;
/// The kernel's messages about one route are far shorter.
const DATAGRAM: usize = 1 << 15;

/// Hears of every change of a route in this network namespace.
#[derive(Debug)]
pub struct RouteWatch {
    socket: Socket,
    buffer: Vec<u8>,
}

impl RouteWatch {
    /// Begins to watch.
    ///
    /// # Errors
    /// The kernel has no socket for it.
    pub fn open() -> io::Result<Self> {
        let socket = netlink::open(libc::NETLINK_ROUTE)?;
        socket.set_nonblocking(true)?;
        let groups = RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, groups))?;
        Ok(Self {
            socket,
            buffer: vec![0; DATAGRAM],
        })
    }

    /// Whether a route has changed since the last look, or may have. `any`: any unicast route counts; else those with an MTU.
    pub fn has_changed(&mut self, any: bool) -> bool {
        let mut changed = false;
        for _ in 0..A_LOOK {
            match self.socket.read(&mut self.buffer) {
                Ok(length) => {
                    changed |= netlink::messages(&self.buffer[..length])
                        .any(|(_, body)| routes::may_change_mtu(body, any));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return changed,
                // Messages were lost (ENOBUFS), for instance.
                Err(_) => changed = true,
            }
        }
        true
    }
}
