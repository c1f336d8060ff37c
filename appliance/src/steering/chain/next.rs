//! The pinned program that gets what belongs to no service.
//!
//! The kernel lets one program call another only if both have the same type, the same expected attach type and the same flag
//! for frames of several buffers (`__bpf_prog_map_compatible`, kernel/bpf/core.c), and if neither is bound to a device.

use std::io::ErrorKind;
use std::path::Path;

use aya::maps::{MapData, MapError, ProgramArray};
use aya::programs::{ProgramError, ProgramInfo, SchedClassifier};

use super::super::error::{SteeringError, cause, errno};
use crate::config::{Config, Interface};

/// `BPF_PROG_TYPE_XDP` of include/uapi/linux/bpf.h.
const XDP: u32 = 6;

/// A program that is pinned.
struct Next {
    /// Holds the descriptor. aya opens a pinned `Xdp` only with a type that it does not export.
    program: SchedClassifier,
}

impl Next {
    /// Opens the program pinned at `path`.
    fn open(path: &Path) -> Result<Self, String> {
        let info = ProgramInfo::from_pin(path).map_err(|error| unreadable(path, &error))?;
        let kind = info.program_type() as u32;
        if kind != XDP {
            return Err(format!(
                "what is pinned there is no XDP program (type {kind}, not {XDP}; `bpftool prog show pinned {}`)",
                path.display()
            ));
        }
        let program = SchedClassifier::from_pin(path);
        program
            .map(|program| Self { program })
            .map_err(|error| unreadable(path, &error))
    }
}

fn unreadable(path: &Path, error: &ProgramError) -> String {
    match errno(error) {
        Some(libc::ENOENT) => nothing_pinned(path),
        // EACCES: no file of a BPF file system (`bpf_inode_type`, kernel/bpf/inode.c).
        Some(libc::EACCES | libc::EINVAL) => {
            "it is no program on a BPF file system; name the file that pins one".into()
        }
        _ => cause(error),
    }
}

fn nothing_pinned(path: &Path) -> String {
    format!(
        "nothing is pinned there; load the program first (`bpftool prog load FILE.o {} type xdp`), or remove `next`",
        path.display()
    )
}

/// Puts the programs that the configuration names as `next` behind ours, each in the slot of its interface.
pub(crate) fn put_behind(
    wanted: &[Interface],
    slots: &mut ProgramArray<MapData>,
) -> Result<(), SteeringError> {
    for (slot, interface) in (0..).zip(wanted) {
        let Some(path) = &interface.next else {
            continue;
        };
        let failed = |cause| SteeringError::Next {
            name: interface.name.clone(),
            path: path.clone(),
            cause,
        };
        let next = Next::open(path).map_err(failed)?;
        let program = next.program.fd().map_err(|error| failed(cause(&error)))?;
        slots
            .set(slot, program, 0)
            .map_err(|error| failed(refused(&error)))?;
    }
    Ok(())
}

/// Why the kernel does not let our program call another one, or the other way round.
fn refused(error: &MapError) -> String {
    match errno(error) {
        Some(libc::EINVAL) => "the kernel lets synward's program not call it: load it for interfaces (section \"xdp\"), \
                               without frags unless the MTU of a steered interface needs them, and not bound to a device"
            .into(),
        _ => cause(error),
    }
}

/// The problems of `next` on this machine: the line of each, and a sentence. What this user may not see is none.
pub fn chain_problems(config: &Config) -> Vec<(usize, String)> {
    let mut problems = Vec::new();
    for interface in &config.interfaces {
        let Some(path) = &interface.next else {
            continue;
        };
        if let Err(why) = look(path) {
            let (name, path) = (&interface.name, path.display());
            problems.push((interface.line, format!("`next` of {name} is {path}: {why}")));
        }
    }
    problems
}

fn look(path: &Path) -> Result<(), String> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Err(nothing_pinned(path)),
        Ok(_) if rustix::process::geteuid().is_root() => Next::open(path).map(drop),
        _ => Ok(()),
    }
}
