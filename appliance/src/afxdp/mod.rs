//! AF_XDP: frames in from one hardware queue and out again, without a copy in user space.
//!
//! A [`Port`] is one AF_XDP socket on (interface, queue) with a UMEM of its own. It hands out
//! [`Frame`]s, move-only tokens for one chunk of that UMEM each; whoever holds the frame holds the
//! chunk, and the only ways to be rid of it are [`Port::transmit`] and [`Port::release`]. One
//! worker loop looks like this:
//!
//! ```no_run
//! # use arrayvec::ArrayVec;
//! # use synward::afxdp::{Polling, Port, PortOptions, Waiter};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut ports = [Port::open("eth0", 0, &PortOptions::default())?];
//! let mut waiter = Waiter::new(Polling::default())?;
//! let mut batch = ArrayVec::new();
//! loop {
//!     let mut received = 0;
//!     for port in &mut ports {
//!         received += port.receive(&mut batch);
//!         for mut frame in batch.drain(..) {
//!             port.bytes_mut(&mut frame)[..12].rotate_left(6);
//!             port.transmit(frame);
//!         }
//!         port.flush();
//!     }
//!     waiter.wait(&mut ports, received > 0);
//! }
//! # }
//! ```
//!
//! The socket receives what an XDP program redirects to it through an XSKMAP slot that holds
//! [`Port::fd`]; putting it there is the control plane's work. Nothing here loads an XDP program,
//! binds a socket twice, allocates after [`Port::open`] or takes a lock. Unsafe code stays in this
//! room: the ring calls, the memory of the UMEM and a few system calls; the API is safe.
//!
//! | file | idea |
//! |---|---|
//! | [`port`] | the socket with its four rings: receive, transmit, release, flush |
//! | [`open`](mod@open) | binding, its retries, and what each refusal means |
//! | [`frame_token`] | the move-only token |
//! | `umem` | the memory behind the tokens, and the chunks nobody uses at the moment |
//! | [`ledger`] | who holds each chunk; proves that none is lost or handed out twice |
//! | [`port_options`] | what can be chosen |
//! | `socket_options` | the socket options and the two system calls that wake the kernel |
//! | [`port_counters`] | counters, the kernel's and ours |
//! | [`wait`] | spin while packets come, sleep while none do |

pub mod frame_token;
pub mod ledger;
pub mod open;
pub mod port;
pub mod port_counters;
pub mod port_options;
mod socket_options;
mod umem;
pub mod wait;

pub use frame_token::Frame;
pub use ledger::FrameAccount;
pub use open::OpenError;
pub use port::{BATCH, Port};
pub use port_counters::{KernelStatistics, PortCounters};
pub use port_options::{Chunk, PortOptions, ZeroCopy};
pub use wait::{Polling, Waiter, Waker};
