//! `status`, `flows` and `mode` against a made-up appliance, and the metrics endpoint: real sockets, the real program.
#![allow(clippy::unwrap_used)]

#[path = "control_cli/control.rs"]
mod control;
#[path = "control_cli/http.rs"]
mod http;
#[path = "../src/observe/sample.rs"]
mod sample;
#[path = "control_cli/source.rs"]
mod source;

// What `sample` is made of.
use synward::observe::{
    Counters, FlowList, FlowState, FlowView, FlowsView, Frames, Histogram, InterfaceView,
    ProfileView, QueueView, Responder, ServiceView, Snapshot, WorkerView, XskCounters,
};
