//! Signals while the kernel verifies the program.

use std::os::unix::thread::JoinHandleExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aya::programs::Xdp;
use synward::kernel;

use crate::{needs_root, steer};

/// The kernel stops verifying if a signal is pending for the thread: here after a millisecond at most.
#[test]
fn signals_do_not_stop_verification() {
    needs_root!();
    let seen = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(libc::SIGUSR1, Arc::clone(&seen)).unwrap();
    let loading = std::thread::spawn(|| {
        let mut object = steer::object();
        let program: &mut Xdp = object.program_mut("steer").unwrap().try_into().unwrap();
        let mut attempts = 0;
        kernel::load_verified(|| {
            attempts += 1;
            program.load()
        })
        .unwrap();
        attempts
    });
    while !loading.is_finished() {
        // SAFETY: the thread was not joined yet, so its handle is good.
        unsafe { libc::pthread_kill(loading.as_pthread_t(), libc::SIGUSR1) };
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(loading.join().unwrap(), 1, "attempts");
    assert!(seen.load(Ordering::SeqCst), "the signals came");
}
