//! The prefix that source addresses are taken from.

use std::net::IpAddr;
use std::str::FromStr;

/// An address and how many of its leading bits are fixed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// For a generator that fills in no source: one address, which no host has.
    pub(super) const NONE: Self = Self {
        address: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        length: 32,
    };

    pub(super) fn is_ipv4(&self) -> bool {
        self.address.is_ipv4()
    }

    /// The fixed bits and the mask of the random bits, 16 bits to a word in memory order; IPv4 has two words.
    pub(super) fn words(&self) -> ([u16; 8], [u16; 8]) {
        let (mut fixed, mut random) = ([0; 8], [0; 8]);
        let octets = match self.address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        for (word, pair) in octets.chunks_exact(2).enumerate() {
            let bits_fixed = u32::from(self.length)
                .saturating_sub(16 * word as u32)
                .min(16);
            let mask = 0xffff_u32.unbounded_shr(bits_fixed) as u16;
            random[word] = mask.to_be();
            fixed[word] = u16::from_ne_bytes([pair[0], pair[1]]) & !random[word];
        }
        (fixed, random)
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no prefix like 10.0.0.0/8 or 2001:db8:f::/64");
        let (address, length) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let length: u8 = length.parse().map_err(|_| wrong())?;
        match length <= if address.is_ipv4() { 32 } else { 128 } {
            true => Ok(Self { address, length }),
            false => Err(wrong()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn words(text: &str) -> ([u16; 8], [u16; 8]) {
        let (fixed, random) = text.parse::<Prefix>().unwrap().words();
        (fixed.map(u16::to_be), random.map(u16::to_be))
    }

    #[test]
    fn bits_after_the_prefix_are_random() {
        assert_eq!(
            words("10.0.0.0/8"),
            (
                [0x0a00, 0, 0, 0, 0, 0, 0, 0],
                [0xff, 0xffff, 0, 0, 0, 0, 0, 0]
            )
        );
        assert_eq!(words("10.1.2.3/32").1, [0; 8]);
        assert_eq!(words("10.1.2.255/31").0[..2], [0x0a01, 0x02fe]);
        let (fixed, random) = words("2001:db8:f::/56");
        assert_eq!(fixed, [0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 0]);
        assert_eq!(random, [0, 0, 0, 0xff, 0xffff, 0xffff, 0xffff, 0xffff]);
    }

    #[test]
    fn nonsense_is_refused() {
        for wrong in [
            "",
            "10.0.0.0",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "10.0.0.0/-1",
        ] {
            assert!(wrong.parse::<Prefix>().is_err(), "{wrong}");
        }
    }
}
