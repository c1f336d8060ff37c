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

/// Counters of an AF_XDP socket since it was opened: the kernel's and ours, side by side in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct XskCounters {
    /// The kernel's.
    #[serde(flatten)]
    pub kernel: KernelStatistics,
    /// Ours.
    #[serde(flatten)]
    pub port: PortCounters,
}

impl XskCounters {
    /// Lost packets, both directions.
    pub fn lost(&self) -> u64 {
        let Self { kernel, port } = self;
        kernel.rx_dropped + kernel.rx_ring_full + port.dropped_full + port.dropped_length
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
