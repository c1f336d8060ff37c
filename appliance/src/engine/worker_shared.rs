//! What all workers share: the flow table, what services want, and what they tell each other and the control thread.

use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use synward_core::layout::Profile;
use synward_core::wire::Address;

use super::mailbox::Mailbox;
use crate::maps::FlowTable;

/// What a service wants of its openings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// A client whose server is down gets a RST; otherwise silence.
    pub reset_when_down: bool,
    /// The server is to see the client's round-trip time in the handshake.
    pub true_rtt: bool,
    /// Bytes held for one client.
    pub hold_bytes: u32,
}

/// A server does something else than its profile says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learned {
    /// The server.
    pub address: Address,
    /// Its port.
    pub port: u16,
    /// What it does.
    pub profile: Profile,
    /// A client was turned away because of it: the promise must not be made again.
    pub broken: bool,
}

/// What all workers share.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The flow table, which the XDP program reads.
    pub table: Arc<FlowTable>,
    /// By service.
    pub policies: Arc<[Policy]>,
    /// Profiles on their way to the control thread.
    pub learned: Arc<ArrayQueue<Learned>>,
    /// By worker.
    pub mailboxes: Arc<[Mailbox]>,
}
