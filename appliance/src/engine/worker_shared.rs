//! State shared by all workers: the flow table, the policies of services, mailboxes, and the queue to the control
//! thread.

use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use synward_core::layout::Profile;
use synward_core::wire::Address;

use super::mailbox::Mailbox;
use super::opening_shares::ShareLimits;
use super::server_syn_ack::OptionSet;
use crate::maps::{FlowTable, ReplayCache};

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

/// What a server's SYN-ACK says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The server.
    pub address: Address,
    /// Its port.
    pub port: u16,
    /// What was offered, with the values of its SYN-ACK.
    pub profile: Profile,
    /// The options that it was asked for.
    pub requested: OptionSet,
    /// Those that it refused.
    pub refused: OptionSet,
}

/// State shared by all workers.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The flow table, shared with the XDP program.
    pub table: Arc<FlowTable>,
    /// Which handshakes have had their connection, shared with the XDP program.
    pub replays: Arc<ReplayCache>,
    /// Policies, by service.
    pub policies: Arc<[Policy]>,
    /// What workers see of servers, for the control thread.
    pub observations: Arc<ArrayQueue<Observation>>,
    /// Mailboxes, by worker.
    pub mailboxes: Arc<[Mailbox]>,
}
