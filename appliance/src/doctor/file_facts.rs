//! What one file of /proc or /sys says.

use std::fs;
use std::path::Path;

use super::facts::{Read, Unread};

/// The text of a file, without white space around it.
pub(super) fn text(path: impl AsRef<Path>) -> Read<String> {
    let path = path.as_ref();
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Unread::Absent),
        Err(error) => Err(Unread::Failed(format!("{}: {error}", path.display()))),
    }
}

/// The number in a file.
pub(super) fn number(path: impl AsRef<Path>) -> Read<u64> {
    let path = path.as_ref();
    let not_a_number = |_| Unread::Failed(format!("{}: not a number", path.display()));
    text(path)?.parse().map_err(not_a_number)
}
