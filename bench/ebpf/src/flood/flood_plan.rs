//! What to send: read-only globals that `bench flood` sets before it loads the program. The verifier knows
//! their values, so that branches on them cost nothing.

use aya_ebpf::Global;

/// `KIND`: only SYNs.
pub(crate) const SYN: u32 = 0;
/// `KIND`: only ACKs. Any other value: SYNs and ACKs mixed.
pub(crate) const ACK: u32 = 1;
/// `KIND`: `SYN_SEGMENT` as it is, checksums and all, again and again.
pub(crate) const EXACT: u32 = 3;

/// Words of eight bytes in the longest frame: IPv6 with 24 bytes of TCP options, 98 bytes.
pub(crate) const WORDS: usize = 13;

/// A segment whose varying fields (source, source port, sequence numbers, timestamps, checksums) are zero.
#[repr(C)]
pub(crate) struct Segment {
    /// The frame's bytes, eight to a word in memory order.
    pub words: [Global<u64>; WORDS],
    /// Bytes in the frame, even.
    pub length: Global<u32>,
    /// Where the timestamp option's TSval starts in the frame, even; 0 = no such option.
    pub tsval: Global<u32>,
    /// Sum of the IPv4 header's 16-bit words as they are in memory.
    pub ip_sum: Global<u32>,
    /// The same of pseudo-header and TCP header.
    pub tcp_sum: Global<u32>,
}

impl Segment {
    const fn empty() -> Self {
        Self {
            words: [const { Global::new(0) }; WORDS],
            length: Global::new(60),
            tsval: Global::new(0),
            ip_sum: Global::new(0),
            tcp_sum: Global::new(0),
        }
    }
}

#[unsafe(no_mangle)]
pub(crate) static SYN_SEGMENT: Segment = Segment::empty();
#[unsafe(no_mangle)]
pub(crate) static ACK_SEGMENT: Segment = Segment::empty();

/// Bytes of the frames that the test run hands to the program.
#[unsafe(no_mangle)]
pub(crate) static FRAME_LENGTH: Global<u32> = Global::new(60);
#[unsafe(no_mangle)]
pub(crate) static KIND: Global<u32> = Global::new(SYN);
/// 4 or 6.
#[unsafe(no_mangle)]
pub(crate) static FAMILY: Global<u32> = Global::new(4);
/// Index of the interface to send on.
#[unsafe(no_mangle)]
pub(crate) static INTERFACE: Global<u32> = Global::new(0);
/// Segments after which nothing more is sent.
#[unsafe(no_mangle)]
pub(crate) static LIMIT: Global<u64> = Global::new(0);
/// Time between two segments in 1/1024 ns; 0 = as fast as it goes.
#[unsafe(no_mangle)]
pub(crate) static INTERVAL: Global<u64> = Global::new(0);

/// The prefix that sources are taken from, 16 bits to a word in memory order; IPv4 has two words.
#[unsafe(no_mangle)]
pub(crate) static SOURCE: [Global<u16>; 8] = [const { Global::new(0) }; 8];
/// One bits where a source's bits are random.
#[unsafe(no_mangle)]
pub(crate) static SOURCE_RANDOM: [Global<u16>; 8] = [const { Global::new(0) }; 8];
