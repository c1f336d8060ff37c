//! Counters of one port: the kernel's and ours.

use xsk_rs::socket::XdpStatistics;

/// The kernel's counters since the socket was opened (`XDP_STATISTICS`, net/xdp/xsk.c). Packets or
/// descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KernelStatistics {
    /// Received packets dropped for reasons other than full or empty rings: mostly longer than a
    /// frame has room.
    pub rx_dropped: u64,
    /// Descriptors in the fill ring that the kernel refused. Always 0 unless this room is broken.
    pub rx_invalid_descs: u64,
    /// Descriptors in the TX ring that the kernel refused. Always 0 unless this room is broken.
    pub tx_invalid_descs: u64,
    /// Received packets dropped because the worker did not empty the RX ring in time.
    pub rx_ring_full: u64,
    /// Times that a packet came and the fill ring was empty (in copy mode the packet was dropped).
    pub rx_fill_ring_empty_descs: u64,
    /// Times that the kernel looked at the TX ring and found it empty. Harmless.
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

/// Our own counters since the port was opened. Plain numbers: the worker copies them to where
/// others may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PortCounters {
    /// Frames received.
    pub received: u64,
    /// Frames that the kernel reported as sent.
    pub transmitted: u64,
    /// Frames given to [`Port::transmit`](super::Port::transmit) and dropped, as TX ring and
    /// backlog were full.
    pub dropped_full: u64,
    /// Frames given to [`Port::transmit`](super::Port::transmit) and dropped, as their length was
    /// below an Ethernet header or beyond their room.
    pub dropped_length: u64,
    /// Descriptors from the kernel for frames that it did not have; ignored. Not 0: a driver is
    /// broken.
    pub refused: u64,
    /// System calls made to wake the kernel.
    pub wakeups: u64,
    /// Of these, how many failed for good, such as ENETDOWN while the interface is down.
    pub failed_wakeups: u64,
}
