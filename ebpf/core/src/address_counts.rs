//! What is counted for each address of a service that is watched separately: what is needed to see whether it is under attack.

use crate::layout::MAX_SERVICES;

/// Totals of one address or prefix on one CPU, by [`Counted`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressCounts(pub [u64; 4]);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// SYNs from clients.
    Syn = 0,
    /// Completed handshakes: valid cookies, and connections learned from the server.
    Proven = 1,
    /// ACKs with an invalid cookie.
    BadAck = 2,
}

impl AddressCounts {
    /// The element of a policy ([`Endpoint::policy`](crate::layout::Endpoint::policy)); beyond the map for that of a service.
    #[inline(always)]
    pub const fn index(policy: u32) -> u32 {
        policy.wrapping_sub(MAX_SERVICES)
    }

    /// Adds `many`. What is not one of [`Counted`] is counted where nobody looks.
    #[inline(always)]
    pub const fn add(&mut self, counted: u32, many: u64) {
        let slot = &mut self.0[counted as usize & 3];
        *slot = slot.wrapping_add(many);
    }

    /// The total.
    #[inline(always)]
    pub const fn value(&self, counted: Counted) -> u64 {
        self.0[counted as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::MAX_WATCHED;

    #[test]
    fn only_policies_of_addresses_have_an_element() {
        assert_eq!(AddressCounts::index(MAX_SERVICES), 0);
        assert!(AddressCounts::index(MAX_SERVICES - 1) >= MAX_WATCHED);
        assert!(AddressCounts::index(0) >= MAX_WATCHED);
    }

    #[test]
    fn each_is_counted_by_itself() {
        let mut counts = AddressCounts::default();
        counts.add(Counted::Syn as u32, 7);
        counts.add(Counted::BadAck as u32, 1);
        counts.add(7, 9);
        let all = [Counted::Syn, Counted::Proven, Counted::BadAck];
        assert_eq!(all.map(|one| counts.value(one)), [7, 0, 1]);
    }
}
