//! Memory of the machine and of a process.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Memory {
    /// Anonymous pages: RssAnon of /proc/PID/status. Mapped eBPF arrays are counted as maps instead.
    pub(super) program: u64,
    /// eBPF maps that it holds.
    pub(super) maps: u64,
}

impl Memory {
    /// Memory of the process whose folder in /proc is given.
    ///
    /// # Errors
    /// It has ended.
    pub(super) fn of(process: &Path) -> Result<Self> {
        let status = fs::read_to_string(process.join("status"))
            .with_context(|| format!("{} is gone", process.display()))?;
        let descriptors = fs::read_dir(process.join("fdinfo"))?;
        let descriptions = descriptors
            .filter_map(|descriptor| fs::read_to_string(descriptor.ok()?.path()).ok())
            .collect::<Vec<_>>();
        Ok(Self {
            program: kibibytes(&status, "RssAnon:").context("/proc/PID/status has no RssAnon")?,
            maps: maps(descriptions.iter().map(String::as_str)),
        })
    }
}

/// Bytes available without swapping: MemAvailable of /proc/meminfo.
///
/// # Errors
/// /proc cannot be read.
pub(super) fn available() -> Result<u64> {
    let memory = fs::read_to_string("/proc/meminfo")?;
    kibibytes(&memory, "MemAvailable:").context("/proc/meminfo has no MemAvailable")
}

/// The value of a line in kB, in bytes.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(number << 10)
}

/// What the kernel charges for the maps among descriptors, each map once (`bpf_map_show_fdinfo`, kernel/bpf/syscall.c).
fn maps<'a>(descriptions: impl Iterator<Item = &'a str>) -> u64 {
    let value = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse::<u64>().ok()
    };
    descriptions
        .filter_map(|text| Some((value(text, "map_id:")?, value(text, "memlock:")?)))
        .collect::<BTreeMap<_, _>>()
        .into_values()
        .sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_map_counts_once() {
        let map = "pos:\t0\nmap_type:\t2\nmemlock:\t4096\nmap_id:\t7\n";
        let other = "map_type:\t2\nmemlock:\t100\nmap_id:\t8\n";
        let program = "prog_type:\t6\nmemlock:\t8192\nprog_id:\t7\n";
        assert_eq!(maps([map, other, map, program].into_iter()), 4196);
    }

    #[test]
    fn this_process_has_memory_and_so_has_the_machine() {
        assert!(Memory::of(Path::new("/proc/self")).unwrap().program > 1 << 12);
        assert!(available().unwrap() > 1 << 20);
        assert_eq!(kibibytes("RssAnon:\t  12 kB\n", "RssAnon:"), Some(12 << 10));
    }
}
