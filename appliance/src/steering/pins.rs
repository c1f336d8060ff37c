//! Links and maps pinned in a folder of a BPF file system, where the next process finds them after a kill.
//!
//! | file | holds |
//! |---|---|
//! | `schema` | an array of one element: [`SCHEMA`](synward_core::layout::SCHEMA), the version of the map layout |
//! | `map-NAME` | a map that the next process takes over or reads |
//! | `link-INTERFACE` | the link of the XDP program |
//! | `tcx-INTERFACE` | the link of the TC program, if a service is local |
//! | `entry`, `entry-…` | the program that others call, and its maps ([`Entry`](super::chain)), with `attach = "none"` |
//!
//! The folder is also the lock: the process that uses it holds a flock(2) on it, which ends with the process.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use aya::maps::{Array, MapData};
use aya::pin::PinError;
use aya::programs::links::{FdLink, PinnedLink};

use super::bpffs::check_bpffs;
use super::error::{SteeringError, cause, errno};

mod previous;

pub(super) use previous::Previous;

const LINK: &str = "link-";
const TCX: &str = "tcx-";
const MAP: &str = "map-";
const RECORD: &str = "schema";
const ENTRY: &str = "entry";
/// Suffix of a file until it replaces another one.
const DRAFT: &str = "-new";

/// A pin folder that is locked by this process.
#[derive(Debug)]
pub(super) struct Pins {
    folder: PathBuf,
    /// Closing it releases the lock.
    lock: File,
}

impl Pins {
    /// Creates the folder if it does not exist, and locks it.
    pub(super) fn open(folder: &Path) -> Result<Self, SteeringError> {
        check_bpffs(folder)?;
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

    /// `None`: the folder was removed in the meantime.
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
        Ok(is_still_there.then_some(Self { folder, lock }))
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of a pinned map.
    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.folder.join(Self::map_file(name))
    }

    /// The file of a pinned map in the folder.
    pub(super) fn map_file(name: &str) -> String {
        format!("{MAP}{name}")
    }

    /// The path of the pinned XDP link of an interface. Dots are escaped because the file system reserves names with dots
    /// (`bpf_lookup`, kernel/bpf/inode.c).
    pub(super) fn link(&self, interface: &str) -> PathBuf {
        self.folder.join(format!("{LINK}{}", escaped(interface)))
    }

    /// The path of the pinned TC link of an interface.
    pub(super) fn tcx(&self, interface: &str) -> PathBuf {
        self.folder.join(format!("{TCX}{}", escaped(interface)))
    }

    /// The interfaces that have a pinned XDP link.
    pub(super) fn links(&self) -> Vec<String> {
        self.with_prefix(LINK)
    }

    /// The interfaces that have a pinned TC link.
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

    /// Creates the folder again, and locks it, if somebody has removed it.
    pub(super) fn restore_folder(&mut self) -> Result<(), SteeringError> {
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let there = fs::metadata(&self.folder).map(identity).ok();
        if there.is_none() || there != self.lock.metadata().map(identity).ok() {
            *self = Self::open(&self.folder)?;
        }
        Ok(())
    }

    /// Pins a map. Replaces a map that is pinned there.
    pub(super) fn pin_map(&self, name: &str, map: &MapData) -> Result<(), SteeringError> {
        replace(&self.map(name), |draft| map.pin(draft))
    }

    /// The path of a file in the folder.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Pins something as `name`. Replaces what is pinned there.
    pub(super) fn pin_file(
        &self,
        name: &str,
        pin: impl FnOnce(&Path) -> Result<(), PinError>,
    ) -> Result<(), SteeringError> {
        replace(&self.file(name), pin)
    }

    /// [`Self::pin_file`] if the file is missing. Returns whether it was.
    pub(super) fn restore(
        &self,
        name: &str,
        pin: impl FnOnce(&Path) -> Result<(), PinError>,
    ) -> Result<bool, SteeringError> {
        let is_missing = !self.file(name).exists();
        if is_missing {
            self.pin_file(name, pin)?;
        }
        Ok(is_missing)
    }

