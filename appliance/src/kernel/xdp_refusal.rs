//! Asks why the driver of an interface refuses an XDP program.
//!
//! bpf_link_create(2) returns a number. The older request over rtnetlink also returns the text of the driver (extended ack,
//! Documentation/userspace-api/netlink/intro.rst).
#![allow(unsafe_code)] // setsockopt(2)

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use super::links::{IFLA_XDP, LINK};
use super::netlink::{self, NESTED, attribute};

// include/uapi/linux/if_link.h
const IFLA_XDP_FD: u16 = 1;
const IFLA_XDP_FLAGS: u16 = 3;
const XDP_FLAGS_UPDATE_IF_NOEXIST: u32 = 1 << 0;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// The text with which the driver of the interface refuses to run `program`. `None` if it gives none.
///
/// The request is the one that attaches the program. If it succeeds after all, the program is detached again.
pub fn native_xdp_refusal(index: u32, program: BorrowedFd<'_>) -> Option<String> {
    match set(index, program.as_raw_fd(), XDP_FLAGS_UPDATE_IF_NOEXIST).ok()? {
        Some(refusal) => refusal.text,
        None => {
            let _ = set(index, -1, 0);
            None
        }
    }
}

/// Sets (-1: removes) the native program of an interface. Returns the refusal, if any.
fn set(index: u32, program: i32, flags: u32) -> io::Result<Option<netlink::Refusal>> {
    let mut socket = netlink::open(libc::NETLINK_ROUTE)?;
    let on: libc::c_int = 1;
    // SAFETY: the kernel reads an integer from `on`, which lives through the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            libc::NETLINK_EXT_ACK,
            std::ptr::from_ref(&on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut body = vec![0; LINK];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    let flags = flags | XDP_FLAGS_DRV_MODE;
    let mut xdp = attribute(IFLA_XDP_FD, &program.to_ne_bytes());
    xdp.extend(attribute(IFLA_XDP_FLAGS, &flags.to_ne_bytes()));
    body.extend(attribute(NESTED | IFLA_XDP, &xdp));
    netlink::acknowledge(&mut socket, libc::RTM_SETLINK, &body)
}
