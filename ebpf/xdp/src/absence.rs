//! Queues without a worker for so long that nobody may ever open the connections of their clients.
//!
//! A client that is answered is connected, and then receives nothing. Without an answer it tries again, elsewhere if it
//! can, and health checks see it.

use crate::packet_context::PacketContext;
use crate::worker;
use aya_ebpf::programs::XdpContext;
use synward_core::layout::{Service, when_absent};

/// Whether segments without a flow pass to the kernel for want of a worker.
#[inline(always)]
pub fn passes(ctx: &XdpContext, pkt: &PacketContext) -> bool {
    pkt.service.when_absent == when_absent::PASS && worker::is_absent(ctx.rx_queue_index(), pkt.now)
}

/// Whether SYNs are dropped for want of a worker.
#[inline(always)]
pub fn drops_syns(ctx: &XdpContext, pkt: &PacketContext) -> bool {
    pkt.service.when_absent == when_absent::DROP && worker::is_absent(ctx.rx_queue_index(), pkt.now)
}

/// Whether the fast path must not answer SYNs of a queue.
#[inline(always)]
pub fn is_noticed(ctx: &XdpContext, service: &Service, now: u64) -> bool {
    service.when_absent != when_absent::ANSWER && worker::is_absent(ctx.rx_queue_index(), now)
}
