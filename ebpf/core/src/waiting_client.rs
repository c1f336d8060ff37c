//! The clients that no worker could be given when their valid ACK came. Each waits, under its flow, for a worker or a process.

use crate::worker_request::META_WORDS;

/// What the ACK of a validated client said that waits.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WaitingClient {
    /// When the ACK came, coarse clock, ns.
    pub since: u64,
    /// The request to a worker ([`crate::worker_request::Meta`]).
    pub request: [u32; META_WORDS],
    /// SEG.SEQ.
    pub sequence: u32,
    /// SEG.ACK.
    pub acknowledgement: u32,
    /// TSval, if there are `timestamps`.
    pub tsval: u32,
    /// TSecr, if there are `timestamps`.
    pub tsecr: u32,
    /// SEG.WND, unscaled.
    pub window: u16,
    /// TTL or hop limit of the packet.
    pub ttl: u8,
    /// 1: the segment has timestamps.
    pub timestamps: u8,
    /// Padding, zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<WaitingClient>() == 64);

/// The most clients that wait ([`WaitingClient`]).
pub const MAX_WAITING: u32 = 4096;
/// Counters of waiting clients by their prefix, for each [`WaitingFor`]. A power of two.
pub const WAITING_PREFIXES: u32 = 1024;

/// What a client waits for. Both are counted apart, so that those who wait for their share leave room for a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitingFor {
    /// A worker, or the next process: none serves the queue.
    Worker,
    /// The client's share of the worker, for a tenth of a second.
    Share,
}

impl WaitingFor {
    /// The number of the period of a time (ns) in which clients are counted. It is longer than they wait: 68.7 s or 0.27 s.
    #[inline(always)]
    pub const fn period(self, now: u64) -> u32 {
        match self {
            Self::Worker => (now >> 36) as u32,
            Self::Share => (now >> 28) as u32,
        }
    }

    /// The most clients that one prefix adds in a period.
    #[inline(always)]
    pub const fn most(self) -> u32 {
        match self {
            Self::Worker => MAX_WAITING / 2,
            // A killed worker counts as alive for a second, in five periods at most. Those who wait for it then, and all who wait for
            // the next process, still leave a fifth of the room to other prefixes.
            Self::Share => MAX_WAITING / 16,
        }
    }

    /// The counter of a prefix with this hash.
    #[inline(always)]
    pub const fn counter(self, hash: u32) -> u32 {
        let place = hash & (WAITING_PREFIXES - 1);
        match self {
            Self::Worker => place,
            Self::Share => WAITING_PREFIXES + place,
        }
    }
}
