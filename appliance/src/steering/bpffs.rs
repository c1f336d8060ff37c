//! Checks that a path is on a BPF file system.

use std::path::{Path, PathBuf};

use super::error::SteeringError;

/// BPF_FS_MAGIC (include/uapi/linux/magic.h).
const MAGIC: u64 = 0xcafe_4a11;
/// The mount point that distributions use.
const USUAL: &str = "/sys/fs/bpf";

/// Checks that `folder` is on a BPF file system. If it does not exist, its closest existing ancestor counts.
pub(super) fn check_bpffs(folder: &Path) -> Result<(), SteeringError> {
    match missing_bpffs(folder) {
        None => Ok(()),
        Some(mount) => Err(SteeringError::NotBpffs {
            pin: folder.to_owned(),
            mount,
        }),
    }
}

/// Where a BPF file system is to be mounted, so that `folder` is on one. `None`: it is.
pub(crate) fn missing_bpffs(folder: &Path) -> Option<PathBuf> {
    let existing = folder.ancestors().find(|path| path.exists());
    if existing.and_then(magic) == Some(MAGIC) {
        return None;
    }
    Some(match folder.starts_with(USUAL) {
        true => PathBuf::from(USUAL),
        false => folder.parent().unwrap_or(folder).to_owned(),
    })
}

fn magic(path: &Path) -> Option<u64> {
    rustix::fs::statfs(path)
        .ok()
        .map(|found| found.f_type as u64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn refuses_other_file_systems_and_names_the_mount_command() {
        let refused = check_bpffs(Path::new("/tmp/nowhere/synward")).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "/tmp/nowhere/synward is not on a BPF file system: `mount -t bpf bpf /tmp/nowhere`, or set pin = \"\" to \
             pin nothing"
        );
    }
}
