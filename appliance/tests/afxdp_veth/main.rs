//! Tests of AF_XDP ports on the running kernel, over veth pairs in separate network namespaces. Needs
//! root.
#![allow(clippy::unwrap_used)]

mod echo_rate;
mod metadata;
mod numbered_frames;
mod open_errors;
mod overload;
mod port_changes;
mod round_trip;
mod test_programs;
mod veth_lab;
mod worker_sleep;

/// Fails a test that does not run as root, or leaves it early if SYNWARD_SKIP_ROOT_TESTS is set.
macro_rules! needs_root {
    () => {
        // SAFETY: geteuid only returns a number.
        if unsafe { libc::geteuid() } != 0 {
            assert!(
                std::env::var_os("SYNWARD_SKIP_ROOT_TESTS").is_some(),
                "this test needs root, because it makes network namespaces and loads XDP programs; \
                 SYNWARD_SKIP_ROOT_TESTS=1 skips it"
            );
            // The harness captures what the macros print, and shows it for failures only.
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                b"SKIPPED: a test that needs root\n",
            );
            return;
        }
    };
}
use needs_root;
