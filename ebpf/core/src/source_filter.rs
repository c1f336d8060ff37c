//! A filter in front of the map of this machine's own addresses and broadcast addresses: no client has one of these.
//!
//! Nearly no SYN comes from one, but every SYN has to be asked about. The filter is small enough to be copied to where the
//! answer is prepared, so that the question costs no look-up. It takes a random address for one of n entries with a probability
//! of about (n / 64)², or less where they share bytes; then the map decides.

use crate::wire::Address;

/// The addresses that the map may hold.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceFilter {
    /// The last bytes of all addresses: bit n stands for those that are n modulo 64.
    last: u64,
    /// The bytes before them, in the same way.
    second_last: u64,
    /// 1: this machine has an address in 240.0.0.0/4, so its clients may have one too.
    pub has_reserved: u64,
}

impl SourceFilter {
    /// Adds an address.
    #[inline(always)]
    pub const fn add(&mut self, address: &Address) {
        let [.., second_last, last] = address.0[3].to_ne_bytes();
        self.last |= 1 << (last & 63);
        self.second_last |= 1 << (second_last & 63);
    }

    /// Whether the address may have been added: `false` is certain.
    #[inline(always)]
    pub const fn may_hold(&self, address: &Address) -> bool {
        let [.., second_last, last] = address.0[3].to_ne_bytes();
        (self.last >> (last & 63)) & (self.second_last >> (second_last & 63)) & 1 != 0
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::net::IpAddr;

    fn address(text: &str) -> Address {
        Address::from(text.parse::<IpAddr>().expect("an address"))
    }

    #[test]
    fn holds_all_that_was_added_and_little_else() {
        let own = [
            "198.51.100.1",
            "198.51.100.255",
            "10.0.0.1",
            "10.0.0.255",
            "2001:db8::1",
            "fe80::a00:27ff:fe4e:66a1",
        ]
        .map(address);
        let mut filter = SourceFilter::default();
        for one in &own {
            assert!(!filter.may_hold(one));
        }
        own.iter().for_each(|one| filter.add(one));
        for one in &own {
            assert!(filter.may_hold(one));
        }
        let mistaken = (0..1u32 << 16)
            .filter(|low| filter.may_hold(&Address::v4((0xcb00_0000 | low).to_be())))
            .count();
        assert!(mistaken <= (1 << 16) * 3 * 4 / (64 * 64), "{mistaken}");
    }
}
