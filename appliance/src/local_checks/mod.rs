//! Checks for services with `handoff = "local"`: whether this machine can serve them, and how well.
//!
//! [`kernel`](crate::kernel) queries the kernel. This module decides what follows from the answers.
//!
//! | file | idea |
//! |---|---|
//! | `kernel_support` | whether this kernel can serve local services, and with whose cookies |
//! | `reachability` | before the program is attached: whether validated clients reach the sockets of a service |
//! | `firewall_probe` | the probe of the firewall |
//! | `notes` | listeners and cookie settings, checked periodically while the appliance runs |
//! | `warnings` | the warnings of `synward check` |
//! | `listener_profile` | the options that a listener of this machine offers on a link |
//! | `services` | which services and addresses are local |
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
pub(crate) use notes::notes as listener_notes;
pub use reachability::{check_reachable, check_routes};
pub use warnings::warnings;
