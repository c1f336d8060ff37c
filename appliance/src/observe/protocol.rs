//! What is said on the control socket: a line of JSON, and a JSON document in answer.
//!
//! ```text
//! {"command":"status"}                                → {"status":{…}}
//! {"command":"flows","limit":100}                     → {"flows":{"total":…,"flows":[…]}}
//! {"command":"mode","service":"web","mode":"monitor"} → {"mode":{"service":"web","mode":"monitor"}}
//! anything that cannot be done                        → {"error":"why, and what would be right"}
//! ```

use serde::{Deserialize, Serialize};

use super::snapshot::{FlowList, Snapshot};

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase")]
pub enum Request {
    /// How everything is.
    Status,
    /// Some flows and openings.
    Flows {
        /// At most this many.
        limit: usize,
    },
    /// Another mode for a service.
    Mode(ModeOf),
}

/// A service and a mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeOf {
    /// The service's name.
    pub service: String,
    /// A word of [`Mode`](crate::config::Mode).
    pub mode: String,
}

/// What it gets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Response {
    /// To [`Request::Status`].
    Status(Box<Snapshot>),
    /// To [`Request::Flows`].
    Flows(FlowList),
    /// To [`Request::Mode`]: what is in force now.
    Mode(ModeOf),
    /// It cannot be done: a sentence for people.
    Error(String),
}
