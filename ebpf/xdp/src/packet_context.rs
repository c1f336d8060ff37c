//! What the stages behind the look-up of the service share about one packet.

use crate::cpu_scratch::CpuScratch;
use synward_core::layout::{Interface, Service};

/// One packet for a service, or from one.
pub struct PacketContext<'a> {
    /// The packet, what was found out about it, and what this CPU remembers.
    pub cpu: &'a mut CpuScratch,
    pub interface: &'a Interface,
    pub service: &'a Service,
    /// Coarse clock, ns.
    pub now: u64,
}
