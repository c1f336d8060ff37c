//! The record of what `tune` found before it changed it: a JSON file that only its owner reads.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::doctor::Setting;
use crate::regular_file;

/// The layout of the file.
const VERSION: u32 = 1;
/// The most bytes of the file.
const MOST: u64 = 16 << 20;

/// Every change that was not undone yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    /// In the order in which they were made.
    pub entries: Vec<Entry>,
}

/// A change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// The finding that it mends.
    pub id: String,
    /// What was changed.
    pub setting: Setting,
    /// Whose setting it is.
    pub place: Place,
    /// The value that was found.
    pub before: String,
    /// The value after the change.
    pub after: String,
    /// Whether the kernel changed it together with something else.
    pub side_effect: bool,
    /// While its command runs: what the kernel may change together with it, with the values before. In a record that is read,
    /// it says that the run was killed before it had looked at the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under_way: Option<Vec<(Setting, String)>>,
}

/// Whose setting it is. Settings do not outlive the boot, the network namespace or the device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// The id of the boot.
    pub boot: String,
    /// The inode of the network namespace.
    pub namespace: u64,
    /// The index and hardware address of the interface.
    pub device: Option<(u32, [u8; 6])>,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            version: VERSION,
            entries: Vec::new(),
        }
    }
}

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
pub(super) fn folder(file: &Path) -> &Path {
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

/// The record's name with something behind it. Each record has its own: a replaced extension could be that of another.
fn beside(file: &Path, end: &str) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(end);
    PathBuf::from(path)
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

impl Record {
    /// Reads the record. Without a file nothing was changed.
    ///
    /// # Errors
    /// The file cannot be read, is not a record, or somebody else may write it.
    pub(super) fn load(file: &Path) -> anyhow::Result<Self> {
        let path = file.display();
        let metadata = match fs::metadata(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            found => found.with_context(|| format!("cannot read {path}"))?,
        };
        // The advice below is only for a record: a directory such as /tmp must be written by others.
        anyhow::ensure!(
            metadata.is_file(),
            "{path} is not a regular file; name one with --state"
        );
        let me = rustix::process::geteuid().as_raw();
        anyhow::ensure!(
            metadata.uid() == me && metadata.mode() & 0o022 == 0,
            "{path} may be written by others, so it is not believed: `chown root {path}; chmod 600 {path}` if it is yours"
        );
        let text = match regular_file::read(file, MOST) {
            // The error says what it is.
            Err(error) => anyhow::bail!("{path} {error}"),
            Ok(text) => text,
        };
        // Before its entries: those of another version may be others.
        let Version { version } = serde_json::from_slice(&text).with_context(|| strange(file))?;
        anyhow::ensure!(
            version == VERSION,
            "{path} is of another version of synward ({version}, this one's is {VERSION}): undo with that version"
        );
        serde_json::from_slice(&text).with_context(|| strange(file))
    }

    /// Writes the record in one step; removes the file if nothing is recorded.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn save(&self, file: &Path) -> anyhow::Result<()> {
        let path = file.display();
        if self.entries.is_empty() {
            return match fs::remove_file(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(error).with_context(|| format!("cannot remove {path}"))
                }
                _ => Ok(()),
            };
        }
        self.write(file)
            .with_context(|| format!("cannot write {path}"))
    }

    fn write(&self, file: &Path) -> io::Result<()> {
        let draft = beside(file, ".draft");
        // A draft of a killed process.
        let _ = fs::remove_file(&draft);
        let written = self
            .write_new(&draft)
            .and_then(|()| fs::rename(&draft, file));
        if written.is_err() {
            // On a full disk it would take room.
            let _ = fs::remove_file(&draft);
        }
        written
    }

    fn write_new(&self, draft: &Path) -> io::Result<()> {
        let mut open = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(draft)?;
        open.write_all(&serde_json::to_vec_pretty(self)?)?;
        open.sync_all()
    }

    /// Records a change before it is made. If the setting was changed before, the first value stays.
    pub(super) fn remember(&mut self, entry: Entry) {
        match self.of(&entry.setting, &entry.place) {
            Some(old) => {
                old.after = entry.after;
                old.under_way = entry.under_way;
            }
            None => {
                // What is recorded of a device or a boot that is gone cannot be undone.
                let here = entry.place.namespace;
                self.entries
                    .retain(|old| old.setting != entry.setting || old.place.namespace != here);
                self.entries.push(entry);
            }
        }
    }

    /// What is recorded of a setting.
    pub(super) fn of(&mut self, setting: &Setting, place: &Place) -> Option<&mut Entry> {
        let mut entries = self.entries.iter_mut();
        entries.find(|entry| entry.setting == *setting && entry.place == *place)
    }
}

