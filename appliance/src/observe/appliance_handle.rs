//! The interface between observers and the running appliance.

use std::time::Duration;

use super::control_protocol::{CaptureTarget, ReloadReport, RunningConfiguration};
use super::drain_view::DrainView;
use super::flow_query::FlowQuery;
use super::flow_view::FlowList;
use super::snapshot::Snapshot;
use crate::config::Mode;
use crate::lists::{ListAnswer, ListRequest};

/// What to do about draining.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainCommand {
    /// Begin, or set another timeout: when to end with connections left.
    Begin(Option<Duration>),
    /// Accept new connections again.
    End,
}

/// The running appliance, as observers see it. The threads of the control socket and the metrics endpoint call it, never
/// a worker. A call may take milliseconds.
pub trait ApplianceHandle: Send + Sync {
    /// Why nothing can be asked now: the rest would wait for long, or for ever. Waits some seconds at most.
    fn why_unreadable(&self) -> Option<String>;

    /// The current state.
    fn snapshot(&self) -> Snapshot;

    /// A page of the spliced flows and openings that are asked for. The error is a sentence for people.
    fn flows(&self, query: &FlowQuery) -> Result<FlowList, String>;

    /// Sets the mode of a service until the next reload or start. The error is a sentence for people. The caller has
    /// checked that the service exists, but it may have been removed since.
    fn set_mode(&self, service: &str, mode: Mode) -> Result<(), String>;

    /// Changes or lists the allow-list or the deny-list. The error is a sentence for people.
    fn lists(&self, request: &ListRequest) -> Result<ListAnswer, String>;

    /// Begins or ends a drain. The error is a sentence for people.
    fn drain(&self, command: DrainCommand) -> Result<DrainView, String>;

    /// The state of the drain.
    fn drained(&self) -> DrainView;

    /// Reads the configuration again and puts it in force, or changes nothing. Waits for the control thread, some seconds at
    /// most. The error is a sentence for people: there is no report, and the configuration may still change.
    fn reload(&self) -> Result<ReloadReport, String>;

    /// What is in force.
    fn configuration(&self) -> RunningConfiguration;

    /// What a capture of a service needs. The error is a sentence for people.
    fn capture_target(&self, service: &str) -> Result<CaptureTarget, String>;
}
