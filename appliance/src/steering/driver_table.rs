//! What is known about the drivers of NICs that stands between them and XDP. `check` warns before the start, and the text of
//! a refusal names the driver's own limit.
//!
//! Each line rests on the source that it names, mostly a function of the kernel (6.18 or a version near it), read, not tried.
//! A fact that nobody has read is `None` or `Unknown`. Pages are of 4 KiB. A driver that is not listed is not worse for it:
//! the self-test at the start decides.

/// What a driver needs to run XDP, and what attaching a program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DriverFacts {
    /// Its name, as `ethtool -i` shows it.
    pub(crate) driver: &'static str,
    /// The largest MTU for a program without frags, bytes.
    pub(crate) mtu: Option<u32>,
    pub(crate) channels: ChannelNeed,
    /// Whether attaching a program to an interface that is up stops and restarts it, so that its link may be down for
    /// seconds. False also if that was not read.
    pub(crate) restarts: bool,
    pub(crate) zero_copy: ZeroCopy,
    /// Whether each poll of a queue with zero-copy takes the lock of a transmit queue, which XDP on another CPU may want. False
    /// also if that was not read.
    pub(crate) zero_copy_locks: bool,
    /// The step in which the NIC counts the room of a receive buffer, bytes. With zero-copy the room is what a UMEM frame
    /// has: it is rounded down to a step, and a longer packet arrives cut. 1 also if that was not read.
    pub(super) buffer_step: u32,
    /// Where this stands.
    #[allow(dead_code, reason = "for the reader")]
    pub(crate) source: &'static str,
}

/// The channels that XDP needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelNeed {
    /// No requirement is known.
    Any,
    /// At most half of the maximum may be in use: XDP gets as many transmit queues again.
    Half,
    /// As many as CPUs. Frames that are redirected on a CPU without a channel are lost.
    OnePerCpu,
}

/// Zero-copy AF_XDP sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZeroCopy {
    /// The driver has it, or may have it: nobody has tried.
    Unknown,
    /// The driver has no code for it.
    None,
    /// Requests were answered through it, in an emulated card.
    Works,
    /// It binds, and then loses frames.
    LosesFrames,
}

/// The step of `SRRCTL.BSIZEPKT`, in which Intel's NICs of up to 10 Gbit/s count receive buffers.
const KIB: u32 = 1024;

