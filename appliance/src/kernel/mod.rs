//! Queries the running kernel: interfaces, routes, listeners, sysctls and types.
//!
//! This module only reads, except that it has neighbours resolved. `steering` and `local_checks` decide what follows from the
//! answers.
//!
//! | file | what it queries, and how |
//! |---|---|
//! | `host` | the capabilities, the kernel version and the type information that steering requires |
//! | `netlink`, `multicast` | the request, the reply, messages and attributes; messages to a multicast group |
//! | `links`, `link_watch` | interfaces and their addresses; deleted ones (rtnetlink) |
//! | `routes`, `route_watch` | the interface and next hop of packets to an address; MTUs of routes, and changes (rtnetlink) |
//! | `neighbours` | the neighbour tables: entries, and having one resolved or confirmed (rtnetlink) |
//! | `conntrack` | the destination to which a DNAT rule rewrites a connection (nfnetlink) |
//! | `listeners`, `listen_overflows` | the listening sockets (sock_diag); how often they had no room |
//! | `generic_netlink` | the request and the reply of generic netlink, through neli |
//! | `nic_settings` | XDP features, channels, rings, offloads and the RSS table (generic netlink) |
//! | `clock_state` | whether the clock is synchronized (adjtimex) |
//! | `ethtool` | an interface's name, its driver's, the receive queues in use, receive offloads (ioctl) |
//! | `channel_words` | a number of channels in the words of `ethtool -L` |
//! | `xdp_refusal` | why a driver refuses an XDP program (rtnetlink) |
//! | `sysctls` | the settings of the kernel's own SYN cookies (/proc/sys) |
//! | `truncated_packets` | how many packets arrived cut short (/proc/net) |
//! | `btf` | offsets of structure members and ids of functions |
//! | `socket_fields`, `kfunc`, `abi` | the offsets and ids that the programs for local services use |
//! | `program_holders` | the links, pins and processes that hold an XDP program (ids, /proc) |
//! | `xdp_frags` | whether programs are loaded for frames in several buffers |
//! | `verifier` | loads a program although signals arrive |

mod abi;
mod btf;
mod channel_words;
mod clock_state;
mod conntrack;
mod error;
mod ethtool;
mod generic_netlink;
mod host;
mod kfunc;
mod link_watch;
mod links;
mod listen_overflows;
mod listeners;
mod multicast;
mod neighbours;
mod netlink;
mod nic_settings;
mod program_holders;
mod route_watch;
mod routes;
mod socket_fields;
mod sysctls;
mod truncated_packets;
mod verifier;
mod xdp_frags;
mod xdp_refusal;

pub use abi::KernelAbi;
pub use btf::KernelTypes;
pub use channel_words::{ChannelWords, receive_channel_words};
pub use clock_state::{ClockState, clock_state};
pub use conntrack::dnat_target;
pub use error::KernelError;
pub use ethtool::{
    Channels, ReceiveOffloads, bus, channels, driver, driver_losses, interface_name,
    receive_offloads, receive_queues,
};
pub use host::{check_host, effective_capabilities, missing_capabilities, oldest_linux};
pub use kfunc::patch_calls;
pub use link_watch::LinkWatch;
pub use links::{
    AttachedProgram, LOSSES, Link, addresses, broadcast_addresses, links, own_addresses,
};
pub use listen_overflows::listen_overflows;
pub use listeners::{Listener, listeners};
pub use neighbours::{Neighbour, neighbours, use_neighbour};
pub use nic_settings::{
    ChannelCounts, Count, Offload, XdpFeatures, channel_counts, offloads, receive_ring, rss_table,
    xdp_features,
};
pub use program_holders::{ProgramHolders, program_holders};
pub use route_watch::RouteWatch;
pub use routes::{RouteMtus, next_hop, outgoing_interface, route_mtus};
pub use socket_fields::{SOCKET_FIELDS, socket_fields};
pub use sysctls::{KernelCookies, has_bare_clock, kernel_cookies, tcp_syncookies};
pub use truncated_packets::truncated_packets;
pub use verifier::load_verified;
pub use xdp_frags::{choose_frags, kernel_has_frags};
pub use xdp_refusal::native_xdp_refusal;
