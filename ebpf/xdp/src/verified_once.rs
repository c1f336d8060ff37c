//! Functions that the verifier checks once, for all arguments that their types allow, instead of once for every path that leads
//! to them. The kernel calls them global functions (kernel/bpf/verifier.c, `subprog_is_global`): their names are exported, and
//! their arguments are numbers, or pointers to memory of a size that BTF tells. Such a pointer may be null.
//!
//! Here are the ones with loops that many paths reach: without this, the verifier would follow four times as many instructions
//! in all. They run as any other function does, after a test for null. [`export_verified_once`](crate::export_verified_once)
//! defines them in the object of `steer`, [`export_options_walk`](crate::export_options_walk) the one that others use: an
//! exported function stays in every object that is linked with it.

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

/// Defines the function that walks over TCP options. A null pointer, which nobody passes, does nothing.
#[macro_export]
macro_rules! export_options_walk {
    () => {
        #[allow(
            improper_ctypes_definitions,
            reason = "one compiler lays out both sides"
        )]
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn walk_tcp_options(
            options: *mut synward_core::wire::tcp_options::Options,
            length: u32,
        ) -> u32 {
            // SAFETY: null, or memory of that size, which the verifier checks at each call.
            let Some(options) = (unsafe { options.as_mut() }) else {
                return 0;
            };
            options.walk(length as usize);
            1
        }
    };
}

/// Defines all of the functions.
#[macro_export]
macro_rules! export_verified_once {
    () => {
        $crate::export_options_walk!();

        #[allow(
            improper_ctypes_definitions,
            reason = "one compiler lays out both sides"
        )]
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn check_ack_cookie(
            ack: *const synward_core::cookie::AckFields,
            key: *const synward_core::cookie::Key,
            flow: *const synward_core::flow::FlowKey,
            found: *mut synward_core::client_options::ClientOptions,
        ) -> u32 {
            // SAFETY: as in `walk_tcp_options`.
            let all = unsafe { (ack.as_ref(), key.as_ref(), flow.as_ref(), found.as_mut()) };
            let (Some(ack), Some(key), Some(flow), Some(found)) = all else {
                return 0;
            };
            match ack.check(key, flow) {
                Some(options) => {
                    *found = options;
                    1
                }
                None => 0,
            }
        }

        #[allow(
            improper_ctypes_definitions,
            reason = "one compiler lays out both sides"
        )]
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn note_answer_of_edge(
            flow: *const synward_core::flow::FlowKey,
            client_isn: u32,
            current: u64,
        ) -> u32 {
            // SAFETY: as in `walk_tcp_options`.
            let flow = unsafe { flow.as_ref() };
            flow.is_some_and(|flow| {
                $crate::replay_check::note_edge_answer(flow, client_isn, current)
            }) as u32
        }
    };
}
