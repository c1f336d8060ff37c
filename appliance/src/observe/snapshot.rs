//! How the appliance is at one moment: plain data, the same in the process and, as JSON, outside of it.
//!
//! The field names are those of `status --json`; they stay.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use synward_core::counters::Counter;

use super::counters::Counters;
use super::histogram::Histogram;
use crate::afxdp::{FrameAccount, KernelStatistics, PortCounters};

/// Everything at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Version of the program.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Since it was started.
    pub uptime_seconds: f64,
    /// The configuration file, as it was named.
    pub config_file: PathBuf,
    /// Whether the last reload took effect; true before the first.
    pub config_last_reload_successful: bool,
    /// Whether packets are steered: every interface has its program, every socket is bound.
    pub serving: bool,
    /// What is not as it should be, each a sentence for people; empty while all is well.
    pub degraded: Vec<String>,
    /// What should be known about services, though nothing is wrong with synward; each a sentence for people.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The steered interfaces.
    pub interfaces: Vec<InterfaceView>,
    /// The protected services.
    pub services: Vec<ServiceView>,
    /// The worker threads.
    pub workers: Vec<WorkerView>,
    /// The flow table.
    pub flows: FlowsView,
    /// From a valid cookie to the server's answer.
    pub handoff_seconds: Histogram,
}

impl Snapshot {
    /// Why this is not well; empty while it is.
    pub fn complaints(&self) -> Vec<&str> {
        let mut complaints: Vec<_> = self.degraded.iter().map(String::as_str).collect();
        if !self.serving && complaints.is_empty() {
            complaints.push("packets are not steered yet");
        }
        complaints
    }
}

/// A steered interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InterfaceView {
    /// As the kernel names it.
    pub name: String,
    /// The kernel's number of it.
    pub index: u32,
    /// "outside", "inside" or "both".
    pub side: String,
    /// Whether the program runs in the driver; else in the kernel's generic path.
    pub native: bool,
    /// Its receive queues.
    pub queues: Vec<QueueView>,
}

/// A receive queue, and its AF_XDP socket.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QueueView {
    /// Its number.
    pub queue: u32,
    /// Who answers SYNs on it.
    pub responder: Responder,
    /// Whether its socket has zero-copy; `None`: there is no socket.
    pub zero_copy: Option<bool>,
    /// The socket's counters.
    pub counters: XskCounters,
    /// Where the frames of its UMEM are.
    pub frames: Frames,
}

/// Who answers SYNs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Responder {
    /// A worker, over AF_XDP.
    Afxdp,
    /// The XDP program.
    #[default]
    Xdp,
}

impl Responder {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Afxdp => "afxdp",
            Self::Xdp => "xdp",
        }
    }
}

/// Counters of an AF_XDP socket since it was opened: the kernel's ([`KernelStatistics`]) and ours ([`PortCounters`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct XskCounters {
    /// As [`KernelStatistics::rx_dropped`].
    pub rx_dropped: u64,
    /// As [`KernelStatistics::rx_invalid_descs`].
    pub rx_invalid_descs: u64,
    /// As [`KernelStatistics::tx_invalid_descs`].
    pub tx_invalid_descs: u64,
    /// As [`KernelStatistics::rx_ring_full`].
    pub rx_ring_full: u64,
    /// As [`KernelStatistics::rx_fill_ring_empty_descs`].
    pub rx_fill_ring_empty_descs: u64,
    /// As [`KernelStatistics::tx_ring_empty_descs`].
    pub tx_ring_empty_descs: u64,
    /// As [`PortCounters::received`].
    pub received: u64,
    /// As [`PortCounters::transmitted`].
    pub transmitted: u64,
    /// As [`PortCounters::dropped_full`].
    pub dropped_full: u64,
    /// As [`PortCounters::dropped_length`].
    pub dropped_length: u64,
    /// As [`PortCounters::refused`].
    pub refused: u64,
    /// As [`PortCounters::wakeups`].
    pub wakeups: u64,
    /// As [`PortCounters::failed_wakeups`].
    pub failed_wakeups: u64,
}

impl XskCounters {
    /// Both, side by side.
    pub fn new(kernel: KernelStatistics, port: PortCounters) -> Self {
        let KernelStatistics {
            rx_dropped,
            rx_invalid_descs,
            tx_invalid_descs,
            rx_ring_full,
            rx_fill_ring_empty_descs,
            tx_ring_empty_descs,
        } = kernel;
        let PortCounters {
            received,
            transmitted,
            dropped_full,
            dropped_length,
            refused,
            wakeups,
            failed_wakeups,
        } = port;
        Self {
            rx_dropped,
            rx_invalid_descs,
            tx_invalid_descs,
            rx_ring_full,
            rx_fill_ring_empty_descs,
            tx_ring_empty_descs,
            received,
            transmitted,
            dropped_full,
            dropped_length,
            refused,
            wakeups,
            failed_wakeups,
        }
    }

