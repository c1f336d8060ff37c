//! State shared by all workers: the flow table, the policies of services, mailboxes, and the queue to the control
//! thread.

use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use synward_core::layout::Profile;
use synward_core::wire::Address;

use super::mailbox::Mailbox;
use super::opening_shares::ShareLimits;
use crate::maps::FlowTable;

/// How a service's openings behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether a client whose server is down gets a RST.
    pub reset_when_down: bool,
    /// Whether the server measures the round-trip time to the client during the handshake.
    pub true_rtt: bool,
    /// Maximum number of bytes buffered for one client.
    pub hold_bytes: u32,
    /// Maximum numbers of openings.
    pub shares: ShareLimits,
}

/// A server whose SYN-ACK differs from its profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learned {
    /// The server.
    pub address: Address,
    /// Its port.
    pub port: u16,
    /// The profile according to its SYN-ACK.
    pub profile: Profile,
    /// The server did not accept an option that we had offered, so a client was reset: do not offer it again.
    pub broken: bool,
}

/// State shared by all workers.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The flow table, shared with the XDP program.
    pub table: Arc<FlowTable>,
    /// Policies, by service.
    pub policies: Arc<[Policy]>,
    /// Learned profiles for the control thread.
    pub learned: Arc<ArrayQueue<Learned>>,
    /// Mailboxes, by worker.
    pub mailboxes: Arc<[Mailbox]>,
}
