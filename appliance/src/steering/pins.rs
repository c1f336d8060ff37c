//! What a killed process leaves for the next one: links and maps in a folder of a BPF file system.
//!
//! | file | holds |
//! |---|---|
//! | `schema` | an array of one: [`SCHEMA`], the version of what the maps mean |
//! | `map-NAME` | a map that the next process takes over, or reads |
//! | `link-INTERFACE` | the attachment of the XDP program |
//! | `tcx-INTERFACE` | the attachment of the program at TC, where a service is local |
//!
//! The folder is also the lock: who steers with it holds a flock(2) on it, which ends with the process.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use aya::maps::{Array, Map, MapData, MapInfo};
use aya::pin::PinError;
use aya::programs::links::{FdLink, PinnedLink};
use synward_core::layout::{Globals, SCHEMA};

use super::bpffs;
use super::error::{SteeringError, cause};
use crate::maps::{EndpointMap, Plain};

const LINK: &str = "link-";
const TCX: &str = "tcx-";
const MAP: &str = "map-";
const RECORD: &str = "schema";
/// What a file is called until it takes the place of another.
const DRAFT: &str = "-new";

/// A pin folder that no other process steers with.
#[derive(Debug)]
pub(super) struct Pins {
    folder: PathBuf,
    /// Never read: the lock ends when it is closed.
    _lock: File,
}

/// What a process before this one left.
#[derive(Debug)]
pub(super) struct Previous {
    pub(super) globals: Globals,
    /// For the profiles that it had learned.
    pub(super) endpoints: Option<EndpointMap>,
}

impl Pins {
    /// Makes the folder if need be and locks it.
    pub(super) fn open(folder: &Path) -> Result<Self, SteeringError> {
        bpffs::check(folder)?;
        let failed = |error: io::Error| failed(folder, &error);
        loop {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(failed)?;
            let pins = match Self::lock(folder) {
                Ok(Some(pins)) => pins,
                Ok(None) => continue,
                Err(error) => return Err(error),
            };
            return Ok(pins);
        }
    }

    /// Locks the folder if it exists.
    pub(super) fn open_existing(folder: &Path) -> Result<Option<Self>, SteeringError> {
        if folder.exists() {
            Self::lock(folder)
        } else {
            Ok(None)
        }
    }