    /// Removes the program that others call. Returns whether it was pinned.
    pub(super) fn remove_entry(&self) -> Result<bool, SteeringError> {
        let files = self.files();
        let entry: Vec<_> = files
            .iter()
            .filter(|file| file.starts_with(ENTRY))
            .map(|file| self.folder.join(file))
            .collect();
        for path in &entry {
            fs::remove_file(path).map_err(|error| failed(path, &error))?;
        }
        Ok(!entry.is_empty())
    }

    /// Pins something at `path`, where nothing is, and removes it: whether a link can be pinned there.
    pub(super) fn attempt(&self, path: &Path) -> Result<(), SteeringError> {
        let refused = |error: &(dyn std::error::Error + 'static)| failed(path, error);
        let map = Array::<MapData, u32>::create(1, 0).map_err(|error| refused(&error))?;
        map.pin(path).map_err(|error| refused(&error))?;
        fs::remove_file(path).map_err(|error| refused(&error))
    }

    /// Pins the XDP link of an interface that has none pinned. It does not use a draft name: a link under a name that no
    /// process looks for would keep the interface occupied.
    pub(super) fn pin_link(
        &self,
        interface: &str,
        link: FdLink,
    ) -> Result<PinnedLink, SteeringError> {
        pin(link, &self.link(interface))
    }

    /// Pins the TC link of an interface that has none pinned.
    pub(super) fn pin_tcx(
        &self,
        interface: &str,
        link: FdLink,
    ) -> Result<PinnedLink, SteeringError> {
        pin(link, &self.tcx(interface))
    }

    /// Opens the pinned XDP link of an interface.
    pub(super) fn open_link(&self, interface: &str) -> Option<PinnedLink> {
        PinnedLink::from_pin(self.link(interface)).ok()
    }

    /// Opens the pinned TC link of an interface.
    pub(super) fn open_tcx(&self, interface: &str) -> Option<PinnedLink> {
        PinnedLink::from_pin(self.tcx(interface)).ok()
    }

    /// Detaches the XDP program from an interface. Returns whether a link was pinned.
    pub(super) fn detach(&self, interface: &str) -> Result<bool, SteeringError> {
        unpin(&self.link(interface))
    }

    /// Detaches the TC program from an interface. Returns whether a link was pinned.
    pub(super) fn detach_tcx(&self, interface: &str) -> Result<bool, SteeringError> {
        unpin(&self.tcx(interface))
    }

    /// Removes all our files but the program that others call: XDP links, then TC links, then maps. Removes the folder if it is
    /// empty then. Returns the interfaces that were steered and the number of removed maps.
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

    /// Removes the folder if it is empty.
    pub(super) fn remove_if_empty(&self) {
        // Foreign files or a mount point are no error.
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

/// Detaches the link pinned at `path`. Returns whether there was one.
fn unpin(path: &Path) -> Result<bool, SteeringError> {
    match PinnedLink::from_pin(path) {
        // The kernel detaches immediately when the last descriptor is closed, but with delay when a file is removed.
        // So the file is removed first.
        Ok(link) => link
            .unpin()
            .map(drop)
            .map_err(|error| failed(path, &error))?,
        Err(_) if !path.exists() => return Ok(false),
        Err(_) => fs::remove_file(path).map_err(|error| failed(path, &error))?,
    }
    Ok(true)
}

/// Calls `pin` with a draft name, and then renames the draft to `path`, which replaces it atomically.
fn replace(
    path: &Path,
    pin: impl FnOnce(&Path) -> Result<(), PinError>,
) -> Result<(), SteeringError> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(DRAFT);
    // Remove a draft that a killed process left.
    let _ = fs::remove_file(&draft);
    pin(Path::new(&draft)).map_err(|error| failed(path, &error))?;
    fs::rename(&draft, path).map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &(dyn std::error::Error + 'static)) -> SteeringError {
    let cure = match errno(error) {
        Some(libc::EACCES | libc::EPERM) => "; run as root",
        Some(libc::EROFS) => "; mount its BPF file system writable (mount -o remount,rw)",
        _ => "",
    };
    SteeringError::Pin {
        path: path.to_owned(),
        cause: cause(error) + cure,
    }
}

/// " (process N)" if /proc/locks lists the holder of the lock on a file: lines of
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
