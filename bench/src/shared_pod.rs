//! Types of synward-core and of bench/ebpf as aya's maps take them.

use aya::Pod;
use synward_bench_ebpf::flow_draw::Plan;
use synward_core::flow::FlowKey;
use synward_core::layout::{Endpoint, EndpointKey, Globals};

/// A shared type with the same layout.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Shared<T>(pub(crate) T);

// SAFETY: words and arrays of words without padding (nine words).
unsafe impl Pod for Shared<FlowKey> {}
// SAFETY: two words of eight bytes and four of four, without padding.
unsafe impl Pod for Shared<Plan> {}
// SAFETY: two words of 64 bits and four of 32, without padding.
unsafe impl Pod for Shared<Globals> {}
// SAFETY: five words without padding.
unsafe impl Pod for Shared<EndpointKey> {}
// SAFETY: two words and two profiles, which are integers with explicit padding, of eight bytes each.
unsafe impl Pod for Shared<Endpoint> {}
