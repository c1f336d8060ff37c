//! Hears of interfaces that change or go (rtnetlink multicast), also of those that are back before anybody lists them.
#![forbid(unsafe_code)]

use std::io;

use super::multicast::Multicast;
use super::netlink::u32_at;

// include/uapi/linux/rtnetlink.h
const RTMGRP_LINK: u32 = 1;

/// Hears of every interface that changes, is deleted, or is moved to another network namespace.
#[derive(Debug)]
pub struct LinkWatch(Multicast);

impl LinkWatch {
    /// Begins to watch the network namespace of the caller.
    ///
    /// # Errors
    /// The kernel has no socket for it.
    pub fn open() -> io::Result<Self> {
        Multicast::open(RTMGRP_LINK).map(Self)
    }

    /// Whether an interface may have changed since the last look whose index `matters`.
    pub fn changed(&mut self, matters: impl Fn(u32) -> bool) -> bool {
        let mut any = false;
        let are_all = self.0.look(|_, body| any |= about_link(body, &matters));
        any || !are_all
    }

    /// The indices of the interfaces that have gone since the last look, and whether that is all of them. Some may be missing if
    /// there were thousands of changes.
    pub fn gone(&mut self) -> (Vec<u32>, bool) {
        let mut gone = Vec::new();
        let are_all = self.0.look(|kind, body| gone.extend(gone_link(kind, body)));
        (gone, are_all)
    }
}

/// Whether a message of struct ifinfomsg is about an interface whose index `matters`.
fn about_link(body: &[u8], matters: impl Fn(u32) -> bool) -> bool {
    u32_at(body, 4).is_none_or(matters)
}

/// The index in a message of struct ifinfomsg about an interface that is gone. A bridge sends such messages of the family
/// AF_BRIDGE about ports that leave it.
fn gone_link(kind: u16, body: &[u8]) -> Option<u32> {
    let is_link = kind == libc::RTM_DELLINK && body.first() == Some(&(libc::AF_UNSPEC as u8));
    is_link.then(|| u32_at(body, 4))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_some_interfaces_matter() {
        let body = |index: u8| {
            let mut body = [0; 16];
            body[4] = index;
            body
        };
        let is_seven = |index: u32| index == 7;
        assert!(about_link(&body(7), is_seven));
        assert!(!about_link(&body(8), is_seven));
        assert!(about_link(&[], is_seven), "nothing is missed");
    }

    #[test]
    fn only_an_interface_that_is_deleted_has_gone() {
        let body = |family: i32| {
            let mut body = [0; 16];
            (body[0], body[4]) = (family as u8, 7);
            body
        };
        let unspec = body(libc::AF_UNSPEC);
        assert_eq!(gone_link(libc::RTM_DELLINK, &unspec), Some(7));
        assert_eq!(gone_link(libc::RTM_NEWLINK, &unspec), None);
        assert_eq!(gone_link(libc::RTM_DELLINK, &body(libc::AF_BRIDGE)), None);
        assert_eq!(gone_link(libc::RTM_DELLINK, &unspec[..6]), None);
    }
}
