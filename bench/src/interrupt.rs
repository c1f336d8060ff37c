//! Ending in time: by SIGINT, SIGTERM, or a timer, all of which also interrupt a system call that lasts.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGALRM, SIGINT, SIGTERM};

/// Becomes true when it is time to stop.
pub(crate) struct Interrupt {
    stop: Arc<AtomicBool>,
}

impl Interrupt {
    /// From now on SIGINT, SIGTERM and SIGALRM ask to stop; they no longer end the process.
    ///
    /// # Errors
    /// The kernel's refusal of a signal handler.
    pub(crate) fn new() -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGALRM] {
            signal_hook::flag::register(signal, Arc::clone(&stop))?;
        }
        Ok(Self { stop })
    }

    /// Asks to stop after `time`, and interrupts again every 10 ms: the first signal may come just before
    /// the system call that it is meant to end.
    pub(crate) fn after(&self, time: Duration) -> io::Result<()> {
        let timer = libc::itimerval {
            it_value: timeval(time.max(Duration::from_micros(1))),
            it_interval: timeval(Duration::from_millis(10)),
        };
        set_timer(&timer)
    }

    pub(crate) fn requested(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        let off = timeval(Duration::ZERO);
        // It cannot fail: both pointers are good and the values in range.
        let _ = set_timer(&libc::itimerval {
            it_value: off,
            it_interval: off,
        });
    }
}

fn set_timer(timer: &libc::itimerval) -> io::Result<()> {
    // SAFETY: `timer` points to a whole itimerval for the time of the call; the old value is not asked for.
    match unsafe { libc::setitimer(libc::ITIMER_REAL, timer, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn timeval(time: Duration) -> libc::timeval {
    libc::timeval {
        tv_sec: time.as_secs() as libc::time_t,
        tv_usec: time.subsec_micros().into(),
    }
}