    /// Packets that did not get through, in either direction.
    pub fn lost(&self) -> u64 {
        self.rx_dropped + self.rx_ring_full + self.dropped_full + self.dropped_length
    }
}

/// How many frames of a UMEM are where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frames {
    /// As [`FrameAccount::free`].
    pub free: u32,
    /// As [`FrameAccount::fill`].
    pub fill: u32,
    /// As [`FrameAccount::held`].
    pub held: u32,
    /// As [`FrameAccount::transmit`].
    pub transmit: u32,
}

impl From<FrameAccount> for Frames {
    fn from(account: FrameAccount) -> Self {
        let FrameAccount {
            free,
            fill,
            held,
            transmit,
        } = account;
        Self {
            free,
            fill,
            held,
            transmit,
        }
    }
}

/// A protected service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceView {
    /// As configured.
    pub name: String,
    /// "splice", "local" or "forward".
    pub handoff: String,
    /// "always", "auto", "monitor" or "off": as set now, not as configured.
    pub mode: String,
    /// Whether SYNs are challenged now.
    pub active: bool,
    /// Spliced flows, those that are closing included.
    pub flows: u64,
    /// Openings: proven clients whose server has not answered yet.
    pub openings: u64,
    /// Bytes of client data held for openings.
    pub held_bytes: u64,
    /// SYN-ACKs that workers sent.
    pub answered_afxdp: u64,
    /// What the XDP program counted.
    pub counters: Counters,
    /// How handoffs ended: result → how many. Those that did not happen yet are there as 0.
    pub handoffs: BTreeMap<String, u64>,
    /// What SYN-ACKs promise in the name of each server.
    pub profiles: Vec<ProfileView>,
}

impl ServiceView {
    /// SYN-ACKs sent, whoever sent them.
    pub fn answered(&self) -> u64 {
        self.counters.value(Counter::AnsweredXdp) + self.answered_afxdp
    }
}

/// What SYN-ACKs promise in the name of one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileView {
    /// The server's address.
    pub address: IpAddr,
    /// Its port; 0 = any.
    pub port: u16,
    /// Whether it was learned from the server; else assumed or configured.
    pub learned: bool,
    /// Maximum segment size, bytes.
    pub mss: u16,
    /// Window, bytes, not scaled.
    pub window: u16,
    /// Window shift; `None` = no window scaling.
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
    /// The queue that it serves on every interface.
    pub queue: u32,
    /// The CPU that it is pinned to; `None`: to none.
    pub core: Option<usize>,
    /// Whether its heartbeat is fresh.
    pub alive: bool,
    /// Share of time that it worked rather than waited, 0 to 1, in the last tenth of a second.
    pub busy_ratio: f64,
    /// Rounds of its loop.
    pub loops: u64,
    /// Times that it slept for want of packets.
    pub sleeps: u64,
    /// Frames that came to it without a request that it understands.
    pub unreadable_total: u64,
    /// Packets that neither a socket nor the kernel took from it.
    pub unsent_total: u64,
}

/// The flow table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowsView {
    /// Entries that it has room for.
    pub capacity: u64,
    /// Entries in use, openings included.
    pub used: u64,
    /// Flows removed because they were closed or idle for long enough.
    pub expired_total: u64,
    /// Handoffs refused because there was no room.
    pub full_total: u64,
}

/// Some of the spliced flows and openings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FlowList {
    /// How many there are in all.
    pub total: u64,
    /// Those asked for.
    pub flows: Vec<FlowView>,
}

/// A spliced flow or an opening.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowView {
    /// Who connected.
    pub client: SocketAddr,
    /// To whom.
    pub server: SocketAddr,
    /// The service's name.
    pub service: String,
    /// How far it is.
    pub state: FlowState,
    /// Since it last carried a segment; of an opening: since its cookie was verified.
    pub idle_seconds: f64,
    /// The worker that owns the opening.
    pub worker: Option<u32>,
}

/// How far a flow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlowState {
    /// The server has not answered yet.
    Opening,
    /// Translated and forwarded.
    Established,
    /// As before, but a FIN or RST was seen.
    Closing,
}

impl FlowState {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Established => "established",
            Self::Closing => "closing",
        }
    }
}
