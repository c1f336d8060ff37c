//! Finds what keeps an eBPF program alive: its links, the files that pin it, and the processes that hold a descriptor.
//!
//! Programs and links are listed by id, which needs CAP_SYS_ADMIN. Descriptors are read in /proc/PID/fdinfo, where
//! `bpf_prog_show_fdinfo` and `bpf_link_show_fdinfo` (kernel/bpf/syscall.c) write the ids. What cannot be read is left out.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use aya::programs::links::{FdLink, LinkType, PinnedLink};
use aya::programs::{ProgramInfo, loaded_links, loaded_programs};

/// Deepest folder, and most files, that are searched in each BPF file system.
const DEEPEST: usize = 6;
const MOST_FILES: usize = 4096;

/// What keeps an XDP program alive, besides its interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramHolders {
    /// The name of the program, at most 15 bytes. Empty if it has none or cannot be read.
    pub name: String,
    /// The ids of its XDP links.
    pub links: Vec<u32>,
    /// Files of a BPF file system that hold the program or one of its links.
    pub pins: Vec<PathBuf>,
    /// Processes that hold a descriptor of the program or of one of its links: pid and name.
    pub processes: Vec<(u32, String)>,
}

/// Finds what holds the XDP program with this id.
pub fn program_holders(id: u32) -> ProgramHolders {
    let Some(program) = loaded_programs()
        .flatten()
        .find(|program| program.id() == id)
    else {
        return ProgramHolders::default();
    };
    let is_xdp = |link: &aya::programs::links::LinkInfo| {
        matches!(link.link_type(), Ok(LinkType::Xdp)) && link.program_id() == id
    };
    ProgramHolders {
        name: program.name_as_str().unwrap_or_default().to_owned(),
        links: loaded_links()
            .flatten()
            .filter(is_xdp)
            .map(|link| link.id())
            .collect(),
        pins: bpf_file_systems()
            .iter()
            .flat_map(|root| files_below(root))
            .filter(|path| pins_program(path, &program))
            .collect(),
        processes: processes_with(id),
    }
}

/// The mount points of BPF file systems (proc_mounts(5)).
fn bpf_file_systems() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let bpf = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (place, kind) = (fields.next()?, fields.next()?);
        (kind == "bpf").then(|| PathBuf::from(place))
    });
    // One may be mounted over another at the same place.
    bpf.collect::<BTreeSet<_>>().into_iter().collect()
}

fn files_below(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && depth < DEEPEST => {
                    folders.push((entry.path(), depth + 1))
                }
                Ok(kind) if kind.is_file() && files.len() < MOST_FILES => files.push(entry.path()),
                _ => {}
            }
        }
    }
    files.sort();
    files
}

/// Whether the file holds the program or a link of it. The kernel opens any kind of object under a path, and the types of
/// programs and links have the same numbers: an id alone does not tell them apart, so the program's tag must match too.
fn pins_program(path: &Path, program: &ProgramInfo) -> bool {
    let is_it = |pinned: ProgramInfo| pinned.id() == program.id() && pinned.tag() == program.tag();
    if ProgramInfo::from_pin(path).is_ok_and(is_it) {
        return true;
    }
    let link = PinnedLink::from_pin(path).map(FdLink::from);
    link.ok()
        .and_then(|link| link.info().ok())
        .is_some_and(|link| {
            matches!(link.link_type(), Ok(LinkType::Xdp)) && link.program_id() == program.id()
        })
}

fn processes_with(program: u32) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let folder = entry.path();
        if pid != std::process::id() && holds_descriptor(&folder, program) {
            let name = fs::read_to_string(folder.join("comm")).unwrap_or_default();
            found.push((pid, name.trim_end().to_owned()));
        }
    }
    found.sort();
    found
}

/// Whether a process, by its folder in /proc, has a descriptor of the program or of an XDP link of it.
fn holds_descriptor(process: &Path, program: u32) -> bool {
    let descriptors = fs::read_dir(process.join("fd"))
        .into_iter()
        .flatten()
        .flatten();
    descriptors
        .filter(|descriptor| {
            let target = fs::read_link(descriptor.path()).unwrap_or_default();
            let target = target.to_string_lossy();
            target.contains("bpf-prog") || target.contains("bpf_link")
        })
        .any(|descriptor| {
            let info = process.join("fdinfo").join(descriptor.file_name());
            has_program(&fs::read_to_string(info).unwrap_or_default(), program)
        })
}

/// Whether the text of an fdinfo file names the program.
fn has_program(info: &str, program: u32) -> bool {
    info.lines()
        .filter_map(|line| line.strip_prefix("prog_id:"))
        .any(|id| id.trim().parse() == Ok(program))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fdinfo_names_the_program() {
        let link = "pos:\t0\nflags:\t02000002\nlink_type:\txdp\nlink_id:\t5\nprog_tag:\tab\nprog_id:\t77\nifindex:\t3\n";
        assert!(has_program(link, 77));
        assert!(!has_program(link, 5) && !has_program(link, 7) && !has_program("", 0));
    }
}
