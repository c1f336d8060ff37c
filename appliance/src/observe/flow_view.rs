//! What a [`Snapshot`](super::Snapshot) says of the flow table, and how `synward flows` shows single flows.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The flow table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowsView {
    /// Number of entries.
    pub capacity: u64,
    /// Entries in use, openings included.
    pub used: u64,
    /// Flows removed after the timeout of closed or idle flows.
    pub expired_total: u64,
    /// Handoffs refused because the table was full.
    pub full_total: u64,
}

/// Some of the spliced flows and openings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FlowList {
    /// Number of flows and openings that were asked for.
    pub total: u64,
    /// Some of them.
    pub flows: Vec<FlowView>,
    /// Where the next page begins; `None` = there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u32>,
}

/// A spliced flow or an opening.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowView {
    /// The client.
    pub client: SocketAddr,
    /// The server.
    pub server: SocketAddr,
    /// The service's name.
    pub service: String,
    /// Its state.
    pub state: FlowState,
    /// Time since its last segment; of an opening: since its cookie was verified.
    pub idle_seconds: f64,
    /// The worker that owns the opening.
    pub worker: Option<u32>,
}

/// The state of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlowState {
    /// The server has not answered yet.
    Opening,
    /// Translated and forwarded.
    Established,
    /// Translated and forwarded; a FIN or RST was seen.
    Closing,
}

impl FlowState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Opening, Self::Established, Self::Closing];

    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Established => "established",
            Self::Closing => "closing",
        }
    }
}
