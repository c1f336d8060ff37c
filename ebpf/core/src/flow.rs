//! Flows: the key that both directions share, and its place in the flow table.

use crate::multilinear::{self, mix_bits, multilinear_hash, multilinear_sum};
use crate::siphash::Hasher;
use crate::wire::Address;

/// The addresses and ports of a connection; the same for both directions.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// The side that sent the first SYN.
    pub client: Address,
    /// The protected service's side.
    pub server: Address,
    /// The client's port in the upper half, the server's in the lower.
    pub ports: u32,
}

impl FlowKey {
    /// The key of a connection between two ends; ports in host order.
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

    /// Feeds both addresses (IPv4: one word, IPv6: four), then the ports and `with_ports` (one word) to `hasher`.
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

    /// Bytes that [`Self::hash_into`] feeds: 16 over IPv4, 40 over IPv6.
    #[inline(always)]
    pub const fn hashed_bytes(&self) -> u8 {
        if self.client.is_v4() { 16 } else { 40 }
    }

    /// The keyed hash that selects the flow's place in the table.
    #[inline(always)]
    pub const fn table_hash(&self, key: &multilinear::Key) -> u64 {
        multilinear_hash(key, self.words())
    }

    /// The words that are hashed: the client's address, the server's, the ports.
    #[inline(always)]
    const fn words(&self) -> [u32; multilinear::WORDS] {
        let (c, s) = (&self.client.0, &self.server.0);
        [c[0], c[1], c[2], c[3], s[0], s[1], s[2], s[3], self.ports]
    }
}

/// The part of [`FlowKey::table_hash`] that all IPv4 flows to one server address share.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerHash {
    sum: u64,
    client: u64,
    ports: u64,
}

impl ServerHash {
    /// The part for `server`.
    #[inline(always)]
    pub const fn new(key: &multilinear::Key, server: Address) -> Self {
        let without_client = FlowKey::new(Address::v4(0), 0, server, 0);
        Self {
            sum: multilinear_sum(key, without_client.words()),
            client: key[3],
            ports: key[8],
        }
    }

    /// [`FlowKey::table_hash`] of one of its flows.
    #[inline(always)]
    pub const fn flow_hash(&self, flow: &FlowKey) -> u64 {
        let client = self.client.wrapping_mul(flow.client.0[3] as u64);
        let ports = self.ports.wrapping_mul(flow.ports as u64);
        mix_bits(self.sum.wrapping_add(client).wrapping_add(ports))
    }
}

/// Two words of memory as one little-endian word.
#[inline(always)]
const fn pair(first: u32, second: u32) -> u64 {
    u32::from_le(first) as u64 | (u32::from_le(second) as u64) << 32
}

/// Ways of one bucket: fifteen tags and the overflow count fill a cache line.
pub const WAYS: usize = 15;
/// Index of the overflow count in a bucket: how many of its flows are in their second bucket.
pub const OVERFLOW: usize = 15;
/// The lowest tag that is a fingerprint; lower ones are [`FREE`] and [`RETIRED`].
pub const FIRST_TAG: u32 = 2;
/// The tag of a free way.
pub const FREE: u32 = 0;
/// The tag of a way whose flow was removed. A later sweep of the control thread frees it: any run of the XDP program that
/// still reads the entry has ended long before.
pub const RETIRED: u32 = 1;

/// Where a hash is looked up: its own bucket, its second bucket, and its fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The own bucket.
    pub bucket: u32,
    /// The second bucket, used if the own one is full.
    pub overflow: u32,
    /// The fingerprint, at least [`FIRST_TAG`].
    pub tag: u32,
}

impl Place {
    /// The place of `hash` in a table of `mask + 1` buckets, a power of two.
    #[inline(always)]
    pub const fn of(hash: u64, mask: u32) -> Self {
        let tag = (hash >> 32) as u32;
        let tag = if tag < FIRST_TAG {
            tag + FIRST_TAG
        } else {
            tag
        };
        let bucket = hash as u32 & mask;
        // The number is odd, so the second bucket differs from the own one if there is more than one.
        Self {
            bucket,
            overflow: (bucket ^ (tag | 1)) & mask,
            tag,
        }
    }
}

/// The index of the entry of a way of a bucket.
#[inline(always)]
pub const fn entry_index(bucket: u32, way: u32) -> u32 {
    bucket * (WAYS as u32 + 1) + way
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_inside_the_table_and_their_buckets_differ() {
        for hash in (0..1000u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
            let place = Place::of(hash, 63);
            assert!(place.bucket < 64 && place.overflow < 64 && place.tag >= FIRST_TAG);
            assert_ne!(place.bucket, place.overflow);
        }
    }

    #[test]
    fn server_hash_equals_the_hash_of_the_whole_key() {
        let server = Address::v4(0xfe02_00c0);
        let hash = ServerHash::new(&multilinear::PI, server);
        for (client, port) in [(0, 0), (1, 2), (u32::MAX, u16::MAX), (0x0a63_33c6, 40_000)] {
            let flow = FlowKey::new(Address::v4(client), port, server, 443);
            assert_eq!(hash.flow_hash(&flow), flow.table_hash(&multilinear::PI));
        }
    }

    #[test]
    fn client_and_server_port_are_not_interchangeable() {
        let (a, b) = (Address::v4(1), Address::v4(2));
        assert_ne!(FlowKey::new(a, 1, b, 2), FlowKey::new(a, 2, b, 1));
        assert_eq!(FlowKey::new(a, 7, b, 9).client_port(), 7);
        assert_eq!(FlowKey::new(a, 7, b, 9).server_port(), 9);
    }
}
