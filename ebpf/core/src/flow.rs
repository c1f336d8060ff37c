//! Flows: the key that both directions share, and where it lives in the table.

use crate::multilinear;
use crate::siphash::Hasher;
use crate::wire::Address;

/// A connection, seen the same from both directions.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// The side that sent the first SYN.
    pub client: Address,
    /// The protected service's side.
    pub server: Address,
    /// Client port in the upper half, server port in the lower.
    pub ports: u32,
}

impl FlowKey {
    /// A key from both ends; ports in host order.
    #[inline(always)]
    pub const fn new(client: Address, client_port: u16, server: Address, server_port: u16) -> Self {
        Self {
            client,
            server,
            ports: (client_port as u32) << 16 | server_port as u32,
        }
    }

    /// The client's port.
    #[inline(always)]
    pub const fn client_port(&self) -> u16 {
        (self.ports >> 16) as u16
    }

    /// The server's port.
    #[inline(always)]
    pub const fn server_port(&self) -> u16 {
        self.ports as u16
    }

    /// Feeds addresses and ports to a hash. IPv4 costs one word for both addresses, IPv6 four.
    #[inline(always)]
    pub const fn hash_into<const C: usize, const D: usize>(
        &self,
        mut hasher: Hasher<C, D>,
        with_ports: u32,
    ) -> Hasher<C, D> {
        let (c, s) = (&self.client.0, &self.server.0);
        if self.client.is_v4() {
            hasher = hasher.word(pair(c[3], s[3]));
        } else {
            hasher = hasher
                .word(pair(c[0], c[1]))
                .word(pair(c[2], c[3]))
                .word(pair(s[0], s[1]))
                .word(pair(s[2], s[3]));
        }
        hasher.word(pair(self.ports.to_be(), with_ports))
    }

    /// Bytes that [`Self::hash_into`] feeds.
    #[inline(always)]
    pub const fn hashed_bytes(&self) -> u8 {
        if self.client.is_v4() { 16 } else { 40 }
    }

    /// The keyed hash that places the flow in the table.
    #[inline(always)]
    pub const fn table_hash(&self, key: &multilinear::Key) -> u64 {
        multilinear::hash(key, self.words())
    }

    /// What is hashed: the client's address, the server's, the ports.
    #[inline(always)]
    const fn words(&self) -> [u32; multilinear::WORDS] {
        let (c, s) = (&self.client.0, &self.server.0);
        [c[0], c[1], c[2], c[3], s[0], s[1], s[2], s[3], self.ports]
    }
}

/// [`FlowKey::table_hash`] of flows over IPv4 to one server, as far as it is the same for all.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerHash {
    sum: u64,
    client: u64,
    ports: u64,
}

impl ServerHash {
    /// The part of a server.
    #[inline(always)]
    pub const fn new(key: &multilinear::Key, server: Address) -> Self {
        let nobody = FlowKey::new(Address::v4(0), 0, server, 0);
        Self {
            sum: multilinear::sum(key, nobody.words()),
            client: key[3],
            ports: key[8],
        }
    }

    /// The hash of one of its flows.
    #[inline(always)]
    pub const fn flow_hash(&self, flow: &FlowKey) -> u64 {
        let client = self.client.wrapping_mul(flow.client.0[3] as u64);
        let ports = self.ports.wrapping_mul(flow.ports as u64);
        multilinear::mix(self.sum.wrapping_add(client).wrapping_add(ports))
    }
}

/// Two words of memory as one little-endian word.
#[inline(always)]
const fn pair(first: u32, second: u32) -> u64 {
    u32::from_le(first) as u64 | (u32::from_le(second) as u64) << 32
}

/// Ways of one bucket: fifteen tags and an overflow count fill a cache line.
pub const WAYS: usize = 15;
/// Where a bucket's overflow count stands.
pub const OVERFLOW: usize = 15;
/// A tag below this is not a fingerprint: 0 is a free way, 1 one that was just emptied.
pub const FIRST_TAG: u32 = 2;
/// A free way.
pub const FREE: u32 = 0;
/// An emptied way, which may be used again after a tick of the control thread: an XDP program that
/// still looks at the entry has ended long before.
pub const RETIRED: u32 = 1;

/// Where a hash looks: its own bucket, the one that takes the overflow, and the fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its own bucket.
    pub bucket: u32,
    /// The bucket to use when its own is full.
    pub overflow: u32,
    /// The fingerprint, at least [`FIRST_TAG`].
    pub tag: u32,
}

impl Place {
    /// The place of a hash in a table of `mask + 1` buckets, a power of two.
    #[inline(always)]
    pub const fn of(hash: u64, mask: u32) -> Self {
        let tag = (hash >> 32) as u32;
        let tag = if tag < FIRST_TAG {
            tag + FIRST_TAG
        } else {
            tag
        };
        let bucket = hash as u32 & mask;
        // An odd number, so never the bucket itself while there is more than one.
        Self {
            bucket,
            overflow: (bucket ^ (tag | 1)) & mask,
            tag,
        }
    }
}

/// The entry that belongs to a way of a bucket.
#[inline(always)]
pub const fn entry_index(bucket: u32, way: u32) -> u32 {
    bucket * (WAYS as u32 + 1) + way
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_stay_inside_and_apart() {
        for hash in (0..1000u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
            let place = Place::of(hash, 63);
            assert!(place.bucket < 64 && place.overflow < 64 && place.tag >= FIRST_TAG);
            assert_ne!(place.bucket, place.overflow);
        }
    }

    #[test]
    fn a_servers_hash_ends_like_that_of_the_whole_key() {
        let server = Address::v4(0xfe02_00c0);
        let hash = ServerHash::new(&multilinear::PI, server);
        for (client, port) in [(0, 0), (1, 2), (u32::MAX, u16::MAX), (0x0a63_33c6, 40_000)] {
            let flow = FlowKey::new(Address::v4(client), port, server, 443);
            assert_eq!(hash.flow_hash(&flow), flow.table_hash(&multilinear::PI));
        }
    }

    #[test]
    fn ports_do_not_commute() {
        let (a, b) = (Address::v4(1), Address::v4(2));
        assert_ne!(FlowKey::new(a, 1, b, 2), FlowKey::new(a, 2, b, 1));
        assert_eq!(FlowKey::new(a, 7, b, 9).client_port(), 7);
        assert_eq!(FlowKey::new(a, 7, b, 9).server_port(), 9);
    }
}
