//! Finds the socket that libxdp opens for a UMEM.
//!
//! libxdp registers the UMEM on a new socket, and later binds that same socket (`xsk_umem__create`,
//! `xsk_socket__create_shared`). xsk-rs hands out neither the descriptor nor the fill ring before the socket is bound, so
//! this module predicts the descriptor: a new one has the lowest number that is free (open(2), POSIX).
#![forbid(unsafe_code)]

use std::{
    io,
    os::{
        fd::{AsRawFd, RawFd},
        unix::net::UnixDatagram,
    },
    sync::{Mutex, PoisonError},
};

use super::socket_options;

/// Tries until the prediction holds. It fails if another thread opens or closes a descriptor in the same microseconds.
const TRIES: u32 = 32;

/// Runs `create`, which opens exactly one AF_XDP socket and closes it when its result is dropped. Returns the result and that
/// socket. Runs it again if the socket is not where it was expected.
///
/// One call runs at a time, so that concurrent calls cannot take each other's sockets. The process must open AF_XDP
/// sockets in no other way: one whose number was free before is the new one.
///
/// # Errors
/// `create` fails, the process may open no more files, or other threads opened or closed descriptors during every try.
pub(super) fn opened_by<T>(create: impl Fn() -> io::Result<T>) -> io::Result<(T, RawFd)> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..TRIES {
        let expected = lowest_free()?;
        let created = create()?;
        if socket_options::is_afxdp(expected) {
            return Ok((created, expected));
        }
    }
    Err(io::Error::other(
        "the socket of the new UMEM is not found, because other threads open files all the time",
    ))
}

/// The lowest number of a descriptor that is free.
fn lowest_free() -> io::Result<RawFd> {
    Ok(UnixDatagram::unbound()?.as_raw_fd())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::thread;

    use socket2::{Domain, Socket, Type};

    use super::*;

    fn open() -> io::Result<Socket> {
        Socket::new(Domain::from(libc::AF_XDP), Type::RAW, None)
    }

    #[test]
    fn the_socket_is_found_among_descriptors_that_come_and_go() {
        if let Err(error) = opened_by(open)
            && error.raw_os_error() == Some(libc::EPERM)
            && std::env::var_os("SYNWARD_SKIP_ROOT_TESTS").is_some()
        {
            return;
        }
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Relaxed) {
                    let files = [lowest_free(), lowest_free()];
                    assert!(files.iter().all(Result::is_ok));
                    thread::yield_now();
                }
            });
            let found: Vec<_> = (0..200).map(|_| opened_by(open)).collect();
            over.store(true, Relaxed);
            for (socket, fd) in found.into_iter().map(Result::unwrap) {
                assert_eq!(socket.as_raw_fd(), fd);
            }
        });
    }

    #[test]
    fn what_is_no_af_xdp_socket_is_not_taken_for_one() {
        let other = || UnixDatagram::unbound();
        assert!(opened_by(other).is_err());
    }
}
