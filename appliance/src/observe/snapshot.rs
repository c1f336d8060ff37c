//! The state of the appliance at one moment, as plain data. The process and its clients use the same types.
//!
//! The field names are those of `status --json`. docs/status.schema.json describes them; a test compares the two.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use synward_core::counters::Counter;

use super::counter_sums::Counters;
use super::drain_view::DrainView;
use super::flow_view::FlowsView;
use super::interface_view::InterfaceView;
use crate::engine::histogram::Histogram;
use crate::events::Event;

/// Version of the fields of [`Snapshot`]. Raised when one is renamed, removed or changes its meaning, not when one is added.
pub const SCHEMA_VERSION: u32 = 1;

/// Everything at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// [`SCHEMA_VERSION`] of the process.
    #[serde(default)]
    pub schema_version: u32,
    /// Version of the program.
    pub version: String,
    /// Its pid.
    pub pid: u32,
    /// When it was taken, seconds of Unix time.
    #[serde(default)]
    pub time: f64,
    /// Time since its start.
    pub uptime_seconds: f64,
    /// The configuration file, as named on the command line.
    pub config_file: PathBuf,
    /// Whether the last reload took effect; true before the first reload.
    pub config_last_reload_successful: bool,
    /// When a reload last took effect, or the process started: seconds since 1970.
    #[serde(default)]
    pub config_last_reload_success_timestamp_seconds: f64,
    /// What the last reload changed, or why it was refused, one line each; empty before the first reload.
    #[serde(default)]
    pub config_last_reload: Vec<String>,
    /// Whether packets are steered: every interface has its program and every socket is bound.
    pub serving: bool,
    /// Why the appliance is degraded, one sentence for people each; empty if it is not.
    pub degraded: Vec<String>,
    /// Notes on services that do not degrade the appliance, one sentence for people each.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The drain under way; `None` = new connections are accepted.
    #[serde(default)]
    pub drain: Option<DrainView>,
    /// The steered interfaces.
    pub interfaces: Vec<InterfaceView>,
    /// The protected services.
    pub services: Vec<ServiceView>,
    /// The worker threads.
    pub workers: Vec<WorkerView>,
    /// The flow table.
    pub flows: FlowsView,
    /// Time from a valid cookie to the server's answer.
    pub handoff_seconds: Histogram,
    /// The last events, the oldest first; at most 64.
    #[serde(default)]
    pub events: Vec<Event>,
}

impl Snapshot {
    /// Why the appliance is degraded; empty if it serves and is not.
    pub fn degraded_reasons(&self) -> Vec<&str> {
        let mut degraded_reasons: Vec<_> = self.degraded.iter().map(String::as_str).collect();
        if !self.serving && degraded_reasons.is_empty() {
            degraded_reasons.push("packets are not steered yet");
        }
        degraded_reasons
    }

    /// Why no new connections should be sent here: the appliance is degraded, or drains.
    pub fn unready_reasons(&self) -> Vec<String> {
        let degraded = self.degraded_reasons().into_iter().map(str::to_owned);
        let draining = self.drain.as_ref().map(DrainView::reason);
        degraded.chain(draining).collect()
    }
}

/// A protected service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceView {
    /// As configured.
    pub name: String,
    /// "splice", "local" or "forward".
    pub handoff: String,
    /// "always", "auto", "monitor" or "off": the mode in force, not the configured one.
    pub mode: String,
    /// Whether SYNs are currently challenged.
    pub active: bool,
    /// Its rate of SYNs, and whether it is under attack.
    #[serde(default)]
    pub attack: AttackView,
    /// Spliced flows, including closing ones.
    pub flows: u64,
    /// Openings: validated clients whose server has not answered yet.
    pub openings: u64,
    /// Bytes of client data buffered for openings.
    pub held_bytes: u64,
    /// Prefixes on its allow-list and its deny-list, of configuration, files and run time.
    #[serde(default)]
    pub listed: ListSizes,
    /// SYN-ACKs that workers sent.
    pub answered_afxdp: u64,
    /// Counters of the XDP program; `None` = the kernel refused to read them.
    pub counters: Option<Counters>,
    /// Handoffs by result. Results that have not happened are present as 0.
    pub handoffs: BTreeMap<String, u64>,
    /// The TCP options that SYN-ACKs offer for each server.
    pub profiles: Vec<ProfileView>,
}