/// What every version of a record has.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

fn strange(file: &Path) -> String {
    format!(
        "{} is not a record of `synward tune`, or damaged: restore by hand what it still shows as `before`, and move it away",
        file.display()
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn entry(before: &str, after: &str, device: u32) -> Entry {
        Entry {
            id: "nic.mtu".into(),
            setting: Setting::Mtu {
                interface: "eth0".into(),
            },
            place: Place {
                device: Some((device, [2; 6])),
                ..Place::default()
            },
            before: before.into(),
            after: after.into(),
            side_effect: false,
            under_way: None,
        }
    }

    #[test]
    fn only_the_owner_of_a_record_is_told_to_change_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let set = |path: &Path| fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
        let file = folder.path().join("tune.json");
        fs::write(&file, "{}").unwrap();
        set(&file);
        let refused = Record::load(&file).unwrap_err().to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
        set(folder.path());
        for other in [folder.path(), Path::new("/dev/full")] {
            let refused = Record::load(other).unwrap_err().to_string();
            assert!(
                refused.ends_with("is not a regular file; name one with --state"),
                "{refused}"
            );
        }
    }

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
    fn records_with_similar_names_do_not_touch_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let mut record = Record::default();
        record.remember(entry("9000", "3506", 3));
        for name in ["tune.new", "tune.json", "tune.state", "tune"] {
            let file = folder.path().join(name);
            record.save(&file).unwrap();
        }
        for name in ["tune.new", "tune.json", "tune.state", "tune"] {
            let file = folder.path().join(name);
            assert_eq!(Record::load(&file).unwrap(), record, "{name}");
        }
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

    #[test]
    fn the_first_record_of_a_setting_stays() {
        let mut record = Record::default();
        record.remember(entry("9000", "3506", 3));
        record.remember(entry("4000", "1500", 3));
        assert_eq!(record.entries, [entry("9000", "1500", 3)]);
    }

    #[test]
    fn the_record_of_a_device_that_is_gone_gives_way() {
        let mut record = Record::default();
        record.remember(entry("9000", "3506", 3));
        record.remember(entry("8000", "3506", 4));
        assert_eq!(record.entries, [entry("8000", "3506", 4)]);
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deep/tune.json");
        assert_eq!(Record::load(&file).unwrap(), Record::default());
        let mut record = Record::default();
        record.remember(entry("9000", "3506", 3));
        let _lock = lock(&file).unwrap();
        record.save(&file).unwrap();
        assert_eq!(Record::load(&file).unwrap(), record);
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        Record::default().save(&file).unwrap();
        assert!(!file.exists());
    }

    #[test]
    fn a_record_that_others_may_write_or_that_is_damaged_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tune.json");
        for (text, mode, word) in [
            ("{}", 0o666, "not believed"),
            ("no JSON", 0o600, "not a record"),
            ("", 0o600, "damaged"),
            ("{\"version\":1,\"entries\":[{\"id\":\"ni", 0o600, "damaged"),
            ("{\"version\":9,\"changes\":[]}", 0o600, "another version"),
        ] {
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            let error = Record::load(&file).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
