//! What a CPU remembers from one frame to the next: the time, the last endpoint, and the flood it is in.

use aya_ebpf::helpers::{bpf_jiffies64, bpf_ktime_get_coarse_ns};
use synward_core::layout::{Endpoint, EndpointKey};

/// SYNs that each CPU looks up among the kernel's connections and in the replay cache in every jiffy (1 to 10 ms). More are
/// a flood.
pub const SYNS_LOOKED_UP: u32 = 64;

/// What is remembered on one CPU.
#[repr(C)]
pub struct CpuMemory {
    /// The jiffy in which the time was read last.
    jiffy: u64,
    /// The coarse clock then, ns.
    now: u64,
    /// SYNs in this jiffy so far.
    syns: u32,
    /// The slot of the interface on which a listener with room was found for the endpoint, and the jiffy of that.
    listener_slot: u32,
    listener_jiffy: u64,
    /// The endpoint that was looked up last: the current frame is for it or from it.
    pub endpoint: Endpoint,
    /// The address and port of that endpoint.
    endpoint_at: EndpointKey,
    /// `Globals::generation` when it was looked up; 0: `endpoint` is not what was found.
    endpoint_generation: u32,
}

impl CpuMemory {
    /// Now on the coarse clock, ns, or up to a jiffy earlier. The coarse clock moves with the kernel's jiffies. The
    /// verifier inlines the load of their number, while calling a helper stalls the CPU's pipeline.
    #[inline(always)]
    pub fn now(&mut self) -> u64 {
        // SAFETY: both helpers take nothing and read a clock.
        let jiffy = unsafe { bpf_jiffies64() };
        if self.jiffy != jiffy {
            self.jiffy = jiffy;
            self.syns = 0;
            // SAFETY: as above.
            self.now = unsafe { bpf_ktime_get_coarse_ns() };
        }
        self.now
    }

    /// Counts a SYN, and says whether this jiffy has had more than are looked up.
    #[inline(always)]
    pub fn count_syn(&mut self) -> bool {
        self.now();
        self.syns += 1;
        self.syns > SYNS_LOOKED_UP
    }

    /// Whether a listener with room was found for the endpoint in this jiffy, on the interface in `slot`.
    #[inline(always)]
    pub fn has_listener(&self, slot: u32) -> bool {
        self.listener_jiffy == self.jiffy && self.listener_slot == slot
    }

    /// Remembers for this jiffy that a listener with room was found for the endpoint.
    #[inline(always)]
    pub fn remember_listener(&mut self, slot: u32) {
        (self.listener_jiffy, self.listener_slot) = (self.jiffy, slot);
    }

    /// Whether `endpoint` is the one at `at`, and has not changed since it was looked up.
    #[inline(always)]
    pub fn has_endpoint(&self, at: &EndpointKey, generation: u32) -> bool {
        self.endpoint_at == *at && self.endpoint_generation == generation && generation != 0
    }

    /// Says what `endpoint` is now: the one at `at`.
    #[inline(always)]
    pub fn remember_endpoint(&mut self, at: EndpointKey, generation: u32) {
        (self.endpoint_at, self.endpoint_generation) = (at, generation);
        self.listener_jiffy = 0;
    }

    /// Says that `endpoint` was changed for the current frame alone.
    #[inline(always)]
    pub fn forget_endpoint(&mut self) {
        self.endpoint_generation = 0;
    }
}
