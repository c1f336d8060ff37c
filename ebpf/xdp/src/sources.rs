//! Samples where the SYNs of an attack come from (`synward_core::source_sample`). Without an attack nothing is counted.

use crate::maps;
use crate::packet_context::PacketContext;
use crate::reply_budget;
use synward_core::reply_budget::Receiver;
use synward_core::source_sample::Bucket;

/// Counts the current SYN, and samples its source once a jiffy.
#[inline(always)]
pub fn sample_some(pkt: &mut PacketContext) {
    let syns = pkt.cpu.memory.count_for_sample();
    if syns != 0 {
        sample(reply_budget::receiver(pkt), syns);
    }
}

/// Counts the source of a SYN that stands for `syns`.
#[inline(never)]
pub fn sample(source: Receiver, syns: u32) -> u32 {
    let Some(globals) = maps::GLOBALS.get(0) else {
        return 0;
    };
    let source = source.of_site();
    if let Some(bucket) = maps::SOURCES.get_ptr_mut(Bucket::index(&source, &globals.replay_key)) {
        // SAFETY: per-CPU and never freed; this program runs to its end on this CPU before another run of it starts here.
        unsafe { &mut *bucket }.add(&source, syns);
    }
    0
}
