//! What only the running kernel can say: its interfaces, routes, listeners, sysctls and types.
//!
//! Nothing here decides anything; what follows from the answers is decided in `steering` and `local_checks`.
//!
//! | file | what is asked, and how |
//! |---|---|
//! | `host` | capabilities, version and type information: what the process and the kernel must have |
//! | `netlink` | request and answer, messages and attributes |
//! | `links` | interfaces and their addresses (rtnetlink) |
//! | `routes` | the interface that packets for an address leave by (rtnetlink) |
//! | `conntrack` | where a DNAT rule sends a connection (nfnetlink) |
//! | `listeners` | the sockets that listen (sock_diag) |
//! | `ethtool` | receive queues in use (ioctl) |
//! | `sysctls` | what the kernel's own SYN cookies do (/proc/sys) |
//! | `btf` | offsets of structures' members and numbers of functions |
//! | `socket_fields`, `kfunc`, `abi` | those of them that the programs for local services use |
//! | `verifier` | has the kernel verify a program |

mod abi;
mod btf;
mod conntrack;
mod error;
mod ethtool;
mod host;
mod kfunc;
mod links;
mod listeners;
mod netlink;
mod routes;
mod socket_fields;
mod sysctls;
mod verifier;

pub use abi::KernelAbi;
pub use btf::KernelTypes;
pub use conntrack::dnat_target;
pub use error::KernelError;
pub use ethtool::receive_queues;
pub use host::check_host;
pub use kfunc::patch_calls;
pub use links::{AttachedProgram, Link, addresses, links};
pub use listeners::{Listener, listeners};
pub use routes::outgoing_interface;
pub use socket_fields::{SOCKET_FIELDS, socket_fields};
pub use sysctls::{KernelCookies, has_bare_clock, kernel_cookies, tcp_syncookies};
pub use verifier::load_verified;
