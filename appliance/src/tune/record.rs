//! The record of what `tune` found before it changed it: a JSON file that only its owner reads.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
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

/// The record's name with something behind it. Each record has its own: a replaced extension could be that of another.
pub(super) fn beside(file: &Path, end: &str) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(end);
    PathBuf::from(path)
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
        fs::create_dir(file.parent().unwrap()).unwrap();
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
