//! Whether the clock of this machine is synchronized (adjtimex(2)).
#![allow(unsafe_code)] // adjtimex(2)

use std::io;
use std::time::Duration;

/// The state of the system's clock, as the kernel knows it from the daemon that adjusts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockState {
    /// Whether a daemon has declared it synchronized.
    pub synchronized: bool,
    /// The greatest error. Grows while nobody adjusts the clock.
    pub max_error: Duration,
}

/// Reads the state. Changes nothing, and needs no privilege.
///
/// # Errors
/// The kernel refuses it.
pub fn clock_state() -> io::Result<ClockState> {
    // SAFETY: `timex` consists of integers. Zero is a valid value of each, and `modes` 0 only reads.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `state` is a live timex; the kernel does not keep the pointer.
    let code = unsafe { libc::adjtimex(&raw mut state) };
    if code < 0 {
        return Err(io::Error::last_os_error());
    }
    let max_error = u64::try_from(state.maxerror).unwrap_or(0);
    Ok(ClockState {
        synchronized: state.status & libc::STA_UNSYNC == 0,
        max_error: Duration::from_micros(max_error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_can_be_read() {
        assert!(clock_state().is_ok());
    }
}
