//! Opens and reads the files that people name. What is no regular file is refused at once: a FIFO would block for ever, and a
//! device may never end.
#![forbid(unsafe_code)]

use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

/// Why a file cannot be read. The text continues the file's name.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is something else.
    #[error("is {0}; name a regular file")]
    Other(&'static str),
    /// It has more bytes than it may have.
    #[error("is larger than {0} bytes; is it the right file?")]
    TooLarge(u64),
    /// The kernel's error.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Opens a regular file to read it.
///
/// # Errors
/// It is none, or cannot be opened.
pub fn open(path: &Path) -> Result<File, FileError> {
    // Before it is opened: that alone has an effect on some devices.
    require_regular(fs::metadata(path)?.file_type())?;
    let mut options = OpenOptions::new();
    // It may have become a FIFO meanwhile, which must not block.
    let flags = OFlags::NONBLOCK.bits() as i32;
    let file = options.read(true).custom_flags(flags).open(path)?;
    require_regular(file.metadata()?.file_type())?;
    Ok(file)
}

/// Reads a regular file.
///
/// # Errors
/// It is none, has more than `most` bytes, or cannot be read.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    read_all(open(path)?, most, &mut bytes)?;
    Ok(bytes)
}

/// Reads an open file to its end.
///
/// # Errors
/// It has more than `most` bytes, or cannot be read.
pub fn read_all(file: File, most: u64, bytes: &mut Vec<u8>) -> Result<(), FileError> {
    file.take(most + 1).read_to_end(bytes)?;
    if bytes.len() as u64 > most {
        return Err(FileError::TooLarge(most));
    }
    Ok(())
}

/// The text without the byte order mark that some editors put in front of it.
pub fn without_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

fn require_regular(kind: FileType) -> Result<(), FileError> {
    if kind.is_file() {
        return Ok(());
    }
    Err(FileError::Other(if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn only_regular_files_are_read_and_nothing_blocks() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name| folder.path().join(name);
        rustix::fs::mkfifoat(rustix::fs::CWD, at("fifo"), rustix::fs::Mode::RUSR).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        fs::write(at("file"), "1234").unwrap();
        let refused = |path: &Path| read(path, 4).unwrap_err().to_string();
        for (path, expected) in [
            (folder.path(), "is a directory; name a regular file"),
            (&at("fifo"), "is a FIFO; name a regular file"),
            (&at("socket"), "is a socket; name a regular file"),
            (Path::new("/dev/null"), "is a device; name a regular file"),
        ] {
            assert_eq!(refused(path), expected);
        }
        assert_eq!(read(&at("file"), 4).unwrap(), b"1234");
        let large = read(&at("file"), 3).unwrap_err().to_string();
        assert_eq!(large, "is larger than 3 bytes; is it the right file?");
        assert!(refused(&at("none")).starts_with("cannot be read: No such file"));
    }
}