impl ServiceView {
    /// SYN-ACKs sent, by the XDP program and by workers; `None` if the counters could not be read.
    pub fn answered(&self) -> Option<u64> {
        let by_xdp = self.counters?.value(Counter::AnsweredXdp);
        Some(by_xdp + self.answered_afxdp)
    }
}

/// The rate of SYNs of a service, and whether that is an attack. With mode "auto" the service challenges its clients meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AttackView {
    /// Whether the service or one of its addresses is under attack.
    pub active: bool,
    /// Attacks since the start.
    pub total: u64,
    /// SYNs a second, over the last half second.
    pub syn_rate: u64,
    /// The rate from which on it is under attack.
    pub activate_syn_rate: u64,
    /// The rate below which the attack may be over.
    pub deactivate_syn_rate: u64,
    /// Seconds since the attack began.
    pub since_seconds: Option<f64>,
    /// The highest rate of the attack.
    pub peak_syn_rate: Option<u64>,
    /// SYNs of attacks during which the service challenged nobody (mode "monitor"): mode "auto" would have answered them.
    pub unanswered_syns: u64,
    /// Whether it is under attack at all its addresses.
    #[serde(default)]
    pub everywhere: bool,
    /// Its addresses that are under attack separately.
    #[serde(default)]
    pub addresses: Vec<AddressAttackView>,
    /// The source prefixes that claim to send most of the attack, by a sample, the largest first, at most five. Empty without an
    /// attack, or if none stands out.
    #[serde(default)]
    pub sources: Vec<SourceView>,
}

/// An address or prefix of a service that is under attack separately.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AddressAttackView {
    /// The address or prefix, as it is configured.
    pub address: String,
    /// SYNs a second, over the last half second.
    pub syn_rate: u64,
    /// The rate below which the attack may be over.
    pub deactivate_syn_rate: u64,
    /// Seconds since the attack began.
    pub since_seconds: f64,
    /// The highest rate of the attack.
    pub peak_syn_rate: u64,
}

/// A source prefix of an attack's SYNs. A SYN's source is a claim: it may be spoofed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceView {
    /// IPv4: of 24 bits, IPv6: of 48.
    pub prefix: String,
    /// Its share of the attack's SYNs, 0 to 1, estimated from a sample.
    pub share: f64,
}

/// The number of prefixes on the lists of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListSizes {
    /// On the allow-list.
    pub allow: u64,
    /// On the deny-list.
    pub deny: u64,
}

/// The TCP options that SYN-ACKs offer for one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileView {
    /// The server's address.
    pub address: IpAddr,
    /// Its port; 0 = any.
    pub port: u16,
    /// Whether the options were learned from the server, not assumed or configured.
    pub learned: bool,
    /// Maximum segment size, bytes.
    pub mss: u16,
    /// Window, bytes, unscaled.
    pub window: u16,
    /// Window scale; `None` = no window scaling.
    pub window_scale: Option<u8>,
    /// Selective acknowledgements.
    pub sack: bool,
    /// Timestamps.
    pub timestamps: bool,
    /// Explicit congestion notification.
    pub ecn: bool,
}

/// A worker thread.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerView {
    /// The queue number that it serves, on every interface.
    pub queue: u32,
    /// The CPU to which it is pinned; `None` = not pinned.
    pub core: Option<usize>,
    /// Whether its heartbeat is recent.
    pub alive: bool,
    /// Share of time that it was not waiting, 0 to 1, over the last tenth of a second.
    pub busy_ratio: f64,
    /// Iterations of its loop.
    pub loops: u64,
    /// Times that it slept because no packets arrived.
    pub sleeps: u64,
    /// Frames that it received without a request that it can parse.
    pub unreadable_total: u64,
    /// Packets of the worker that neither a socket nor the kernel accepted.
    pub unsent_total: u64,
}
