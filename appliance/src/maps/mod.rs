//! What workers and the control thread share with the XDP program: maps in memory, and the clock that dates what is in
//! them.
//!
//! | file | idea |
//! |---|---|
//! | `flow_table` | the flow table: found and marked by the XDP program, filled by workers |
//! | `flow_sweep` | its expiry, by the control thread |
//! | `heartbeats` | how the XDP program knows that a worker lives |
//! | `clock` | the two clocks: epochs, and the age of what maps hold |
//! | `mapped_memory` | unsafe: BPF arrays as slices of atomics |
//! | `pod` | unsafe: the layout's types as keys and values of maps |

mod clock;
mod flow_sweep;
mod flow_table;
mod heartbeats;
mod mapped_memory;
mod pod;

pub use clock::{Times, coarse_now, fine_now, flow_now};
pub use flow_sweep::{Limits, Swept};
pub use flow_table::{Established, FlowTable, InsertError};
pub(crate) use flow_table::{buckets_for, entries_of};
pub use heartbeats::Heartbeats;
pub(crate) use mapped_memory::{Atomic, Memory};
pub(crate) use pod::{EndpointMap, Plain};
