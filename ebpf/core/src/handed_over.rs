//! The latest ACKs of validated clients that were handed to a worker. A process that is killed leaves them to the next one:
//! those in a worker's ring, and those whose server has not answered yet.
//!
//! Each CPU overwrites its oldest entry. What a server has answered has a flow, or an entry in the
//! [replay cache](crate::replay_cache), which tells the others.

use crate::flow::FlowKey;
use crate::waiting_client::WaitingClient;

/// Entries of each CPU, a power of two: half of what the ring of one socket holds. The worker of a queue empties its ring in
/// far less time than so many handshakes take.
pub const ENTRIES: u32 = 1024;

/// Nanoseconds before the latest entry in which a server has answered, or never will: longer than a SYN and its first
/// retransmissions take.
pub const SETTLED_AFTER: u64 = 5_000_000_000;

/// One of these ACKs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandedOver {
    /// The flow that it opens.
    pub key: FlowKey,
    /// Padding, zero.
    pub reserved: u32,
    /// What it said; all zero: no entry.
    pub client: WaitingClient,
}

const _: () = assert!(size_of::<HandedOver>() == 104);
