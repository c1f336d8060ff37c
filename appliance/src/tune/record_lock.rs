//! The lock of a record: two runs at once would lose what one of them had found.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use super::record::beside;
use crate::regular_file;

/// A locked file. Nobody else changes the record while this or one of its [`Self::share`]s is open. Dropping it removes the file,
/// if that is not the record itself.
#[derive(Debug)]
pub(super) struct Lock {
    path: Option<PathBuf>,
    file: File,
}

impl Lock {
    /// A descriptor for a command that is run: it holds the lock until that command has ended, too.
    ///
    /// # Errors
    /// There is no file descriptor left.
    pub(super) fn share(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is locked: who opens it meanwhile sees that it is gone. If it stays, it does no harm.
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}

/// The folder of a record.
fn folder(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Creates the record's folder, and locks the record by a file beside it.
///
/// # Errors
/// Another process has locked it, or the folder or the file of the lock cannot be created.
pub(super) fn lock(file: &Path) -> anyhow::Result<Lock> {
    let cannot = || format!("cannot write {}", file.display());
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder(file))
        .with_context(cannot)?;
    let path = beside(file, ".lock");
    loop {
        let open = open_lock(&path).with_context(|| format!("cannot write {}", path.display()))?;
        take_lock(&open, file)?;
        // Its owner may have removed it between the two calls: then there is another one, or none.
        if is_at(&open, &path) {
            return Ok(Lock {
                path: Some(path),
                file: open,
            });
        }
    }
}

/// Locks a record to undo it. On a file system that cannot be written, the record itself is locked: nobody replaces it there.
///
/// # Errors
/// As for [`lock`].
pub(super) fn lock_to_undo(file: &Path) -> anyhow::Result<Lock> {
    lock(file).or_else(|error| {
        let is_read_only = |error: &io::Error| error.kind() == io::ErrorKind::ReadOnlyFilesystem;
        let record = match error.downcast_ref::<io::Error>().is_some_and(is_read_only) {
            true => regular_file::open(file).ok(),
            false => None,
        };
        let Some(record) = record else {
            return Err(error);
        };
        take_lock(&record, file)?;
        Ok(Lock {
            path: None,
            file: record,
        })
    })
}

fn take_lock(open: &File, record: &Path) -> anyhow::Result<()> {
    match flock(open, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => anyhow::bail!(
            "another `synward tune`, or a command that it has started, changes {}: wait until it has ended",
            record.display()
        ),
        Err(error) => Err(error).with_context(|| format!("cannot write {}", record.display())),
    }
}

/// Opens the file of a lock, or creates it. What somebody else has put there is not followed and not waited for.
fn open_lock(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags.bits() as i32)
        .open(path)
}

/// Whether this is the file that has the name now.
fn is_at(open: &File, path: &Path) -> bool {
    let named = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let ours = open.metadata().map(named).ok();
    ours.is_some() && ours == fs::symlink_metadata(path).map(named).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_do_not_write_one_record() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new/tune.json");
        let first = lock(&file).unwrap();
        let refused = lock(&file).unwrap_err().to_string();
        assert!(refused.contains("another `synward tune`"), "{refused}");
        // Another record in the same folder is none of its business.
        let other = lock(&folder.path().join("new/other.json")).unwrap();
        drop((first, other));
        lock(&file).unwrap();
        let left = fs::read_dir(file.parent().unwrap()).unwrap();
        assert_eq!(left.count(), 0);
    }

    #[test]
    fn a_removed_lock_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tune.json");
        let path = folder.path().join("tune.json.lock");
        let first = lock(&file).unwrap();
        let open = open_lock(&path).unwrap();
        assert!(is_at(&open, &path));
        drop(first);
        assert!(!is_at(&open, &path));
        let _second = lock(&file).unwrap();
        assert!(!is_at(&open, &path), "it has the name, but is another one");
        let elsewhere = folder.path().join("elsewhere");
        let linked = folder.path().join("linked.json");
        std::os::unix::fs::symlink(&elsewhere, folder.path().join("linked.json.lock")).unwrap();
        assert!(lock(&linked).is_err() && !elsewhere.exists());
    }
}
