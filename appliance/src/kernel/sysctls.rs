//! Reads the sysctls of the kernel's own SYN cookies, in the caller's network namespace.
#![forbid(unsafe_code)]

use std::fs;
use std::sync::OnceLock;

use super::abi::KernelAbi;

/// How the kernel handles SYN cookies in a network namespace.
#[derive(Clone, Copy, Debug)]
pub struct KernelCookies {
    /// `net.ipv4.tcp_syncookies`, which applies to both families; `None`: it cannot be read.
    pub syncookies: Option<u8>,
    /// Whether the kernel's own cookies can carry options: its TCP timestamps have no random offset per connection
    /// (`net.ipv4.tcp_timestamps=2`).
    pub has_bare_clock: bool,
    /// Whether the kernel can create connections from our cookies.
    pub takes_ours: bool,
}

/// Cached: the kernel does not change, and parsing its BTF takes long.
static TAKES_OURS: OnceLock<bool> = OnceLock::new();

/// Reads how this kernel handles SYN cookies in this network namespace.
pub fn kernel_cookies() -> KernelCookies {
    KernelCookies {
        syncookies: tcp_syncookies(),
        has_bare_clock: has_bare_clock(),
        takes_ours: *TAKES_OURS
            .get_or_init(|| KernelAbi::read().is_ok_and(|abi| abi.takes_connections())),
    }
}

/// Reads `net.ipv4.tcp_syncookies`; `None`: it cannot be read.
pub fn tcp_syncookies() -> Option<u8> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/tcp_syncookies").ok()?;
    text.trim().parse().ok()
}

/// See [`KernelCookies::has_bare_clock`].
pub fn has_bare_clock() -> bool {
    const BARE: &str = "2";
    fs::read_to_string("/proc/sys/net/ipv4/tcp_timestamps").is_ok_and(|text| text.trim() == BARE)
}
