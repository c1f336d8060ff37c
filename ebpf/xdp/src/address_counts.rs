//! Counts what comes for one address of a service, where the control thread watches addresses (`layout::Service::watched`).
//!
//! The fast path counts in the prepared answer, which it touches anyway, and adds that here once a jiffy.

use crate::maps;
use crate::packet_context::PacketContext;
use crate::prepared::Prepared;
use synward_core::address_counts::{AddressCounts, Counted};

/// A count of the fast path that is older than this many jiffies belongs to no current rate: it is left out.
const RECENT: u64 = 64;

/// Counts for the address of a packet.
#[inline(always)]
pub fn count(pkt: &PacketContext, counted: Counted) {
    if pkt.service.watched != 0 {
        add(pkt.cpu.memory.endpoint.policy, counted as u32, 1);
    }
}

/// Adds the SYNs that the fast path has answered from what was prepared in the jiffy `before`.
#[inline(always)]
pub fn add_prepared(prepared: &mut Prepared, before: u64) {
    let syns = core::mem::take(&mut prepared.counted);
    let age = prepared.validity.jiffy.wrapping_sub(before);
    if prepared.watched != 0 && syns != 0 && age <= RECENT {
        add(prepared.policy, Counted::Syn as u32, syns);
    }
}

#[inline(never)]
fn add(policy: u32, counted: u32, many: u32) -> u32 {
    if let Some(counts) = maps::ADDRESS_COUNTS.get_ptr_mut(AddressCounts::index(policy)) {
        // SAFETY: per-CPU and never freed; this program runs to its end on this CPU before another run of it starts here.
        unsafe { &mut *counts }.add(counted, many.into());
    }
    0
}
