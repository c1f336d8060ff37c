//! The part of an answer that is the same for all SYNs to one endpoint in one jiffy (1 to 10 ms).
//!
//! [`prepare`](crate::prepare) makes it once a jiffy, so that another epoch or key takes effect at most a jiffy late, and at
//! once when an endpoint or a service changes. A flood that alternates between endpoints nearly always finds each of them
//! prepared.

use crate::cpu_memory::SYNS_LOOKED_UP;
use synward_core::cookie::Key;
use synward_core::counters::{Counter, ServiceCounters};
use synward_core::flow::{FlowKey, Place, ServerHash};
use synward_core::layout::Profile;
use synward_core::source_filter::SourceFilter;

/// Endpoints that can be prepared at a time. A power of two.
pub const SLOTS: u32 = 16;

/// Whose SYNs an answer is prepared for, and until when.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The kernel's jiffy.
    pub jiffy: u64,
    /// The interface's index and the queue.
    pub from: [u32; 2],
    /// The server's address, as it stands in the packet, and its port.
    pub to: [u32; 2],
    /// `Globals::generation`.
    pub generation: u64,
}

/// The answer to SYNs over IPv4 that arrive on one queue, for one endpoint, in one jiffy.
#[repr(C)]
pub struct Prepared {
    pub validity: Validity,
    /// Whether the fast path answers them, see [`usable`].
    pub usable: u8,
    /// `layout::handoff` of the service.
    pub handoff: u8,
    /// 1: the queue's worker answers.
    pub by_worker: u8,
    /// 1: a listener of this machine with room was found in this jiffy.
    pub listens: u8,
    /// Replies in this jiffy so far.
    pub replies: u32,
    /// 1: some client prefix is near its budget of replies.
    pub near_budget: u32,
    /// The sources that are addresses of this machine or of its networks, and the server's own (`impossible_source`).
    pub impossible: SourceFilter,
    /// For how many SYNs the first of this jiffy stands where sources are sampled. 0: they are not.
    pub sampled: u32,
    /// The server's part of the hash that places a flow in the table, and the table's buckets less one.
    pub hash: ServerHash,
    pub bucket_mask: u32,
    /// What the server does.
    pub profile: Profile,
    /// What the cookie is made with.
    pub key: Key,
    pub epoch: u64,
    /// Index of the service.
    pub service: u32,
    /// Index of the policy. 1: the address is watched separately.
    pub policy: u32,
    pub watched: u32,
    /// SYNs that the fast path has answered since they were last added to those of the address.
    pub counted: u32,
    /// The slot of the interface.
    pub slot: u32,
    /// Coarse clock, ns.
    pub now: u64,
    /// SYNs in this jiffy so far.
    pub syns: u64,
}

/// Values of [`Prepared::usable`].
pub mod usable {
    /// The general path answers.
    pub const NO: u8 = 0;
    /// The fast path answers.
    pub const YES: u8 = 1;
    /// The same for sources that are on no list of the service.
    pub const UNLISTED: u8 = 2;
}

impl Prepared {
    /// Counts a SYN that the general path does not get.
    #[inline(always)]
    pub fn count_syn(&mut self, counters: &mut ServiceCounters) {
        counters.bump(Counter::Syn);
        self.counted += 1;
    }

    /// Counts a SYN, and says whether this jiffy has had more than are looked up.
    #[inline(always)]
    pub fn is_flood(&mut self) -> bool {
        self.syns += 1;
        self.syns > SYNS_LOOKED_UP as u64
    }

    /// The bucket of a flow to the server.
    #[inline(always)]
    pub fn bucket(&self, flow: &FlowKey) -> u32 {
        Place::of(self.hash.flow_hash(flow), self.bucket_mask).bucket
    }
}
