//! What a CPU remembers from one frame to the next: the time, the last endpoint, and the flood it is in.

use aya_ebpf::helpers::{bpf_jiffies64, bpf_ktime_get_coarse_ns};
use synward_core::layout::{Endpoint, EndpointKey};
use synward_core::reply_budget;

/// SYNs that each CPU looks up among the kernel's connections and in the replay cache in every jiffy (1 to 10 ms). More are
/// a flood.
pub const SYNS_LOOKED_UP: u32 = 64;
/// Flows of validated clients that each CPU remembers, a power of two.
const PROVEN: usize = 64;
/// A unit of their times is 2²⁰ ns, about 1 ms.
const PROVEN_UNIT: u32 = 20;
/// Units for which they are remembered: as long as a busy worker takes to put them into the flow table, and the kernel to make a
/// connection.
const PROVEN_RECENT: u32 = 256;
/// Signed SYNs, which only the listener can answer, that each CPU leaves to the kernel in every jiffy.
const SIGNED_LEFT: u32 = 4;
/// SYNs with a small MSS that each CPU leaves to the kernel in a unit of 2³⁰ ns.
const SMALL_LEFT: u32 = 256;

/// Places in which segments to workers are counted, by connection and by client: a power of two.
const TO_WORKER: usize = 1024;
/// The time in which they are counted is 2²² ns, about 4 ms.
const TO_WORKER_UNIT: u32 = 22;
/// Segments of a connection that each CPU hands to workers in that time: more than a client sends before its server has answered.
const OF_CONNECTION: u32 = 64;
/// Segments of a client: an eighth of a worker's ring, which all clients share, and half of what a worker takes from it meanwhile.
const OF_CLIENT: u32 = 256;

/// What is remembered on one CPU.
#[repr(C)]
pub struct CpuMemory {
    /// The jiffy in which the time was read last.
    jiffy: u64,
    /// The coarse clock then, ns.
    now: u64,
    /// SYNs in this jiffy so far.
    syns: u32,
    /// Signed SYNs in this jiffy so far.
    signed: u32,
    /// Replies to clients in this jiffy so far.
    replies: u32,
    /// ACKs of validated clients that were handed to workers.
    handed_over: u32,
    /// SYNs of attacks since the last one whose source was sampled.
    unsampled: u32,
    /// The jiffy of that.
    sampled_jiffy: u64,
    /// Until when some client prefix counts as near its budget of replies, ns.
    near_budget_until: u64,
    /// What an average prefix was sent lately.
    pub background: reply_budget::Background,
    /// The slot of the interface on which a listener with room was found for the endpoint, and the jiffy of that.
    listener_slot: u32,
    listener_jiffy: u64,
    /// The endpoint that was looked up last: the current frame is for it or from it.
    pub endpoint: Endpoint,
    /// The address and port of that endpoint.
    endpoint_at: EndpointKey,
    /// `Globals::generation` when it was looked up.
    pub endpoint_generation: u32,
    /// The handshakes of clients that were validated last: a fingerprint in the upper half, the time in the lower.
    proven: [u64; PROVEN],
    /// SYNs with a small MSS in a unit of 2³⁰ ns so far, and the number of the unit.
    small: u32,
    small_unit: u32,
    /// Segments to workers of connections, and of clients.
    of_connections: [Handed; TO_WORKER],
    of_clients: [Handed; TO_WORKER],
}

/// How many segments were handed to workers in a unit of time: its number in the upper 22 bits, theirs in the lower 10.
#[repr(transparent)]
struct Handed(u32);

impl Handed {
    /// Counts one more, unless there were `most` in this unit.
    #[inline(always)]
    fn take(&mut self, unit: u32, most: u32) -> bool {
        let unit = unit << 10;
        if self.0 & !1023 != unit {
            self.0 = unit;
        }
        let may = self.0 & 1023 < most;
        self.0 += may as u32;
        may
    }
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
            (self.syns, self.signed, self.replies) = (0, 0, 0);
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

    /// Counts a SYN of an attack. Once a jiffy it says for how many the SYN stands: those since the last such.
    #[inline(always)]
    pub fn count_for_sample(&mut self) -> u32 {
        self.now();
        self.unsampled += 1;
        if self.sampled_jiffy == self.jiffy {
            return 0;
        }
        self.sampled_jiffy = self.jiffy;
        core::mem::take(&mut self.unsampled)
    }

    /// Counts a signed SYN, and says whether it may be left to the kernel.
    #[inline(always)]
    pub fn may_leave_signed(&mut self) -> bool {
        self.now();
        self.signed += 1;
        self.signed <= SIGNED_LEFT
    }

    /// Counts a SYN with a small MSS, and says whether it may be left to the kernel.
    #[inline(always)]
    pub fn may_leave_small(&mut self) -> bool {
        let unit = (self.now() >> 30) as u32;
        if self.small_unit != unit {
            (self.small_unit, self.small) = (unit, 0);
        }
        self.small += 1;
        self.small <= SMALL_LEFT
    }

    /// Counts a reply; for how many it stands in the counts of its prefix, see [`reply_budget::weight`].
    #[inline(always)]
    pub fn count_reply(&mut self) -> u32 {
        self.now();
        self.replies += 1;
        reply_budget::weight(self.replies, self.is_near_budget())
    }

    /// Counts an ACK that was handed to a worker, and says how many there were before.
    #[inline(always)]
    pub fn count_handed_over(&mut self) -> u32 {
        let before = self.handed_over;
        self.handed_over = before.wrapping_add(1);
        before
    }

    /// Counts a segment to a worker, and says whether it may have it. The hashes are keyed: nobody knows with whom they share a
    /// place.
    #[inline(always)]
    pub fn may_go_to_worker(&mut self, connection: u32, client: u32) -> bool {
        let now = (self.now() >> TO_WORKER_UNIT) as u32;
        let of_connection = &mut self.of_connections[connection as usize & (TO_WORKER - 1)];
        let of_client = &mut self.of_clients[client as usize & (TO_WORKER - 1)];
        of_connection.take(now, OF_CONNECTION) && of_client.take(now, OF_CLIENT)
    }

    /// Remembers that a client was validated now, at `now` ns, by the ACK with this fingerprint.
    #[inline(always)]
    pub fn remember_proven(&mut self, client_port: u16, fingerprint: u32, now: u64) {
        let word = (fingerprint as u64) << 32 | (now >> PROVEN_UNIT) as u32 as u64;
        self.proven[client_port as usize & (PROVEN - 1)] = word;
    }

    /// Whether a client was validated a moment ago by the ACK with this fingerprint, which is asked for only if some client was.
    #[inline(always)]
    pub fn was_proven(
        &self,
        client_port: u16,
        now: u64,
        fingerprint: impl FnOnce() -> u32,
    ) -> bool {
        let word = self.proven[client_port as usize & (PROVEN - 1)];
        let age = ((now >> PROVEN_UNIT) as u32).wrapping_sub(word as u32);
        age < PROVEN_RECENT && word != 0 && fingerprint() == (word >> 32) as u32
    }

    /// Whether some client prefix was near its budget of replies lately.
    #[inline(always)]
    pub fn is_near_budget(&self) -> bool {
        self.now < self.near_budget_until
    }

    /// Says until when every reply is counted, ns.
    #[inline(always)]
    pub fn set_near_budget(&mut self, until: u64) {
        self.near_budget_until = until;
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
        self.endpoint_at.port = u32::MAX;
    }
}
