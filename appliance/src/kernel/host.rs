//! Checks what the process and the kernel must have before the program is loaded.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;

use aya::util::KernelVersion;

use super::error::KernelError;

/// Capability numbers of include/uapi/linux/capability.h. The second number, if any, is a capability that includes the
/// first.
const NEEDED: [(&str, u32, Option<u32>); 4] = [
    ("CAP_BPF", 39, Some(SYS_ADMIN)),
    ("CAP_PERFMON", 38, Some(SYS_ADMIN)),
    ("CAP_NET_ADMIN", 12, None),
    ("CAP_NET_RAW", 13, None),
];
const SYS_ADMIN: u32 = 21;

/// Linux 5.11 added `bpf_ktime_get_coarse_ns` and no longer counts maps as locked memory. XDP links are older (5.9).
const LINUX: (u8, u8) = (5, 11);

/// Checks the capabilities of the calling thread, and the version and type information of the kernel.
///
/// # Errors
/// The first requirement that is missing.
pub fn check_host() -> Result<(), KernelError> {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    // Without /proc, the kernel's own errors report missing capabilities.
    let missing = effective(&status).map(missing).unwrap_or_default();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        return Err(KernelError::Capabilities { missing });
    }
    let version = KernelVersion::current().ok();
    if version.is_some_and(|version| version < KernelVersion::new(LINUX.0, LINUX.1, 0)) {
        return Err(KernelError::Version);
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Err(KernelError::NoBtf);
    }
    Ok(())
}

/// The effective capabilities of the calling thread, one bit each.
///
/// # Errors
/// /proc does not tell.
pub fn effective_capabilities() -> std::io::Result<u64> {
    let status = fs::read_to_string("/proc/thread-self/status")?;
    effective(&status).ok_or(std::io::ErrorKind::InvalidData.into())
}

/// The names of the capabilities that `synward run` needs and that are not among these.
pub fn missing_capabilities(effective: u64) -> Vec<&'static str> {
    missing(effective)
}

/// The oldest version of Linux on which the programs load: major and minor.
pub fn oldest_linux() -> (u8, u8) {
    LINUX
}

/// Parses the effective capabilities from the text of /proc/PID/status.
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
    fn names_missing_capabilities() {
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
