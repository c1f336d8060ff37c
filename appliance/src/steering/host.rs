//! What the process and the kernel must have before anything is tried.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use aya::util::KernelVersion;

use super::error::SteeringError;
use super::object::Kernel;
use crate::config::{Config, Cookies, Handoff};

/// Capability numbers of include/uapi/linux/capability.h; the second one, if any, includes the first.
const NEEDED: [(&str, u32, Option<u32>); 4] = [
    ("CAP_BPF", 39, Some(SYS_ADMIN)),
    ("CAP_PERFMON", 38, Some(SYS_ADMIN)),
    ("CAP_NET_ADMIN", 12, None),
    ("CAP_NET_RAW", 13, None),
];
const SYS_ADMIN: u32 = 21;

/// Linux 5.11 brought `bpf_ktime_get_coarse_ns` and stopped counting maps as locked memory; XDP links are older (5.9).
const LINUX: (u8, u8) = (5, 11);

/// Checks capabilities and the kernel's age and type information.
pub(super) fn check() -> Result<(), SteeringError> {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    // Where /proc says nothing, the kernel's own refusals have to do.
    let missing = effective(&status).map(missing).unwrap_or_default();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        return Err(SteeringError::Capabilities { missing });
    }
    let version = KernelVersion::current().ok();
    if version.is_some_and(|version| version < KernelVersion::new(LINUX.0, LINUX.1, 0)) {
        return Err(SteeringError::Kernel);
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Err(SteeringError::NoBtf);
    }
    Ok(())
}

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
        syncookies: syncookies(),
        bare_clock: has_bare_clock(),
        takes_ours: *TAKES_OURS
            .get_or_init(|| Kernel::new().is_ok_and(|kernel| kernel.takes_connections())),
    }
}

fn syncookies() -> Option<u8> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/tcp_syncookies").ok()?;
    text.trim().parse().ok()
}

/// See [`KernelCookies::bare_clock`].
pub(super) fn has_bare_clock() -> bool {
    const BARE: &str = "2";
    fs::read_to_string("/proc/sys/net/ipv4/tcp_timestamps").is_ok_and(|text| text.trim() == BARE)
}

/// This kernel, if it has and does what the local services of `config` need, as far as it shows.
pub(super) fn check_local(config: &Config) -> Result<Kernel, SteeringError> {
    const ALWAYS: u8 = 2;
    let syncookies = syncookies();
    if syncookies == Some(0) {
        return Err(SteeringError::NoSyncookies);
    }
    let kernel = Kernel::new()?;
    let mut local = config.services.iter();
    match local.find(|one| one.handoff == Handoff::Local && one.cookies == Cookies::Kernel) {
        _ if syncookies == Some(ALWAYS) => Ok(kernel),
        _ if !kernel.takes_connections() => Err(SteeringError::NoAssign),
        Some(service) => Err(SteeringError::KernelCookies {
            service: service.name.clone(),
        }),
        None => Ok(kernel),
    }
}

/// The effective capabilities in the text of /proc/PID/status.
fn effective(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn missing(effective: u64) -> Vec<&'static str> {
    let has = |capability: u32| effective >> capability & 1 != 0;
    let lacks =
        |(_, capability, or): &&(&str, u32, Option<u32>)| !has(*capability) && !or.is_some_and(has);
    NEEDED
        .iter()
        .filter(lacks)
        .map(|(name, ..)| *name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(
            effective("Name:\tx\nCapEff:\t000001ffffffffff\n"),
            Some(0x1ff_ffff_ffff)
        );
        assert!(missing(0x1ff_ffff_ffff).is_empty());
        assert_eq!(missing(1 << 12 | 1 << 39), ["CAP_PERFMON", "CAP_NET_RAW"]);
        assert!(missing(1 << 12 | 1 << 13 | 1 << 21).is_empty());
        assert_eq!(effective("nothing"), None);
    }
}
