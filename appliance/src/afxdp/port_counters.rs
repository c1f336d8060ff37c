//! Counters of a port: the kernel's and ours.

use serde::{Deserialize, Serialize};
use xsk_rs::socket::XdpStatistics;

/// The kernel's counters since the socket was opened (`XDP_STATISTICS`, net/xdp/xsk.c). Packets or
/// descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct KernelStatistics {
    /// Received packets dropped for reasons other than full or empty rings; mostly packets that do not fit
    /// into a frame.
    pub rx_dropped: u64,
    /// Descriptors in the fill ring that the kernel rejected. Always 0 unless this module has a bug.
    pub rx_invalid_descs: u64,
    /// Descriptors in the TX ring that the kernel rejected. Always 0 unless this module has a bug.
    pub tx_invalid_descs: u64,
    /// Received packets dropped because the RX ring was full.
    pub rx_ring_full: u64,
    /// Number of times that a packet arrived while the fill ring was empty (in copy mode the packet was dropped).
    pub rx_fill_ring_empty_descs: u64,
    /// Number of times that the kernel found the TX ring empty. Harmless.
    pub tx_ring_empty_descs: u64,
}

impl From<XdpStatistics> for KernelStatistics {
    fn from(kernel: XdpStatistics) -> Self {
        KernelStatistics {
            rx_dropped: kernel.rx_dropped(),
            rx_invalid_descs: kernel.rx_invalid_descs(),
            tx_invalid_descs: kernel.tx_invalid_descs(),
            rx_ring_full: kernel.rx_ring_full(),
            rx_fill_ring_empty_descs: kernel.rx_fill_ring_empty_descs(),
            tx_ring_empty_descs: kernel.tx_ring_empty_descs(),
        }
    }
}

/// Our own counters since the port was opened. Plain numbers: the worker publishes copies for other threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PortCounters {
    /// Frames received.
    pub received: u64,
    /// Frames that the kernel reported sent.
    pub transmitted: u64,
    /// Frames given to [`Port::transmit`](super::Port::transmit) and dropped because TX ring and
    /// backlog were full.
    pub dropped_full: u64,
    /// Frames given to [`Port::transmit`](super::Port::transmit) and dropped because their length
    /// was below an Ethernet header or beyond their room.
    pub dropped_length: u64,
    /// Ignored descriptors from the kernel for frames that it did not own. If not 0, a driver has a bug.
    pub refused: u64,
    /// System calls made to wake the kernel.
    pub wakeups: u64,
    /// How many of these failed with a permanent error, such as ENETDOWN while the interface is down.
    pub failed_wakeups: u64,
}
