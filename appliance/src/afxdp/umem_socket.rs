//! Finds the socket that libxdp opens for a UMEM.
//!
//! libxdp registers the UMEM on a new socket, and later binds that same socket (`xsk_umem__create`,
//! `xsk_socket__create_shared`). xsk-rs hands out neither the descriptor nor the fill ring before the socket is bound, so
//! this module looks for the descriptor among those of the process.

use std::{
    collections::BTreeSet,
    fs, io,
    os::fd::RawFd,
    sync::{Mutex, PoisonError},
};

use super::socket_options;

/// Runs `create`, which opens exactly one AF_XDP socket. Returns its result and that socket.
///
/// One call runs at a time, so that concurrent calls cannot take each other's sockets. The process must open AF_XDP
/// sockets in no other way.
///
/// # Errors
/// `create` fails, /proc cannot be read, or the number of new AF_XDP sockets is not one.
pub(super) fn opened_by<T>(create: impl FnOnce() -> io::Result<T>) -> io::Result<(T, RawFd)> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let before = afxdp_sockets()?;
    let created = create()?;
    let now = afxdp_sockets()?;
    let mut new = now.difference(&before);
    match (new.next(), new.next()) {
        (Some(&socket), None) => Ok((created, socket)),
        _ => Err(io::Error::other(
            "the socket of the new UMEM is not among the descriptors of this process",
        )),
    }
}

/// The AF_XDP sockets of this process.
fn afxdp_sockets() -> io::Result<BTreeSet<RawFd>> {
    const PATH: &str = "/proc/self/fd";
    let unreadable = |cause: io::Error| {
        if cause.raw_os_error() == Some(libc::EMFILE) {
            return cause;
        }
        io::Error::new(
            cause.kind(),
            format!("{PATH}: {cause}; mount it with `mount -t proc proc /proc`"),
        )
    };
    let mut sockets = BTreeSet::new();
    for entry in fs::read_dir(PATH).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let number = name.to_str().and_then(|name| name.parse().ok());
        sockets.extend(number.filter(|fd| socket_options::is_afxdp(*fd)));
    }
    Ok(sockets)
}
