//! The AF_XDP room against the real kernel: veth pairs in network namespaces of their own. Needs
//! root.
#![allow(clippy::unwrap_used)]

mod echo_rate;
mod metadata;
mod numbered_frames;
mod open_errors;
mod overload;
mod round_trip;
mod test_programs;
mod veth_lab;
mod worker_sleep;

/// Leaves a test early, with the reason, where it cannot run.
macro_rules! needs_root {
    () => {
        // SAFETY: geteuid only returns a number.
        if unsafe { libc::geteuid() } != 0 {
            eprintln!("SKIPPED: makes network namespaces and loads XDP programs; run as root");
            return;
        }
    };
}
use needs_root;
