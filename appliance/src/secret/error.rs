//! Errors of generating, reading and creating secrets.

use std::path::{Path, PathBuf};

use crate::problem::{Fault, Problems};
use crate::regular_file::FileError;

/// Why there are no keys. The texts contain the errors behind them, which are therefore no sources of these.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file does not exist.
    #[error("{}", Fault::NoSecret(.0.clone()))]
    Absent(PathBuf),
    /// It is no regular file, or too large for a secret file.
    #[error("the secret file {} {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What it is.
        error: FileError,
    },
    /// Others than the owner may read or write the file.
    #[error(
        "the secret file {path} has mode {mode:04o}, so others can access it; run: chmod 600 {path}",
        path = path.display()
    )]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file belongs to another user, who may change it and knows the secret.
    #[error(
        "the secret file {path} belongs to user {owner}, who could read and change it; run: chown {me} {path}",
        path = path.display()
    )]
    Owner {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The user that synward runs as.
        me: u32,
    },
    /// This user must not read the file.
    #[error("{}", unreadable(.0))]
    Denied(PathBuf),
    /// The file cannot be read for another reason.
    #[error("the secret file {} cannot be read: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's error.
        error: std::io::Error,
    },
    /// The file cannot be created.
    #[error(
        "the secret file {path} cannot be created: {error}; run as root, or create it: synward secret > {path}; \
         chmod 600 {path}",
        path = path.display()
    )]
    Create {
        /// The file.
        path: PathBuf,
        /// The kernel's error.
        error: std::io::Error,
    },
    /// The file has wrong lines. Their content is never shown.
    #[error(transparent)]
    Content(#[from] Problems),
    /// The kernel returns no random bytes.
    #[error("the kernel returns no random bytes: {0}")]
    NoRandom(String),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Absent(path) => Self::NoSecret(path),
            Error::Denied(path) => unreadable(&path),
            error => Self::Text(error.to_string()),
        }
    }
}

fn unreadable(path: &Path) -> Fault {
    Fault::Unreadable(Some(format!("the secret file {}", path.display())))
}
