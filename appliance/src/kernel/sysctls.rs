//! The sysctls that decide what the kernel's own SYN cookies do, in the caller's network namespace.
#![forbid(unsafe_code)]

use std::fs;
use std::sync::OnceLock;

use super::abi::KernelAbi;

/// What the kernel does with cookies in a network namespace.
#[derive(Clone, Copy, Debug)]
pub struct KernelCookies {
    /// `net.ipv4.tcp_syncookies`, of both families; nothing if it cannot be read.
    pub syncookies: Option<u8>,
    /// Whether the kernel's own cookies can hold options, for its clock of TCP timestamps is bare
    /// (`net.ipv4.tcp_timestamps=2`).
    pub bare_clock: bool,
    /// Whether the kernel takes connections from cookies that are ours.
    pub takes_ours: bool,
}

/// The kernel stays the same, and its types are a long read.
static TAKES_OURS: OnceLock<bool> = OnceLock::new();

/// What this kernel does with cookies, in this network namespace.
pub fn kernel_cookies() -> KernelCookies {
    KernelCookies {
        syncookies: tcp_syncookies(),
        bare_clock: has_bare_clock(),
        takes_ours: *TAKES_OURS
            .get_or_init(|| KernelAbi::read().is_ok_and(|abi| abi.takes_connections())),
    }
}

/// `net.ipv4.tcp_syncookies`; nothing if it cannot be read.
pub fn tcp_syncookies() -> Option<u8> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/tcp_syncookies").ok()?;
    text.trim().parse().ok()
}

/// See [`KernelCookies::bare_clock`].
pub fn has_bare_clock() -> bool {
    const BARE: &str = "2";
    fs::read_to_string("/proc/sys/net/ipv4/tcp_timestamps").is_ok_and(|text| text.trim() == BARE)
}