pub(super) const TABLE: [DriverFacts; 13] = [
    DriverFacts {
        driver: "ena",
        mtu: Some(3498),
        channels: ChannelNeed::Half,
        restarts: true,
        zero_copy: ZeroCopy::Unknown,
        zero_copy_locks: false,
        buffer_step: 1,
        source: "ENA_XDP_MAX_MTU and ena_xdp_set, drivers/net/ethernet/amazon/ena/ena_xdp.[ch]",
    },
    DriverFacts {
        // Also refuses if the numbers of receive and transmit queues differ. The message goes to dmesg.
        driver: "gve",
        mtu: Some(2032),
        channels: ChannelNeed::Half,
        restarts: false,
        zero_copy: ZeroCopy::Unknown,
        zero_copy_locks: false,
        buffer_step: 1,
        source: "verify_xdp_configuration, drivers/net/ethernet/google/gve/gve_main.c",
    },
    DriverFacts {
        // With fewer spare queue pairs than CPUs it transmits under a lock, which is slower.
        driver: "virtio_net",
        mtu: Some(3506),
        channels: ChannelNeed::Any,
        restarts: false,
        zero_copy: ZeroCopy::LosesFrames,
        zero_copy_locks: false,
        buffer_step: 1,
        source: "virtnet_xdp_set, drivers/net/virtio_net.c; zero-copy: seen in qemu with Linux 6.18 and 7.3",
    },
    DriverFacts {
        driver: "mlx5_core",
        mtu: Some(3498),
        channels: ChannelNeed::Any,
        restarts: false,
        zero_copy: ZeroCopy::Unknown,
        zero_copy_locks: false,
        buffer_step: 1,
        source: "the limit that the driver prints: xdp-newbies, November 2022, Linux 6.0.9, MT28800",
    },
    DriverFacts {
        driver: "ice",
        mtu: None,
        channels: ChannelNeed::Any,
        restarts: true,
        zero_copy: ZeroCopy::Unknown,
        zero_copy_locks: false,
        buffer_step: 1,
        source: "ice_xdp_setup_prog, drivers/net/ethernet/intel/ice/ice_main.c",
    },
    DriverFacts {
        driver: "i40e",
        mtu: None,
        channels: ChannelNeed::OnePerCpu,
        restarts: true,
        zero_copy: ZeroCopy::Unknown,
        zero_copy_locks: false,
        buffer_step: 1,
        source: "i40e_xdp_xmit (ENXIO), i40e_txrx.c; i40e_xdp_setup, i40e_main.c in drivers/net/ethernet/intel/i40e",
    },
    DriverFacts {
        // Refuses receive-side coalescing (`lro`) with EINVAL and no text, and more than 128 CPUs with ENOMEM. Only the
        // 82599 rounds receive buffers down; newer NICs have the same driver.
        driver: "ixgbe",
        mtu: None,
        channels: ChannelNeed::Any,
        restarts: true,
        zero_copy: ZeroCopy::Unknown,
        zero_copy_locks: false,
        buffer_step: KIB,
        source: "ixgbe_xdp_setup and ixgbe_configure_srrctl, drivers/net/ethernet/intel/ixgbe/ixgbe_main.c",
    },
    DriverFacts {
        // With zero-copy it takes the lock of a transmit queue in each poll (`igb_clean_tx_irq`), and XDP transmits on the queue
        // of its CPU. Zero-copy costs no more than copy mode only if CPU n handles the interrupts of queue n.
        driver: "igb",
        mtu: Some(3046),
        channels: ChannelNeed::Any,
        restarts: true,
        zero_copy: ZeroCopy::Works,
        zero_copy_locks: true,
        buffer_step: KIB,
        source: "igb_xdp_setup and igb_setup_srrctl, igb_main.c; igb_rx_bufsz, igb.h in drivers/net/ethernet/intel/igb; \
                 zero-copy: seen in qemu",
    },
    DriverFacts {
        driver: "igc",
        mtu: Some(1500),
        channels: ChannelNeed::Any,
        restarts: true,
        zero_copy: ZeroCopy::Unknown,
        zero_copy_locks: false,
        buffer_step: KIB,
        source: "igc_xdp_set_prog, igc_xdp.c; igc_configure_rx_ring, igc_main.c in drivers/net/ethernet/intel/igc",
    },
    DriverFacts {
        // Also needs combined channels, and a free transmit ring for each receive ring.
        driver: "bnxt_en",
        mtu: Some(3502),
        channels: ChannelNeed::Any,
        restarts: true,
        zero_copy: ZeroCopy::None,
        zero_copy_locks: false,
        buffer_step: 1,
        source: "BNXT_MAX_PAGE_MODE_MTU and bnxt_xdp_set, drivers/net/ethernet/broadcom/bnxt/bnxt.h and bnxt_xdp.c",
    },
    DriverFacts {
        // Copies each frame to a page of its own before the program sees it.
        driver: "hv_netvsc",
        mtu: Some(3506),
        channels: ChannelNeed::Any,
        restarts: false,
        zero_copy: ZeroCopy::None,
        zero_copy_locks: false,
        buffer_step: 1,
        source: "netvsc_xdp_set and netvsc_bpf, drivers/net/hyperv/netvsc_bpf.c",
    },
    DriverFacts {
        // Turns large receive offload off by itself.
        driver: "vmxnet3",
        mtu: Some(3494),
        channels: ChannelNeed::Any,
        restarts: true,
        zero_copy: ZeroCopy::None,
        zero_copy_locks: false,
        buffer_step: 1,
        source: "VMXNET3_XDP_MAX_MTU and vmxnet3_xdp_set, drivers/net/vmxnet3/vmxnet3_xdp.[ch]",
    },
    DriverFacts {
        // The peer's MTU counts, and this end needs as many receive queues as the peer has transmit queues.
        driver: "veth",
        mtu: Some(3506),
        channels: ChannelNeed::Any,
        restarts: false,
        zero_copy: ZeroCopy::None,
        zero_copy_locks: false,
        buffer_step: 1,
        source: "veth_xdp_set, drivers/net/veth.c",
    },
];

/// What is known about a driver.
pub(crate) fn facts_of(driver: &str) -> Option<&'static DriverFacts> {
    TABLE.iter().find(|facts| facts.driver == driver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_another_driver_and_names_its_source() {
        for (at, facts) in TABLE.iter().enumerate() {
            assert!(facts.source.len() > 20, "{}", facts.driver);
            assert!(
                TABLE[..at].iter().all(|one| one.driver != facts.driver),
                "{}",
                facts.driver
            );
        }
        assert_eq!(facts_of("e1000e"), None);
    }
}
