//! The AF_XDP room against the real kernel: veth pairs in network namespaces of their own. Needs
//! root.
#![allow(clippy::unwrap_used)]

mod bpf;
mod echo;
mod frames;
mod lab;
mod metadata;
mod opening;
mod overload;
mod rate;
mod waiting;

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
