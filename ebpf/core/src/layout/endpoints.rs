//! Which service a packet belongs to: the exact look-up by address and port, and the look-up by prefix.

use super::profile::Profile;
use crate::wire::Address;

/// Key of the exact look-up: the address and port of a service. [`NO_PORT`] stands for an address that has a protected port;
/// it is looked up for packets whose port cannot be read.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct EndpointKey {
    /// The protected address.
    pub address: Address,
    /// The port in host order, as 32 bits so that no padding is hashed, or [`NO_PORT`].
    pub port: u32,
}

/// A protected address and port.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Index of the service.
    pub service: u32,
    /// Index of the policy: that of the service, or from [`MAX_SERVICES`](super::MAX_SERVICES) on that of one of its
    /// addresses, which differs from the service's while one of the two is under attack.
    pub policy: u32,
    /// The epoch (low 32 bits) from which SYN-ACKs offer `now`; those of earlier epochs offered `before`. 0: the server's
    /// options are not known yet.
    pub since: u32,
    /// What SYN-ACKs offer.
    pub now: Profile,
    /// What they offered until `since`.
    pub before: Profile,
}

impl Endpoint {
    /// Whether both have the same service and policy.
    pub const fn belongs_as(&self, other: &Self) -> bool {
        self.service == other.service && self.policy == other.policy
    }

    /// What a SYN-ACK of `epoch` offers, or offered.
    #[inline(always)]
    pub const fn profile(&self, epoch: u64) -> &Profile {
        if (epoch as u32).wrapping_sub(self.since) as i32 >= 0 {
            &self.now
        } else {
            &self.before
        }
    }
}

/// Key of the prefix look-up (BPF_MAP_TYPE_LPM_TRIE). The prefix length counts from the start of the 16-byte form, so that
/// of an IPv4 prefix is 96 higher.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixKey {
    /// Prefix length in bits, 0 to 128.
    pub length: u32,
    /// The address.
    pub address: Address,
}

/// Key of the ports of a prefix.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixPort {
    /// Index of the prefix, the value of the prefix look-up.
    pub prefix: u32,
    /// The port in host order, [`ANY_PORT`] or [`NO_PORT`].
    pub port: u32,
}

/// Stands for every port that has no entry of its own ([`PrefixPort`]).
pub const ANY_PORT: u32 = 0x1_0000;

/// Stands for the address itself, for packets whose port cannot be read.
pub const NO_PORT: u32 = 0x1_0001;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_cookies_keep_the_profile_that_they_offered() {
        let (now, before) = (
            Profile {
                mss: 1,
                ..Profile::default()
            },
            Profile::default(),
        );
        let endpoint = Endpoint {
            service: 0,
            policy: 0,
            since: 100,
            now,
            before,
        };
        assert_eq!(endpoint.profile(99), &before);
        assert_eq!(endpoint.profile(100), &now);
        assert_eq!(
            Endpoint {
                since: 0,
                ..endpoint
            }
            .profile(58_000_000),
            &now
        );
    }
}
