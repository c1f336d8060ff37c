//! The checks of services with `handoff = "local"`: whether this machine can serve them, and how well.
//!
//! What the kernel says is asked in [`kernel`](crate::kernel); what follows from it is decided here.
//!
//! | file | idea |
//! |---|---|
//! | `kernel_support` | whether this kernel can serve local services, and by whose cookies |
//! | `reachability` | before anything is steered: whether proven clients get through to the service's sockets |
//! | `firewall_probe` | how a firewall is asked |
//! | `notes` | what listens for them, looked at again while the appliance runs |
//! | `warnings` | what `synward check` says of all this |
//! | `listener_profile` | what a listener of this machine promises in its SYN-ACKs on a link |
//! | `services` | which services are local, and which addresses are this machine's |
#![forbid(unsafe_code)]

mod error;
mod firewall_probe;
mod kernel_support;
mod listener_profile;
mod notes;
mod reachability;
mod services;
mod warnings;

pub use error::LocalError;
pub use kernel_support::check_kernel;
pub use listener_profile::profile_on_link;
pub use notes::Notes;
pub use reachability::check_reachable;
pub use warnings::warnings;
