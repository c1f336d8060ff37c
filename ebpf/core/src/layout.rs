//! The contents of the maps that the XDP program and the appliance share.
//!
//! Every type is `repr(C)` with explicit padding, so that both sides see the same bytes.
//!
//! | file | contents |
//! |---|---|
//! | `endpoints` | addresses, ports and prefixes: which service and policy they belong to |
//! | `profile` | what a server supports |
//! | `service_policy` | the policy of a service, the values of its lists, the two banks of policies |
//! | `service_keys` | the keys of a service for each epoch |
//! | `epoch_clock` | the time from which the epoch follows |
//! | `flow_entry` | an entry of the flow table |
//! | `passed_connection` | connections that pass unchanged; how many segments of unknown ones do |
//! | `interfaces` | the steered interfaces |
//! | `heartbeat` | how long a worker may be silent |
//! | `local_network` | neighbours, VLANs and addresses of this machine |
//! | `globals` | keys of hashes, the size of the flow table, the generation of policies |

mod endpoints;
mod epoch_clock;
mod flow_entry;
mod globals;
mod heartbeat;
mod interfaces;
mod local_network;
mod passed_connection;
mod profile;
mod service_keys;
mod service_policy;

pub use crate::queue_set::MAX_QUEUES;
pub use endpoints::{ANY_PORT, Endpoint, EndpointKey, NO_PORT, PrefixKey, PrefixPort};
pub use epoch_clock::Clock;
pub use flow_entry::{Flow, flow_flags, owner, state};
pub use globals::Globals;
pub use heartbeat::{ABSENT_AFTER, HEARTBEAT_TIMEOUT};
pub use interfaces::{Interface, Interfaces, MAX_INTERFACES, side};
pub use local_network::{
    ANY_VLAN, MAX_OWN_SOURCES, MAX_UNRESOLVED, MAX_VLANS, NextHop, VlanTags, push_vlan_tag,
};
pub use passed_connection::{JUDGED_PER_PREFIX, JUDGED_PREFIXES, Passed};
pub use profile::{INITIAL_WINDOW, Profile, profile_flags};
pub use service_keys::{KEY_SLOTS, KeySlot, MAX_SECRETS, key_slot};
pub use service_policy::{
    MAX_LISTED, MAX_POLICIES, MAX_SERVICES, MAX_WATCHED, Service, cookies, handoff, listed, mode,
    plain_cookies, policy_slot, unknown_policy, when_absent,
};

/// Version of names and contents of the maps. A process takes over pinned maps only if they have its own version.
pub const SCHEMA: u32 = 16;

/// Placeholder in the program at TC for the kernel function `bpf_sk_assign_tcp_reqsk`, whose BTF id differs from kernel to
/// kernel. The loader finds the call with this number and puts the id there.
pub const ASSIGN_KFUNC: u32 = 0x7379_6e77;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_maps() {
        assert_eq!(size_of::<Flow>(), 64);
        assert_eq!(size_of::<Profile>(), 8);
        assert_eq!(size_of::<NextHop>(), 20);
        assert_eq!(size_of::<Endpoint>(), 28);
        assert_eq!(size_of::<Service>(), 48);
        assert_eq!(size_of::<VlanTags>(), 16);
        assert_eq!(size_of::<KeySlot>(), 8 + 16 * MAX_SECRETS);
    }
}
