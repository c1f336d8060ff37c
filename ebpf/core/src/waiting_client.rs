//! The clients whose queue had no worker when their valid ACK came. Each waits, under its flow, for a process.

use crate::worker_request::META_WORDS;

/// What the ACK of a validated client said whose queue had no worker. It waits for a process under its flow.
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

/// The most clients that wait for a process ([`WaitingClient`]).
pub const MAX_WAITING: u32 = 4096;
/// The most of them that one client prefix adds in a period of [`waiting_period`].
pub const WAITING_PER_PREFIX: u32 = MAX_WAITING / 2;
/// Counters of waiting clients by their prefix. A power of two.
pub const WAITING_PREFIXES: u32 = 1024;

/// The period of a time (ns) in which waiting clients are counted: 68.7 s, longer than a client waits.
#[inline(always)]
pub const fn waiting_period(now: u64) -> u32 {
    (now >> 36) as u32
}
