//! What workers and the control thread share with the XDP program: memory-mapped maps, and the clock of their timestamps.
//!
//! | file | idea |
//! |---|---|
//! | `flow_table` | the flow table: workers insert flows, the XDP program looks them up |
//! | `flow_sweep` | expires flows, in the control thread |
//! | `replay_cache` | which handshakes have had their connection |
//! | `atomics` | the flow table's atomics, whose order a test can choose |
//! | `heartbeats` | liveness of workers, read by the XDP program |
//! | `clock` | the wall clock of epochs, and the monotonic clock of timestamps in maps |
//! | `mapped_memory` | memory shared with the kernel as slices of atomics; holds unsafe code |
//! | `batched_lookup` | reads many elements of a per-CPU array at once; holds unsafe code |
//! | `pod` | layout types as keys and values of maps; holds unsafe code |

mod atomics;
mod batched_lookup;
mod clock;
mod flow_sweep;
mod flow_table;
mod heartbeats;
mod mapped_memory;
mod pod;
mod replay_cache;

pub(crate) use atomics::{AtomicU32 as FlowTableU32, AtomicU64 as FlowTableU64};
pub(crate) use batched_lookup::BatchedPerCpuArray;
pub use clock::{Times, coarse_now, fine_now, flow_now};
pub use flow_sweep::{Limits, Swept};
pub use flow_table::{Established, FlowTable, InsertError, OpeningEntry};
pub(crate) use flow_table::{buckets_for, entries_of};
pub use heartbeats::Heartbeats;
pub(crate) use mapped_memory::{Atomic, Memory};
pub(crate) use pod::{EndpointMap, Plain};
pub use replay_cache::ReplayCache;
pub(crate) use replay_cache::WORDS as REPLAY_CACHE_WORDS;
