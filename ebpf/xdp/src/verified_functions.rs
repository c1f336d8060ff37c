//! Defines the functions of [`verified_once`](crate::verified_once) in the object of a program: [`export_verified_once!`] all of
//! them, for `steer`, [`export_options_walk!`] the one that others use. They are macros because an exported function stays in
//! every object that is linked with it.
//!
//! [`export_verified_once!`]: crate::export_verified_once
//! [`export_options_walk!`]: crate::export_options_walk

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
