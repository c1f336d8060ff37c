//! Steering: the XDP program in the kernel, from loading it to taking it off again.
//!
//! [`Steering::load`] checks what can be checked, loads the program and fills its maps; nothing is steered yet.
//! [`Steering::attach`] puts it on all interfaces or on none. [`Steering::refresh`] keeps time and keys,
//! [`Steering::stop`] ends it all. What is shared with other threads is handed out as handles: the
//! [`FlowTable`](crate::maps::FlowTable), the [`Heartbeats`](crate::maps::Heartbeats) and the [`EndpointProfiles`].
//!
//! A process that is killed leaves program, flows and learned profiles pinned, and spliced connections go on. The
//! next one loads its own program with maps of its own, but for the flow table, the connections that pass and the
//! marks of handshakes, and then changes the attachments over, each at once; so a configuration is never half in place.
//!
//! | file | idea |
//! |---|---|
//! | `handle` | the handle: attach, refresh, change a mode, read counters, stop |
//! | `loading` | from a configuration to a program in the kernel with filled maps |
//! | `interface_discovery` | the interfaces that are steered, and why one cannot be |
//! | `map_plan`, `fill` | what the maps are to hold for a configuration, and writing it |
//! | `object` | the eBPF object: loaded, sized, its maps taken out |
//! | `attach`, `classifier`, `pins`, `bpffs` | onto the interfaces, and what outlives the process |
//! | `unload` | taking off what a killed process left |
//! | `endpoint_profiles`, `key_slots` | what changes while it runs |
#![forbid(unsafe_code)]

mod attach;
mod bpffs;
mod classifier;
mod endpoint_profiles;
mod error;
mod fill;
mod handle;
mod interface_discovery;
mod key_slots;
mod loading;
mod map_plan;
mod object;
mod pins;
mod unload;

pub use endpoint_profiles::{EndpointProfiles, Learned, NEVER};
pub use error::SteeringError;
pub use handle::Steering;
pub use interface_discovery::SteeredInterface;
pub use unload::unload;
