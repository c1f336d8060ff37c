//! What one measurement has the programs do; shared with `bench flow-table`.

use synward_core::flow::FlowKey;
use synward_core::wire::Address;

/// One measurement: which flows are drawn, and what was found of them. Only the CPU that runs a
/// program writes it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// State of the linear congruential generator that draws flows.
    pub random: u64,
    /// Runs that found the flow, or inserted it.
    pub found: u64,
    /// Number of the first flow that is drawn.
    pub first: u32,
    /// How many flows are drawn from, less one: a power of two, less one.
    pub mask: u32,
    /// 1: IPv6 flows.
    pub v6: u32,
    /// 1: one flow after the other instead of random ones.
    pub in_turn: u32,
}

impl Plan {
    /// The number of the next flow.
    #[inline(always)]
    pub fn draw(&mut self) -> u32 {
        if self.in_turn != 0 {
            self.random = self.random.wrapping_add(1);
            return self.first.wrapping_add(self.random as u32 & self.mask);
        }
        // Knuth's MMIX constants; the upper half is the random one.
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.first
            .wrapping_add((self.random >> 32) as u32 & self.mask)
    }
}

/// Flow `number`: no two flows of a family are equal, and consecutive numbers have dissimilar addresses.
#[inline(always)]
pub const fn flow(number: u32, v6: bool) -> FlowKey {
    let mixed = number.wrapping_mul(0x9e37_79b1); // odd, so a bijection
    let port = 1024 + (mixed >> 18) as u16;
    if v6 {
        let client = Address([0xb80d_0120, 0, mixed, number]);
        return FlowKey::new(client, port, Address([0xb80d_0120, 1, 0, 1]), 443);
    }
    FlowKey::new(Address::v4(mixed), port, Address::v4(0x0a02_00c0), 443)
}
