//! Loads, attaches, updates and detaches the XDP program.
//!
//! [`Steering::load`] checks the interfaces, loads the program and fills its maps; it attaches nothing.
//! [`Steering::attach`] attaches the program to all interfaces or to none. [`Steering::refresh`] updates the clock and the
//! keys. [`Steering::stop`] detaches the program. Other threads get handles to what they share: the
//! [`FlowTable`](crate::maps::FlowTable), the [`Heartbeats`](crate::maps::Heartbeats) and the [`EndpointProfiles`].
//!
//! If the process is killed, the program, the flows and the learned profiles stay pinned, and spliced connections continue.
//! The next process loads its own program with new maps, except for the flow table with its occupancy filter, the
//! passed connections, the replay cache, the waiting clients and those just handed to a worker. It then replaces the
//! program on each link atomically, so no interface runs with half of a configuration.
//!
//! | file | idea |
//! |---|---|
//! | `handle` | the handle to the loaded program: what it holds and hands out |
//! | `life_cycle` | attaches the program, pins what continues, and detaches it |
//! | `refresh` | the clock, keys, own addresses and neighbours, which the control thread renews |
//! | `policies_in_force` | changes the policies of all services at one moment; lists and drain |
//! | `modes` | which services challenge their clients; what continues when one starts or stops |
//! | `adoption` | ... how it treats the connections from before |
//! | `watched_addresses` | the addresses of services that are watched, and challenge, separately |
//! | `address_places`, `address_policies` | their places in the maps, and their policies |
//! | `watched_counts` | the SYNs and completed handshakes of each |
//! | `attacks` | which services and addresses are under attack |
//! | `kept_attacks` | ... for the process after a kill |
//! | `loading` | loads the program for a configuration and fills its maps |
//! | `interface_discovery` | finds the configured interfaces, and checks that XDP can steer each |
//! | `interface_watch` | compares the steered interfaces with what the kernel has now |
//! | `queue_changes` | follows the number of their receive queues |
//! | `interface_mend` | steers interfaces again that have lost a program or their sockets |
//! | `standby_ports` | lets everything pass on ports that their bond does not use |
//! | `pin_mend` | pins again what somebody has removed from the pin folder |
//! | `map_plan`, `map_encoding`, `fill` | the content of the maps for a configuration, its encoding, and writing it |
//! | `next_hops` | keeps the kernel's entries of the neighbours that the program sends to |
//! | `waiting_clients` | clients that wait for a worker |
//! | `handed_over` | ... and those that a killed process had not served |
//! | `sources` | where the SYNs of attacks come from |
//! | `own_addresses`, `left_out` | leaves this machine's own addresses out of the prefixes of services |
//! | `object`, `map_sizes` | the eBPF object: loading, handles to maps, sizes of its maps |
//! | `generic_fallback` | attaches the program again, in generic mode |
//! | `vlan_stripping` | finds NICs that hide VLAN tags from XDP |
//! | `occupant` | describes another program that occupies an interface |
//! | `attach`, `classifier`, `held_link`, `pins`, `bpffs` | attaching to XDP and TC, the links, and pinning in a BPF file system |
//! | `driver_table`, `driver_obstacles` | what is known about drivers, and which of their limits an interface exceeds |
//! | `receive_frames` | the size of the UMEM frames that a driver receives whole packets in |
//! | `frags` | frames in several buffers: whether they are needed, and which interfaces transmit them |
//! | `kernel_crash` | the channels with which native XDP crashes the kernel |
//! | `xdp_queues` | the queues that a driver keeps for frames of XDP |
//! | `native_refusal` | explains why a driver refuses native XDP |
//! | `own_sources` | this machine's own addresses, from which no client comes |
//! | `vlans`, `vlan_devices` | the VLANs that this machine has devices for, and the devices above an interface |
//! | `chain` | other XDP programs on the same interface, before ours and behind it |
//! | `unload` | detaches what a killed process left |
//! | `client_mss` | the largest MSS that SYN-ACKs promise |
//! | `endpoint_profiles`, `key_slots`, `policy_banks` | what changes while the program runs: offered options, keys, policies |
//! | `exchange`, `plan_changes`, `endpoint_exchange`, `removed_addresses` | another configuration while the program runs |
#![forbid(unsafe_code)]

mod address_places;
mod address_policies;
mod adoption;
mod attach;
mod attacks;
mod bpffs;
mod chain;
mod classifier;
mod client_mss;
mod driver_obstacles;
mod driver_table;
mod endpoint_exchange;
mod endpoint_profiles;
mod error;
mod exchange;
mod fill;
mod frags;
mod generic_fallback;
mod handed_over;
mod handle;
mod held_link;
mod interface_discovery;
mod interface_mend;
mod interface_watch;
mod kept_attacks;
mod kernel_crash;
mod key_slots;
mod left_out;
mod life_cycle;
mod loading;
mod map_encoding;
mod map_plan;
mod map_sizes;
mod modes;
mod native_refusal;
mod next_hops;
mod object;
mod occupant;
mod own_addresses;
mod own_sources;
mod pin_mend;
mod pins;
mod plan_changes;
mod policies_in_force;
mod policy_banks;
mod queue_changes;
mod receive_frames;
mod refresh;
mod removed_addresses;
mod sources;
mod standby_ports;
mod unload;
mod vlan_devices;
mod vlan_stripping;
mod vlans;
mod waiting_clients;
mod watched_addresses;
mod watched_counts;
mod xdp_queues;

pub use address_places::Place;
pub use bpffs::MissingBpffs;
pub(crate) use bpffs::missing_bpffs;
pub use chain::chain_problems;
pub use driver_obstacles::{driver_warnings, zero_copy_needs};
pub(crate) use driver_table::facts_of;
pub use driver_table::{ChannelNeed, DriverFacts, ZeroCopy};
pub use endpoint_profiles::{EndpointProfiles, Learned, NEVER};
pub use error::SteeringError;
pub(crate) use error::cause;
pub use exchange::Exchange;
pub(crate) use frags::driver_has_frags;
pub use handle::Steering;
pub use interface_discovery::SteeredInterface;
pub(crate) use interface_discovery::refused_kind;
pub use interface_mend::Mended;
pub use kept_attacks::{Ongoing, ResumedAttack};
pub(crate) use kernel_crash::crash_of_native_xdp;
pub use left_out::LeftOut;
pub(crate) use native_refusal::most_mtu;
pub use occupant::Occupant;
pub use own_addresses::own_address_warnings;
pub use queue_changes::QueueChange;
pub(crate) use receive_frames::one_frame_mtu;
pub use receive_frames::{fits_one_frame, frame_size};
pub(crate) use removed_addresses::left as addresses_left;
pub use sources::{Sampled, SampledSources};
pub use unload::{nothing_is_pinned, remove_left, unload, unload_incompatible};
pub use vlan_stripping::stripped_tag_warnings;
pub use waiting_clients::Waited;
pub use xdp_queues::{queues_of_xdp, queues_of_xdp_note};
