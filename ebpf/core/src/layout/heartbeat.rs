//! How long a worker may be silent.

/// Nanoseconds without a heartbeat after which a worker counts as dead.
pub const HEARTBEAT_TIMEOUT: u64 = 1_000_000_000;

/// Nanoseconds without a heartbeat after which nobody is expected to serve a queue any more
/// ([`when_absent`](super::when_absent)).
pub const ABSENT_AFTER: u64 = 4 * HEARTBEAT_TIMEOUT;
