//! Loads a program with signals blocked, because a pending signal aborts the verifier.
#![allow(unsafe_code)] // pthread_sigmask(3)

use std::io::ErrorKind;
use std::mem::MaybeUninit;

use aya::programs::ProgramError;

/// Attempts before loading fails.
const ATTEMPTS: u32 = 5;

/// Calls `load`, which has the kernel verify a program and takes up to a second. The verifier stops with EAGAIN if a signal
/// is pending for the thread (`do_check`, kernel/bpf/verifier.c); the SIGCHLD of an exiting child is enough. Signals are
/// therefore blocked during the call, and the call is repeated if it is interrupted nevertheless, for example by a
/// debugger.
///
/// # Errors
/// The error of the last attempt.
pub fn load_verified(
    mut load: impl FnMut() -> Result<(), ProgramError>,
) -> Result<(), ProgramError> {
    let interrupted = |error: &ProgramError| match error {
        ProgramError::LoadError { io_error, .. } => io_error.kind() == ErrorKind::WouldBlock,
        _ => false,
    };
    let _blocked = BlockedSignals::block();
    for _ in 1..ATTEMPTS {
        match load() {
            Err(error) if interrupted(&error) => {}
            done => return done,
        }
    }
    load()
}

/// Blocks all signals for this thread while it lives. They stay pending, or another thread takes them.
struct BlockedSignals(libc::sigset_t);

impl BlockedSignals {
    fn block() -> Self {
        let mut all = MaybeUninit::uninit();
        let mut before = MaybeUninit::uninit();
        // SAFETY: the first call initialises the set that it is given. The second call reads that set and initialises the
        // other one. It can only fail for an invalid first argument, and this one is valid.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
            Self(before.assume_init())
        }
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // SAFETY: the kernel initialised the set. The null pointer means that no old set is returned.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut())
        };
    }
}
