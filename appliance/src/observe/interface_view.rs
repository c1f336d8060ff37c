//! What a [`Snapshot`](super::Snapshot) says of interfaces, their queues and AF_XDP sockets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::afxdp::{FrameAccount, KernelStatistics, PortCounters};

/// A steered interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InterfaceView {
    /// The kernel's name for it.
    pub name: String,
    /// Its interface index.
    pub index: u32,
    /// "outside", "inside" or "both".
    pub side: String,
    /// Whether the program runs in the driver, or in the kernel's generic path.
    pub native: bool,
    /// Its receive queues.
    pub queues: Vec<QueueView>,
    /// Frames that the driver lost, by its counter.
    #[serde(default)]
    pub nic_dropped: BTreeMap<String, u64>,
    /// Frames that it did not transmit for XDP, by errno; "none": the driver gave none; "exception": dropped after XDP_TX.
    #[serde(default)]
    pub redirect_failed: BTreeMap<String, u64>,
}

/// A receive queue, and its AF_XDP socket.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QueueView {
    /// Its number.
    pub queue: u32,
    /// What answers SYNs on it.
    pub responder: Responder,
    /// Whether its socket has zero-copy; `None` = there is no socket.
    pub zero_copy: Option<bool>,
    /// The socket's counters.
    pub counters: XskCounters,
    /// The frames of its UMEM by place.
    pub frames: Frames,
}

/// What answers SYNs.
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
    /// Combines both.
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

    /// Lost packets, both directions.
    pub fn lost(&self) -> u64 {
        self.rx_dropped + self.rx_ring_full + self.dropped_full + self.dropped_length
    }
}

/// The number of frames of a UMEM by place.
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
