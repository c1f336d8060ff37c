//! The commands of the real program that ask a running one, and the metrics endpoint, with a fake appliance behind real sockets.
#![allow(clippy::unwrap_used)]

mod bad_answers;
mod capture;
mod control_socket;
mod drain;
mod fake_appliance;
mod flow_filters;
mod lists;
mod metrics_endpoint;
#[path = "../program_run/mod.rs"]
mod program_run;
mod reload;
#[path = "../../src/observe/sample_snapshot.rs"]
mod sample_snapshot;
mod status_schema;
mod top_once;

use std::time::{Duration, Instant};

/// For how long the servers wait for a silent client (`request_server.rs`).
const CLIENT_TIMEOUT: Duration = Duration::from_secs(2);

/// Waits for a condition. A child that another test has just forked holds this one's sockets until its exec.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
}

// Types that `sample_snapshot` imports from its parent module.
use synward::events::{Event, EventKind};
use synward::observe::{
    AttackView, Counters, FlowList, FlowState, FlowView, FlowsView, Frames, Histogram,
    InterfaceView, KernelStatistics, ListSizes, PortCounters, ProfileView, QueueView, Responder,
    ServiceView, Snapshot, SourceView, WorkerView, XskCounters,
};
