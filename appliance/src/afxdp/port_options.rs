//! The options of a port.

/// Bytes that the kernel reserves in front of every received packet (`XDP_PACKET_HEADROOM`,
/// include/uapi/linux/bpf.h). The XDP program's metadata is stored in it, next to the packet, so a UMEM
/// needs no additional headroom.
pub(super) const XDP_HEADROOM: u32 = 256;

/// Maximum number of frames per ring call, and per call of [`Port::receive`](super::Port::receive).
pub const BATCH: usize = 64;

/// Options of one [`Port`](super::Port).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortOptions {
    /// Frames in the UMEM. At least twice [`ring`](Self::ring), so that frames for transmission remain when
    /// the receive side is full.
    pub frames: u32,
    /// Size of one frame in memory.
    pub chunk: Chunk,
    /// Descriptors in each of the four rings (fill, completion, RX, TX); a power of two.
    pub ring: u32,
    /// Whether the driver may, must or must not receive directly into the UMEM.
    pub zero_copy: ZeroCopy,
    /// Let this thread drive the NIC's NAPI (`SO_PREFER_BUSY_POLL`, Linux ≥ 5.11) instead of
    /// softirqs. Takes effect together with the interface's `napi_defer_hard_irqs` and
    /// `gro_flush_timeout`; needs CAP_NET_ADMIN. [`Port::busy_poll`](super::Port::busy_poll) returns
    /// whether the kernel accepted it.
    pub busy_poll: bool,
    /// Back the UMEM with huge pages (`vm.nr_hugepages`). Its size must then be a multiple of
    /// 2 MiB.
    pub huge_pages: bool,
    /// Whether the socket may send. False: the driver keeps the transmit queue for others.
    pub transmits: bool,
}

impl Default for PortOptions {
    /// 8192 frames of 2048 bytes (16 MiB), rings of 2048.
    fn default() -> Self {
        PortOptions {
            frames: 8192,
            chunk: Chunk::Bytes2048,
            ring: 2048,
            zero_copy: ZeroCopy::Auto,
            busy_poll: false,
            huge_pages: false,
            transmits: true,
        }
    }
}

impl PortOptions {
    /// The options for frames of another size, with the memory of the default: half as many frames of twice the size.
    pub fn with_chunk(chunk: Chunk) -> Self {
        let default = PortOptions::default();
        let times = chunk.bytes() / default.chunk.bytes();
        PortOptions {
            frames: default.frames / times,
            ring: default.ring / times,
            chunk,
            ..default
        }
    }

    /// Bytes of the whole UMEM.
    pub fn umem_bytes(&self) -> u64 {
        u64::from(self.frames) * u64::from(self.chunk.bytes())
    }

    /// The first invalid option, with its valid range.
    pub(super) fn problem(&self) -> Option<&'static str> {
        const HUGE_PAGE: u64 = 2 << 20;
        if !self.ring.is_power_of_two() || self.ring < 64 || self.ring > 1 << 15 {
            return Some("`ring` must be a power of two from 64 to 32768");
        }
        if self.frames < 2 * self.ring || self.frames > 1 << 20 {
            return Some("`frames` must be at least twice `ring`, and at most 1048576");
        }
        if self.huge_pages && !self.umem_bytes().is_multiple_of(HUGE_PAGE) {
            return Some(
                "with `huge_pages`, `frames` times the chunk size must be a multiple of 2 MiB",
            );
        }
        None
    }
}

/// Size of one frame in memory, including 256 bytes of headroom. Power of two: the kernel's aligned
/// chunk mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunk {
    /// Packets of up to 1792 bytes: Ethernet with an MTU of 1500 and several tags.
    Bytes2048,
    /// Packets of up to 3840 bytes.
    Bytes4096,
}

impl Chunk {
    /// The size in bytes.
    pub const fn bytes(self) -> u32 {
        1 << self.shift()
    }

    /// Length of the longest packet that such a frame can receive, in bytes, including the Ethernet header.
    pub const fn packet_room(self) -> u32 {
        self.bytes() - XDP_HEADROOM
    }

    pub(super) const fn shift(self) -> u32 {
        match self {
            Chunk::Bytes2048 => 11,
            Chunk::Bytes4096 => 12,
        }
    }
}

/// Zero-copy: the NIC reads and writes the UMEM directly. It needs driver support; copy mode works with every
/// driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ZeroCopy {
    /// Use it if the driver supports it, copy mode otherwise.
    #[default]
    Auto,
    /// Require it.
    On,
    /// Always use copy mode.
    Off,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(PortOptions::default().problem(), None);
        assert_eq!(PortOptions::default().umem_bytes(), 16 << 20);
    }

    #[test]
    fn larger_frames_need_no_more_memory() {
        let larger = PortOptions::with_chunk(Chunk::Bytes4096);
        assert_eq!(larger.problem(), None);
        assert_eq!(larger.umem_bytes(), PortOptions::default().umem_bytes());
        assert_eq!(
            PortOptions::with_chunk(Chunk::Bytes2048),
            PortOptions::default()
        );
    }

    #[test]
    fn options_that_the_kernel_would_reject_are_reported() {
        let ring = PortOptions {
            ring: 1000,
            ..PortOptions::default()
        };
        assert!(
            ring.problem()
                .is_some_and(|problem| problem.contains("power of two"))
        );
        let frames = PortOptions {
            frames: 2048,
            ..PortOptions::default()
        };
        assert!(
            frames
                .problem()
                .is_some_and(|problem| problem.contains("twice"))
        );
        let pages = PortOptions {
            frames: 5000,
            huge_pages: true,
            ..PortOptions::default()
        };
        assert!(
            pages
                .problem()
                .is_some_and(|problem| problem.contains("2 MiB"))
        );
    }

    #[test]
    fn a_tagged_frame_of_1500_bytes_fits_the_small_chunk() {
        const { assert!(Chunk::Bytes2048.packet_room() >= 14 + 3 * 4 + 1500) }
    }
}
