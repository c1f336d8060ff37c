//! The protocol of the control socket: a request is a line of JSON, a response is a JSON document.
//!
//! ```text
//! {"command":"status"}                                → {"status":{…}}
//! {"command":"flows","limit":100}                     → {"flows":{"total":…,"flows":[…]}}
//! {"command":"mode","service":"web","mode":"monitor"} → {"mode":{"service":"web","mode":"monitor"}}
//! a request that fails                                → {"error":"why, and what would be right"}
//! ```

use serde::{Deserialize, Serialize};

use super::snapshot::{FlowList, Snapshot};

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase")]
pub enum Request {
    /// Get a snapshot.
    Status,
    /// List flows and openings.
    Flows {
        /// At most this many.
        limit: usize,
    },
    /// Set the mode of a service.
    Mode(ServiceMode),
}

/// A service and a mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceMode {
    /// The service's name.
    pub service: String,
    /// A word of [`Mode`](crate::config::Mode).
    pub mode: String,
}

/// A response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Response {
    /// To [`Request::Status`].
    Status(Box<Snapshot>),
    /// To [`Request::Flows`].
    Flows(FlowList),
    /// To [`Request::Mode`]: the mode in force.
    Mode(ServiceMode),
    /// The request failed: a sentence for people.
    Error(String),
}
