//! Has the kernel verify a program, whatever signals come meanwhile.
#![allow(unsafe_code)] // pthread_sigmask(3)

use std::io::ErrorKind;
use std::mem::MaybeUninit;

use aya::programs::ProgramError;

/// How often the kernel is asked before that has failed.
const ATTEMPTS: u32 = 5;

/// Has the kernel verify a program by `load`, which takes up to a second. It stops with EAGAIN where a signal waits for the
/// thread (`do_check`, kernel/bpf/verifier.c): that of a child that ended is enough. So signals wait until it is done, and the
/// kernel is asked again if it was disturbed all the same, by a debugger say.
///
/// # Errors
/// That of the last attempt.
pub fn load_verified(
    mut load: impl FnMut() -> Result<(), ProgramError>,
) -> Result<(), ProgramError> {
    let interrupted = |error: &ProgramError| match error {
        ProgramError::LoadError { io_error, .. } => io_error.kind() == ErrorKind::WouldBlock,
        _ => false,
    };
    let _undisturbed = Undisturbed::begin();
    for _ in 1..ATTEMPTS {
        match load() {
            Err(error) if interrupted(&error) => {}
            done => return done,
        }
    }
    load()
}

/// While it lives, signals wait for this thread, or go to another one.
struct Undisturbed(libc::sigset_t);

impl Undisturbed {
    fn begin() -> Self {
        let mut all = MaybeUninit::uninit();
        let mut before = MaybeUninit::uninit();
        // SAFETY: the first call makes a set of what it is given, the second reads that and makes the other one. It can fail
        // for its first argument alone, which is right.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
            Self(before.assume_init())
        }
    }
}

impl Drop for Undisturbed {
    fn drop(&mut self) {
        // SAFETY: the set is one that the kernel made; nothing is asked for in return.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut())
        };
    }
}
