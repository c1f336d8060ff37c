//! Functions that the verifier checks once, for all arguments that their types allow, instead of once for every path that leads
//! to them. The kernel calls them global functions (kernel/bpf/verifier.c, `subprog_is_global`): their names are exported, and
//! their arguments are numbers, or pointers to memory of a size that BTF tells. Such a pointer may be null.
//!
//! Here are the ones with loops that many paths reach: without this, the verifier would follow four times as many instructions
//! in all. They run as any other function does, after a test for null. [`verified_functions`](crate::verified_functions)
//! defines them.

use synward_core::client_options::ClientOptions;
use synward_core::cookie::{AckFields, Key};
use synward_core::flow::FlowKey;
use synward_core::wire::tcp_options::Options;

#[allow(improper_ctypes, reason = "one compiler lays out both sides")]
unsafe extern "C" {
    fn walk_tcp_options(options: *mut Options, length: u32) -> u32;
    fn check_ack_cookie(
        ack: *const AckFields,
        key: *const Key,
        flow: *const FlowKey,
        found: *mut ClientOptions,
    ) -> u32;
    fn note_answer_of_edge(flow: *const FlowKey, client_isn: u32, current: u64) -> u32;
}

/// Walks the first `length` bytes of `options`.
#[inline(always)]
pub fn walk_options(options: &mut Options, length: usize) {
    // SAFETY: the pointers of this and the functions below come from references.
    unsafe { walk_tcp_options(options, length as u32) };
}

/// Checks a cookie under one key. Leaves the client's options of a valid one in `found`.
#[inline(always)]
pub fn check_cookie(ack: &AckFields, key: &Key, flow: &FlowKey, found: &mut ClientOptions) -> bool {
    // SAFETY: as above.
    unsafe { check_ack_cookie(ack, key, flow, found) != 0 }
}

/// [`note_edge_answer`](crate::replay_check::note_edge_answer).
#[inline(always)]
pub fn note_edge_answer(flow: &FlowKey, client_isn: u32, current: u64) -> bool {
    // SAFETY: as above.
    unsafe { note_answer_of_edge(flow, client_isn, current) != 0 }
}
