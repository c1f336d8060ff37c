//! AF_XDP: frames in from one hardware queue and out again, without a copy in user space.
//!
//! A [`Port`] is one AF_XDP socket on (interface, queue) with its own UMEM. It hands out [`Frame`]s:
//! move-only tokens, each for one chunk of that UMEM. Holding the frame means owning the chunk, until
//! [`Port::transmit`] or [`Port::release`] takes the frame. A worker loop looks like this:
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
//! The socket receives the packets that an XDP program redirects to it through an XSKMAP slot that
//! contains [`Port::fd`]. The control plane fills that slot. This module loads no XDP program, binds no
//! socket twice, allocates nothing after [`Port::open`] and takes no lock. It contains unsafe code for the
//! ring calls, the memory of the UMEM and a few system calls; its API is safe.
//!
//! | file | idea |
//! |---|---|
//! | [`port`] | the socket: receive, transmit, release; its `flush` works on the four rings |
//! | [`open`](mod@open) | binds the socket, with retries; explains each failure |
//! | [`frame_token`] | the move-only token |
//! | `umem` | the memory of the frames, and the list of free chunks |
//! | `library_error` | the errors of xsk-rs |
//! | `umem_socket` | finds the socket that libxdp opens for a UMEM |
//! | `fill_ring`, `reception` | the fill ring, which is filled before the socket is bound |
//! | `wakeup` | when a driver needs a wakeup |
//! | [`ledger`] | the owner of each chunk; shows that none is lost or handed out twice |
//! | [`port_options`] | the options of a port |
//! | `socket_options` | the socket options and the two system calls that wake the kernel |
//! | [`port_counters`] | counters: the kernel's and ours |
//! | [`wait`] | spins while packets arrive, sleeps while none do |

mod fill_ring;
pub mod frame_token;
pub mod ledger;
mod library_error;
pub mod open;
pub mod port;
pub mod port_counters;
pub mod port_options;
mod reception;
mod socket_options;
mod umem;
mod umem_socket;
pub mod wait;
mod wakeup;

pub use frame_token::Frame;
pub use ledger::FrameAccount;
pub use open::OpenError;
pub use port::Port;
pub use port_counters::{KernelStatistics, PortCounters};
pub use port_options::{BATCH, Chunk, PortOptions, ZeroCopy};
pub use wait::{Polling, Waiter, Waker};
