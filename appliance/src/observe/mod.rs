//! Observation: what the process tells about itself, and how people and machines ask.
//!
//! The data plane implements [`Source`]; everything else is made of its [`Snapshot`]s. A running process holds a
//! [`ControlServer`] and a [`MetricsServer`], each a thread that answers from the source; the commands of
//! [`client`] ask the first, Prometheus the second.
//!
//! | file | idea |
//! |---|---|
//! | `source` | the trait |
//! | `snapshot`, `counters`, `histogram` | plain data, in JSON the same everywhere |
//! | `exchange` | a thread that answers one request a connection, bounded in everything |
//! | `http`, [`metrics`], `exposition` | `/metrics` and `/healthz`; what there is to measure; Prometheus' text format |
//! | `control`, `socket_file`, [`protocol`] | the control socket; its file; what is said on it |
//! | [`client`], `text`, `table`, [`quantity`] | `status`, `flows`, `mode`; what they print |
//! | [`log`], [`notify`] | the log on stderr; the service manager |
#![forbid(unsafe_code)]

pub mod client;
mod control;
mod counters;
mod exchange;
mod exposition;
mod histogram;
mod http;
pub mod log;
pub mod metrics;
pub mod notify;
pub mod protocol;
pub mod quantity;
#[cfg(test)]
mod sample;
mod snapshot;
mod socket_file;
mod source;
mod table;
mod text;

pub use control::ControlServer;
pub use counters::Counters;
pub use histogram::{BOUNDS, Histogram};
pub use http::{HttpError, MetricsServer};
pub use snapshot::{
    FlowList, FlowState, FlowView, FlowsView, Frames, InterfaceView, ProfileView, QueueView,
    Responder, ServiceView, Snapshot, WorkerView, XskCounters,
};
pub use socket_file::ControlError;
pub use source::Source;
