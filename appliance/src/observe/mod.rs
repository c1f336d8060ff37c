//! Observation: what the process tells about itself, and how people and machines ask.
//!
//! The data plane implements [`Source`]; everything else here is made of its [`Snapshot`]s.

mod counters;
mod histogram;
mod source;
mod snapshot;

pub use counters::Counters;
pub use histogram::{BOUNDS, Histogram};
pub use snapshot::{
    FlowList, FlowState, FlowView, FlowsView, Frames, InterfaceView, ProfileView, QueueView,
    Responder, ServiceView, Snapshot, WorkerView, XskCounters,
};
pub use source::Source;
