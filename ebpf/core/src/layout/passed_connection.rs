//! Connections that pass unchanged, and segments of unknown ones that are left to the server.

use crate::flow_time::FlowTime;

/// A connection that passes through untranslated: adopted at start, or opened by the server.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// When it last carried a segment.
    pub last_seen: FlowTime,
    /// Bits of [`flow_flags`](super::flow_flags), as in [`Flow::flags`](super::Flow::flags).
    pub flags: u32,
}

/// The most segments of unknown connections from one prefix that are left to a server in a unit of [`FlowTime`].
pub const JUDGED_PER_PREFIX: u32 = 4;
/// Counters of judged segments. A power of two.
pub const JUDGED_PREFIXES: u32 = 1024;
