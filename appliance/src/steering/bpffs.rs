//! Checks that a path is on a BPF file system.

use std::fmt;
use std::fs::ReadDir;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::error::SteeringError;

/// BPF_FS_MAGIC (include/uapi/linux/magic.h).
const MAGIC: u64 = 0xcafe_4a11;
/// The mount point that distributions use.
const USUAL: &str = "/sys/fs/bpf";

/// Where a BPF file system is missing. The text says what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MissingBpffs {
    /// It is to be mounted on this empty directory.
    MountAt(PathBuf),
    /// It is to be mounted on a directory that does not exist yet.
    CreateAndMountAt(PathBuf),
    /// A mount there would hide what this directory holds: the pin folder has to be another one.
    WouldHide(PathBuf),
}

impl fmt::Display for MissingBpffs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MountAt(at) => write!(f, "`mount -t bpf bpf {}`", at.display()),
            Self::CreateAndMountAt(at) => {
                let at = at.display();
                write!(f, "`mkdir -p {at} && mount -t bpf bpf {at}`")
            }
            Self::WouldHide(at) => write!(
                f,
                "name a directory below {USUAL} (a mount on {} would hide what is there)",
                at.display()
            ),
        }
    }
}

/// Checks that `folder` is on a BPF file system. If it does not exist, its closest existing ancestor counts.
pub(super) fn check_bpffs(folder: &Path) -> Result<(), SteeringError> {
    match missing_bpffs(folder) {
        None => Ok(()),
        Some(missing) => Err(SteeringError::NotBpffs {
            pin: folder.to_owned(),
            cure: missing.to_string(),
        }),
    }
}

/// What is missing so that `folder` is on a BPF file system. `None`: it is on one.
pub(crate) fn missing_bpffs(folder: &Path) -> Option<MissingBpffs> {
    let existing = folder.ancestors().find(|path| path.exists());
    if existing.and_then(magic) == Some(MAGIC) {
        return None;
    }
    if folder.starts_with(USUAL) {
        return Some(MissingBpffs::MountAt(PathBuf::from(USUAL)));
    }
    let at = folder.parent().unwrap_or(folder);
    let at = at.to_owned();
    let fits = at
        .read_dir()
        .map(|entries| holds_nothing_else(entries, folder));
    Some(match fits {
        Err(error) if error.kind() == ErrorKind::NotFound => MissingBpffs::CreateAndMountAt(at),
        Ok(true) => MissingBpffs::MountAt(at),
        _ => MissingBpffs::WouldHide(at),
    })
}

/// Whether a directory holds at most the pin folder, and that nothing.
fn holds_nothing_else(mut entries: ReadDir, folder: &Path) -> bool {
    entries.all(|entry| {
        let is_pin = entry.is_ok_and(|entry| entry.path() == folder);
        is_pin
            && folder
                .read_dir()
                .is_ok_and(|mut held| held.next().is_none())
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
    use std::fs;

    #[test]
    fn refuses_other_file_systems_and_names_the_mount_command() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("nowhere");
        let refused = check_bpffs(&at.join("synward")).unwrap_err();
        let at = at.display();
        assert_eq!(
            refused.to_string(),
            format!(
                "{at}/synward is not on a BPF file system: `mkdir -p {at} && mount -t bpf bpf {at}`, or set pin = \"\" to pin \
                 nothing"
            )
        );
    }

    #[test]
    fn no_mount_is_advised_that_would_hide_files() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().to_owned();
        let pin = at.join("synward");
        let missing = || missing_bpffs(&pin).unwrap();
        assert_eq!(missing(), MissingBpffs::MountAt(at.clone()));
        fs::create_dir(&pin).unwrap();
        assert_eq!(missing(), MissingBpffs::MountAt(at.clone()));
        fs::write(pin.join("file"), "").unwrap();
        assert_eq!(missing(), MissingBpffs::WouldHide(at.clone()));
        fs::remove_file(pin.join("file")).unwrap();
        fs::write(at.join("other"), "").unwrap();
        assert_eq!(missing(), MissingBpffs::WouldHide(at));
        let root = Path::new("/");
        let expected = MissingBpffs::WouldHide(root.to_owned());
        assert_eq!(missing_bpffs(root), Some(expected));
    }
}
