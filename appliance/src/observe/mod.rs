//! Observation: status, flows, metrics and logs of a running process.
//!
//! The running appliance implements [`ApplianceHandle`]; all output is built from its [`Snapshot`]s. A process runs a
//! [`ControlServer`] and a [`MetricsServer`], each in a thread of its own. The commands of [`control_client`] query the
//! first, Prometheus scrapes the second.
//!
//! | file | idea |
//! |---|---|
//! | `appliance_handle` | what observers may read and change |
//! | `snapshot`, `interface_view`, `flow_view`, `counter_sums` | plain data, in JSON the same everywhere |
//! | `client_notes` | clients that cannot be served, and what to do about it |
//! | `request_server` | a thread that answers one request per connection, with bounded resources |
//! | `metrics_server`, [`metrics`], `prometheus_text` | `/metrics`, `/healthz`, `/readyz`; the metrics; their text format |
//! | [`flow_query`] | which flows are asked for, in pages |
//! | `control_server`, `socket_file`, [`control_protocol`] | the control socket; its file; its requests and responses |
//! | [`list_client`], [`drain_client`], `drain_view` | `allow`, `deny`; `drain`, `undrain`; the state of a drain |
//! | [`control_client`] | `status`, `flows`, `mode`, `reload` |
//! | `status_text`, `status_attacks`, `text_columns`, [`number_format`] | their output |
//! | [`log`], `log_format` | the log on stderr; how its lines are written |
//! | `log_queue`, `log_limit` | the queue of the log; how often a kind of line is logged |
//! | [`notify`] | notifications to the service manager |

#![forbid(unsafe_code)]

mod appliance_handle;
mod client_notes;
pub mod control_client;
pub mod control_protocol;
mod control_server;
mod counter_sums;
pub mod drain_client;
pub(crate) mod drain_view;
pub mod flow_query;
mod flow_view;
mod interface_view;
pub mod list_client;
pub mod log;
mod log_format;
mod log_limit;
mod log_queue;
pub mod metrics;
mod metrics_server;
pub mod notify;
pub mod number_format;
mod prometheus_text;
mod request_server;
#[cfg(test)]
pub(crate) mod sample_snapshot;
#[cfg(test)]
use crate::events::{Event, EventKind};
mod snapshot;
mod socket_file;
pub(crate) mod status_attacks;
mod status_text;
pub(crate) mod text_columns;

pub use crate::afxdp::{KernelStatistics, PortCounters};
pub use crate::engine::histogram::Histogram;
pub use appliance_handle::{ApplianceHandle, DrainCommand};
pub use client_notes::client_notes;
pub use control_server::{ControlServer, check_control_socket};
pub use counter_sums::Counters;
pub use drain_view::{DrainPhase, DrainView};
pub use flow_view::{FlowList, FlowState, FlowView, FlowsView};
pub use interface_view::{Frames, InterfaceView, QueueView, Responder, XskCounters};
pub use log_limit::LogLimit;
pub use metrics_server::{HttpError, MetricsServer, check_metrics_address};
pub use snapshot::{
    AddressAttackView, AttackView, ListSizes, ProfileView, SCHEMA_VERSION, ServiceView, Snapshot,
    SourceView, WorkerView,
};
pub use socket_file::ControlError;