    /// Nothing if the folder was removed in the meantime.
    fn lock(folder: &Path) -> Result<Option<Self>, SteeringError> {
        let lock = match File::open(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|error| failed(folder, &error))?,
        };
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(SteeringError::Held {
                    pin: folder.to_owned(),
                    holder: holder(&lock),
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed(folder, &error)),
        }
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let locked = lock.metadata().map(identity).ok();
        let is_still_there = locked.is_some() && fs::metadata(folder).map(identity).ok() == locked;
        let folder = folder.to_owned();
        Ok(is_still_there.then_some(Self {
            folder,
            _lock: lock,
        }))
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a map is pinned.
    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{MAP}{name}"))
    }

    /// Where the attachment to an interface is pinned. The file system keeps names with dots for itself
    /// (`bpf_lookup`, kernel/bpf/inode.c).
    pub(super) fn link(&self, interface: &str) -> PathBuf {
        self.folder.join(format!("{LINK}{}", escaped(interface)))
    }

    /// Where the attachment at TC is pinned.
    pub(super) fn tcx(&self, interface: &str) -> PathBuf {
        self.folder.join(format!("{TCX}{}", escaped(interface)))
    }

    /// The interfaces that have a pinned attachment.
    pub(super) fn links(&self) -> Vec<String> {
        self.with_prefix(LINK)
    }

    /// The interfaces that have a pinned attachment at TC.
    pub(super) fn tcx_links(&self) -> Vec<String> {
        self.with_prefix(TCX)
    }

    fn with_prefix(&self, prefix: &str) -> Vec<String> {
        let files = self.files();
        let links = files.iter().filter_map(|file| file.strip_prefix(prefix));
        links
            .map(|interface| interface.replace("%2e", ".").replace("%25", "%"))
            .collect()
    }

    /// What a process before this one left, if all of it is there; refused if it means something else to us, or if
    /// one of the maps `kept` has not the entries given.
    pub(super) fn previous(&self, kept: &[(&str, u32)]) -> Result<Option<Previous>, SteeringError> {
        if !self.folder.join(RECORD).exists() {
            return Ok(None);
        }
        self.check_schema()?;
        for (name, entries) in kept {
            let path = self.map(name);
            if !path.exists() {
                return Ok(None);
            }
            let found = MapInfo::from_pin(&path).map_err(|error| failed(&path, &error))?;
            if found.max_entries() != *entries {
                return Err(SteeringError::Size {
                    pin: self.folder.clone(),
                    found: found.max_entries(),
                    ours: *entries,
                });
            }
        }
        let globals = self
            .open_map("GLOBALS")
            .and_then(|map| Array::<_, Plain<Globals>>::try_from(Map::Array(map)).ok());
        let Some(Ok(Plain(globals))) = globals.map(|globals| globals.get(&0, 0)) else {
            return Ok(None);
        };
        let endpoints = self
            .open_map("ENDPOINTS")
            .and_then(|map| EndpointMap::try_from(Map::HashMap(map)).ok());
        Ok(Some(Previous { globals, endpoints }))
    }

    fn check_schema(&self) -> Result<(), SteeringError> {
        let path = self.folder.join(RECORD);
        let record = MapData::from_pin(&path)
            .and_then(|map| Array::<_, u32>::try_from(Map::from_map_data(map)?));
        let found = match record.and_then(|record| record.get(&0, 0)) {
            Ok(SCHEMA) => return Ok(()),
            Ok(other) => other.to_string(),
            Err(error) => cause(&error),
        };
        Err(SteeringError::Schema {
            pin: self.folder.clone(),
            found,
            ours: SCHEMA,
        })
    }

    /// Writes down what the maps mean; the first thing that is pinned.
    pub(super) fn record_schema(&self) -> Result<(), SteeringError> {
        let path = self.folder.join(RECORD);
        let refused = |error: &dyn std::error::Error| failed(&path, error);
        let mut record = Array::<MapData, u32>::create(1, 0).map_err(|error| refused(&error))?;
        record.set(0, SCHEMA, 0).map_err(|error| refused(&error))?;
        replace(&path, |draft| record.pin(draft))
    }

    /// Pins a map in place of one that may be there.
    pub(super) fn pin_map(&self, name: &str, map: &MapData) -> Result<(), SteeringError> {
        replace(&self.map(name), |draft| map.pin(draft))
    }

    /// Pins the attachment to an interface that has none pinned. At its place at once, not as a draft: an attachment
    /// under a name that nobody looks for would keep the interface occupied.
    pub(super) fn pin_link(
        &self,
        interface: &str,
        link: FdLink,
    ) -> Result<PinnedLink, SteeringError> {
        pin(link, &self.link(interface))
    }

    /// The same for the attachment at TC.
    pub(super) fn pin_tcx(
        &self,
        interface: &str,
        link: FdLink,
    ) -> Result<PinnedLink, SteeringError> {
        pin(link, &self.tcx(interface))
    }

    /// The pinned attachment to an interface.
    pub(super) fn open_link(&self, interface: &str) -> Option<PinnedLink> {
        PinnedLink::from_pin(self.link(interface)).ok()
    }

    /// The pinned attachment to an interface at TC.
    pub(super) fn open_tcx(&self, interface: &str) -> Option<PinnedLink> {
        PinnedLink::from_pin(self.tcx(interface)).ok()
    }

    fn open_map(&self, name: &str) -> Option<MapData> {
        MapData::from_pin(self.map(name)).ok()
    }

    /// Takes the XDP program off an interface; whether it was there.
    pub(super) fn detach(&self, interface: &str) -> Result<bool, SteeringError> {
        unpin(&self.link(interface))
    }

    /// The same at TC.
    pub(super) fn detach_tcx(&self, interface: &str) -> Result<bool, SteeringError> {
        unpin(&self.tcx(interface))
    }

    /// Removes everything that is ours, links first (those at TC after those in front of them), and the folder if nothing else is in it. Gives the names of the
    /// interfaces that were steered and how many maps went.
    pub(super) fn clear(&self) -> Result<(Vec<String>, usize), SteeringError> {
        let links = self.links();
        for interface in &links {
            self.detach(interface)?;
        }
        for interface in self.tcx_links() {
            self.detach_tcx(&interface)?;
        }
        let mut maps = 0;
        let files = self.files();
        let is_ours = |file: &&String| {
            file.starts_with(LINK) || file.starts_with(MAP) || file.starts_with(RECORD)
        };
        for file in files.iter().filter(is_ours) {
            let path = self.folder.join(file);
            fs::remove_file(&path).map_err(|error| failed(&path, &error))?;
            maps += usize::from(file.starts_with(MAP));
        }
        self.remove_if_empty();
        Ok((links, maps))
    }

    /// Removes the folder unless something is in it.
    pub(super) fn remove_if_empty(&self) {
        // Somebody else's files, or a mount point, are no failure.
        let _ = fs::remove_dir(&self.folder);
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }
}

fn escaped(interface: &str) -> String {
    interface.replace('%', "%25").replace('.', "%2e")
}

fn pin(link: FdLink, path: &Path) -> Result<PinnedLink, SteeringError> {
    link.pin(path).map_err(|error| failed(path, &error))
}

/// Ends the attachment pinned there; whether there was one.
fn unpin(path: &Path) -> Result<bool, SteeringError> {
    match PinnedLink::from_pin(path) {
        // The kernel detaches at once when the last descriptor is closed, but at leisure when a file is removed:
        // so the file goes first.
        Ok(link) => link
            .unpin()
            .map(drop)
            .map_err(|error| failed(path, &error))?,
        Err(_) if !path.exists() => return Ok(false),
        Err(_) => fs::remove_file(path).map_err(|error| failed(path, &error))?,
    }
    Ok(true)
}

/// Pins by `pin` under another name, and then takes the place of `path` at once.
fn replace(
    path: &Path,
    pin: impl FnOnce(&Path) -> Result<(), PinError>,
) -> Result<(), SteeringError> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(DRAFT);
    // One that a killed process left.
    let _ = fs::remove_file(&draft);
    pin(Path::new(&draft)).map_err(|error| failed(path, &error))?;
    fs::rename(&draft, path).map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &dyn std::error::Error) -> SteeringError {
    SteeringError::Pin {
        path: path.to_owned(),
        cause: cause(error),
    }
}

/// " (process N)" if /proc/locks knows who holds the lock on a file: lines of
/// `NUMBER: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE START END` (proc_locks(5)).
fn holder(file: &File) -> String {
    let Ok(inode) = file
        .metadata()
        .map(|metadata| format!(":{}", metadata.ino()))
    else {
        return String::new();
    };
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let pid = locks.lines().find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        match fields[..] {
            [_, "FLOCK", _, "WRITE", pid, place, ..] if place.ends_with(&inode) => {
                Some(pid.to_owned())
            }
            _ => None,
        }
    });
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}
