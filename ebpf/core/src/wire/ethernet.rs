//! Ethernet II and 802.1Q/802.1ad tags (IEEE 802.1Q §9).

use super::{be16, put, raw16};
use core::borrow::{Borrow, BorrowMut};

/// Bytes of an Ethernet header without tags.
pub const LENGTH: usize = 14;
/// Bytes of one VLAN tag.
pub const TAG_LENGTH: usize = 4;
/// The most tags that are parsed: a customer tag in a service tag (QinQ).
pub const MAX_TAGS: usize = 2;
/// The most tags behind which an IP header is looked for, only to drop what has more than [`MAX_TAGS`].
pub const MAX_SKIPPED_TAGS: usize = 16;
/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;

/// Whether an EtherType announces a VLAN tag (802.1Q or 802.1ad).
#[inline(always)]
pub const fn is_tag(ethertype: u16) -> bool {
    ethertype == 0x8100 || ethertype == 0x88a8
}

/// A MAC address.
pub type Mac = [u8; 6];

/// An Ethernet header.
pub struct Ethernet<T>(pub T);

impl<T: Borrow<[u8; LENGTH]>> Ethernet<T> {
    /// The receiver's MAC address.
    #[inline(always)]
    pub fn destination(&self) -> Mac {
        let b = self.0.borrow();
        [b[0], b[1], b[2], b[3], b[4], b[5]]
    }

    /// The sender's MAC address.
    #[inline(always)]
    pub fn source(&self) -> Mac {
        let b = self.0.borrow();
        [b[6], b[7], b[8], b[9], b[10], b[11]]
    }

    /// The EtherType; it may announce a tag ([`is_tag`]).
    #[inline(always)]
    pub fn ethertype(&self) -> u16 {
        be16(self.0.borrow(), 12)
    }
}

impl<T: BorrowMut<[u8; LENGTH]>> Ethernet<T> {
    /// Swaps sender and receiver: the frame goes back to where it came from.
    #[inline(always)]
    pub fn turn_around(&mut self) {
        let b = self.0.borrow_mut();
        for at in [0, 2, 4] {
            let (to, from) = (raw16(b, at), raw16(b, 6 + at));
            put(b, at, from.to_ne_bytes());
            put(b, 6 + at, to.to_ne_bytes());
        }
    }

    /// Sets both MAC addresses: `to` receives, `from` sends.
    #[inline(always)]
    pub fn set_stations(&mut self, to: Mac, from: Mac) {
        let b = self.0.borrow_mut();
        put(b, 0, to);
        put(b, 6, from);
    }

    /// Sets the EtherType.
    pub fn set_ethertype(&mut self, ethertype: u16) {
        put(self.0.borrow_mut(), 12, ethertype.to_be_bytes());
    }
}
