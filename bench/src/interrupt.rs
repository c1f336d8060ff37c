//! Requests to stop (SIGINT, SIGTERM), and a timer that interrupts blocking system calls.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGALRM, SIGINT, SIGTERM};

/// SIGINT and SIGTERM as a request to stop, and a timer.
pub(crate) struct Interrupt {
    stop: Arc<AtomicBool>,
}

impl Interrupt {
    /// From now on SIGINT, SIGTERM and SIGALRM interrupt, but do not end the process.
    ///
    /// # Errors
    /// The kernel's refusal of a signal handler.
    pub(crate) fn new() -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&stop))?;
        }
        signal_hook::flag::register(SIGALRM, Arc::new(AtomicBool::new(false)))?;
        Ok(Self { stop })
    }

    /// Whether SIGINT or SIGTERM has arrived.
    pub(crate) fn requested(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Requests to stop, as a signal would.
    pub(crate) fn request(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Interrupts after `time`, and again every 10 ms: the first signal may come just before the system call
    /// that it is meant to end.
    ///
    /// # Errors
    /// A time of more than some decades.
    pub(crate) fn after(&self, time: Duration) -> io::Result<()> {
        set_timer(
            time.max(Duration::from_micros(1)),
            Duration::from_millis(10),
        )
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        // Disarming the timer cannot fail, and drop cannot return an error.
        let _ = set_timer(Duration::ZERO, Duration::ZERO);
    }
}

fn set_timer(first: Duration, then: Duration) -> io::Result<()> {
    let timer = libc::itimerval {
        it_value: timeval(first),
        it_interval: timeval(then),
    };
    // SAFETY: `timer` is a whole itimerval that lives through the call; the old value is not asked for.
    match unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()) } {
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
