//! The errors of xsk-rs.
#![forbid(unsafe_code)]

use std::io;

/// The operating system's error, which xsk-rs keeps as the source of its own.
pub(super) fn cause(error: &(dyn std::error::Error + 'static)) -> io::Error {
    error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>())
        .and_then(io::Error::raw_os_error)
        .map_or_else(
            || io::Error::other(error.to_string()),
            io::Error::from_raw_os_error,
        )
}
