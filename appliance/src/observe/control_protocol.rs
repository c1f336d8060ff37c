//! The protocol of the control socket: a request is a line of JSON, a response is a JSON document.
//!
//! ```text
//! {"command":"status"}                                → {"status":{…}}
//! {"command":"flows","limit":100}                     → {"flows":{"total":…,"flows":[…],"next":…}}
//! {"command":"flows","limit":100,"service":"web","client":"198.51.100.0/24","state":"opening","from":…} → the same
//! {"command":"mode","service":"web","mode":"monitor"} → {"mode":{"service":"web","mode":"monitor"}}
//! {"command":"lists","list":"deny","verb":"add","prefix":"203.0.113.0/24","seconds":3600}
//!                                                     → {"lists":{"done":"…","entries":[…]}}
//! {"command":"drain","seconds":60}, {"command":"undrain"}, {"command":"drained"}
//!                                                     → {"drain":{"phase":"draining",…}}
//! {"command":"reload"}                                → {"reload":{"done":true,"lines":["[[service]] web: mode …"]}}
//! {"command":"configuration"}                         → {"configuration":{"facts":{…},…}}
//! {"command":"capture","service":"web"}               → {"capture":{"service":0,"program":7,"interfaces":[…]}}
//! a request that fails                                → {"error":"why, and what would be right"}
//! any request while the state stays locked            → {"unreadable":"why, and what to do"}
//! ```

use serde::{Deserialize, Serialize};

use super::drain_view::DrainView;
use super::flow_query::FlowQuery;
use super::flow_view::FlowList;
use super::snapshot::Snapshot;
use crate::config::Abilities;
use crate::config::config_facts::Facts;
use crate::lists::{ListAnswer, ListRequest};

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase")]
pub enum Request {
    /// Get a snapshot.
    Status,
    /// List flows and openings.
    Flows(FlowQuery),
    /// Set the mode of a service.
    Mode(ServiceMode),
    /// Change or list the allow-list or the deny-list.
    Lists(ListRequest),
    /// Begin to drain, or set the timeout of the drain that is under way.
    Drain {
        /// When to end with connections left; `None` = never.
        seconds: Option<u64>,
    },
    /// End the drain, and accept new connections again.
    Undrain,
    /// Get the state of the drain.
    Drained,
    /// Read the configuration file again and put it in force.
    Reload,
    /// Get what is in force.
    Configuration,
    /// Get what a capture of a service needs.
    Capture {
        /// The service's name.
        service: String,
    },
}

/// The result of a reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// Whether it took effect; otherwise nothing has changed.
    pub done: bool,
    /// What changes, or why it was refused, a sentence each.
    pub lines: Vec<String>,
}

impl ReloadReport {
    /// A reload that changed nothing.
    pub fn refused(lines: Vec<String>) -> Self {
        Self { done: false, lines }
    }
}

/// What is in force, for `check --against-running`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningConfiguration {
    /// The configuration, with modes as they were last set.
    pub facts: Facts,
    /// Whether the command line named the control socket, and not the file.
    pub control_is_given: bool,
    /// What the process has that services may need.
    pub abilities: Abilities,
}

/// A service and a mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceMode {
    /// The service's name.
    pub service: String,
    /// A word of [`Mode`](crate::config::Mode).
    pub mode: String,
}

/// What a capture of a service needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureTarget {
    /// Index of the service in the maps.
    pub service: u32,
    /// The id of the XDP program.
    pub program: u32,
    /// The steered interfaces.
    pub interfaces: Vec<CapturedInterface>,
}

/// A steered interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturedInterface {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
}

impl CaptureTarget {
    /// The name of the interface with this index. The process knows it also where this one is in another network namespace.
    pub fn interface_name(&self, index: u32) -> String {
        let found = self.interfaces.iter().find(|one| one.index == index);
        found.map_or_else(|| format!("if{index}"), |one| one.name.clone())
    }
}

/// What is said of a service that does not exist.
pub fn no_service(wanted: &str, names: &[&str]) -> String {
    let names = names.join(", ");
    format!("there is no service {wanted:?}; there is {names}")
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
    /// To [`Request::Lists`].
    Lists(ListAnswer),
    /// To [`Request::Drain`], [`Request::Undrain`] and [`Request::Drained`].
    Drain(DrainView),
    /// To [`Request::Reload`].
    Reload(ReloadReport),
    /// To [`Request::Configuration`].
    Configuration(Box<RunningConfiguration>),
    /// To [`Request::Capture`].
    Capture(CaptureTarget),
    /// Nothing was done, because the state of the process cannot be had: a sentence for people.
    Unreadable(String),
    /// The request failed: a sentence for people.
    Error(String),
}
