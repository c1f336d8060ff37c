//! Receives the messages that the kernel sends to a group (rtnetlink multicast).
#![forbid(unsafe_code)]

use std::io::{self, Read as _};

use rustix::net::netlink::SocketAddrNetlink;
use socket2::Socket;

use super::netlink;

/// Datagrams that one look reads at most. Routing daemons change many routes at once.
const A_LOOK: usize = 4096;
/// The kernel's messages about one link or route are shorter (net/core/rtnetlink.c).
const DATAGRAM: usize = 1 << 15;

/// A socket that receives the messages of some groups in the network namespace in which it was opened.
#[derive(Debug)]
pub(super) struct Multicast {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Multicast {
    /// Joins `groups`, a sum of `RTMGRP_*` (include/uapi/linux/rtnetlink.h).
    ///
    /// # Errors
    /// The kernel has no socket for it.
    pub(super) fn open(groups: u32) -> io::Result<Self> {
        let socket = netlink::open(libc::NETLINK_ROUTE)?;
        socket.set_nonblocking(true)?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, groups))?;
        Ok(Self {
            socket,
            buffer: vec![0; DATAGRAM],
        })
    }

    /// Calls `each` with the kind and the body of every message that came since the last look. `false`: some may be missing,
    /// because the socket had no room for them, or because more came than one look reads.
    pub(super) fn look(&mut self, mut each: impl FnMut(u16, &[u8])) -> bool {
        let mut all = true;
        for _ in 0..A_LOOK {
            match self.socket.read(&mut self.buffer) {
                Ok(length) => {
                    netlink::messages(&self.buffer[..length])
                        .for_each(|(kind, body)| each(kind, body));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return all,
                // ENOBUFS, for instance, which ends with this read.
                Err(_) => all = false,
            }
        }
        false
    }
}
