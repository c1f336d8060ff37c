//! Spins while packets arrive, sleeps while none do.
#![allow(unsafe_code)] // poll(2), eventfd(2)

use std::{
    hint, io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use super::port::Port;

/// How a worker waits while it has no work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polling {
    /// Never sleep: lowest latency, one core at 100 %.
    Busy,
    /// Spin for some rounds, then sleep in poll(2) until a packet arrives, a [`Waker`] wakes the worker, or
    /// the timeout expires.
    Adaptive {
        /// Rounds without work before sleeping.
        idle_rounds: u32,
        /// Longest sleep in milliseconds; also the longest interval between heartbeats.
        timeout_ms: u16,
    },
}

impl Default for Polling {
    fn default() -> Self {
        Polling::Adaptive {
            idle_rounds: 256,
            timeout_ms: 100,
        }
    }
}

/// Waits on behalf of one worker.
#[derive(Debug)]
pub struct Waiter {
    polling: Polling,
    event: Arc<WakeEvent>,
    descriptors: Vec<libc::pollfd>,
    idle: u32,
    slept: Duration,
}

impl Waiter {
    /// Longest sleep while a port has unfinished frames, in milliseconds.
    const UNFINISHED_TIMEOUT_MS: i32 = 1;

    /// Creates the eventfd that [`Waker`]s signal.
    pub fn new(polling: Polling) -> io::Result<Self> {
        Ok(Waiter {
            polling,
            event: Arc::new(WakeEvent::new()?),
            descriptors: Vec::with_capacity(16),
            idle: 0,
            slept: Duration::ZERO,
        })
    }

    /// A handle with which other threads wake this worker.
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.event))
    }

    /// Time spent asleep since the start. The rest of the time the worker was busy or spinning.
    pub fn slept(&self) -> Duration {
        self.slept
    }

    /// Call once per round, after flushing the ports. Returns at once if the round `worked` (a packet or a
    /// message arrived), after a spin-loop hint if few rounds were idle, and otherwise when there is work or
    /// the timeout has expired. Returns true if it slept.
    #[inline]
    pub fn wait<'a>(
        &mut self,
        ports: impl IntoIterator<Item = &'a mut Port>,
        worked: bool,
    ) -> bool {
        if worked {
            self.idle = 0;
            return false;
        }
        match self.polling {
            Polling::Adaptive {
                idle_rounds,
                timeout_ms,
            } if self.idle >= idle_rounds => self.sleep(ports, timeout_ms),
            _ => {
                self.idle = self.idle.saturating_add(1);
                hint::spin_loop();
                false
            }
        }
    }

    #[cold]
    fn sleep<'a>(
        &mut self,
        ports: impl IntoIterator<Item = &'a mut Port>,
        timeout_ms: u16,
    ) -> bool {
        if !self.event.fall_asleep() {
            self.idle = 0;
            return false;
        }
        let mut timeout = i32::from(timeout_ms);
        self.descriptors.clear();
        self.descriptors.push(readable(self.event.fd.as_raw_fd()));
        for port in ports {
            self.descriptors.push(readable(port.fd()));
            if port.unfinished() {
                timeout = timeout.min(Self::UNFINISHED_TIMEOUT_MS);
            }
        }
        let before = Instant::now();
        // SAFETY: pointer and length are those of one vector of pollfd, which outlives the call.
        let ready = unsafe {
            libc::poll(
                self.descriptors.as_mut_ptr(),
                self.descriptors.len() as _,
                timeout,
            )
        };
        self.slept += before.elapsed();
        self.event.awake(self.descriptors[0].revents != 0);
        if ready > 0 {
            self.idle = 0;
        }
        true
    }
}

/// Wakes a worker. Call [`wake`](Self::wake) after putting a message where the worker checks for it.
#[derive(Debug, Clone)]
pub struct Waker(Arc<WakeEvent>);

impl Waker {
    /// Wakes the worker, or makes its next attempt to sleep return at once. Costs one atomic exchange while the
    /// worker is awake.
    #[inline]
    pub fn wake(&self) {
        self.0.signal();
    }
}

/// An eventfd that is only written to while a worker sleeps on it.
///
/// No message can be missed. The sender first stores the message and then sets `SIGNALED`. The worker checks
/// its messages after every return from [`Waiter::wait`], and only falls asleep from `AWAKE`. If `SIGNALED`
/// was set before, it does not sleep; if it is set after, the sender sees `ASLEEP` and writes to the eventfd,
/// which ends the poll.
#[derive(Debug)]
struct WakeEvent {
    state: AtomicU8,
    fd: OwnedFd,
}

const AWAKE: u8 = 0;
const ASLEEP: u8 = 1;
const SIGNALED: u8 = 2;

impl WakeEvent {
    fn new() -> io::Result<Self> {
        // SAFETY: takes two integers, returns a descriptor or -1.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was created just above, and nothing else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(WakeEvent {
            state: AtomicU8::new(AWAKE),
            fd,
        })
    }

    fn signal(&self) {
        if self.state.swap(SIGNALED, Ordering::AcqRel) == ASLEEP {
            let one = 1u64;
            // SAFETY: the kernel reads eight bytes from `one`, which has eight. The call fails only when
            // the counter is full, and then the worker wakes anyway.
            unsafe { libc::write(self.fd.as_raw_fd(), ptr::from_ref(&one).cast(), 8) };
        }
    }

    /// Returns false if it was signaled since the last sleep.
    fn fall_asleep(&self) -> bool {
        let free = self
            .state
            .compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire)
            .is_ok();
        if !free {
            self.state.swap(AWAKE, Ordering::AcqRel);
        }
        free
    }

    /// Ends a sleep. `readable`: poll reported the eventfd readable. That decides whether to drain it, not the
    /// state, because a sender may be between its exchange and its write: its write then ends a later sleep
    /// early, and is drained there.
    fn awake(&self, readable: bool) {
        self.state.swap(AWAKE, Ordering::AcqRel);
        if readable {
            let mut count = 0u64;
            // SAFETY: the kernel writes eight bytes to `count`, which has eight. The descriptor does not
            // block.
            unsafe { libc::read(self.fd.as_raw_fd(), ptr::from_mut(&mut count).cast(), 8) };
        }
    }
}

fn readable(fd: i32) -> libc::pollfd {
    libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;

    const PATIENT: Polling = Polling::Adaptive {
        idle_rounds: 0,
        timeout_ms: 60_000,
    };

    #[test]
    fn a_signal_before_the_sleep_is_not_missed() {
        let mut waiter = Waiter::new(PATIENT).unwrap();
        waiter.waker().wake();
        let before = Instant::now();
        assert!(!waiter.wait(&mut [], false));
        assert!(before.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn the_timeout_ends_a_sleep() {
        let mut waiter = Waiter::new(Polling::Adaptive {
            idle_rounds: 0,
            timeout_ms: 20,
        })
        .unwrap();
        assert!(waiter.wait(&mut [], false));
        assert!(waiter.slept() >= Duration::from_millis(19));
    }

    #[test]
    fn busy_mode_never_sleeps_and_work_restarts_the_idle_rounds() {
        let mut busy = Waiter::new(Polling::Busy).unwrap();
        assert!((0..10_000).all(|_| !busy.wait(&mut [], false)));

        let mut adaptive = Waiter::new(Polling::Adaptive {
            idle_rounds: 3,
            timeout_ms: 1,
        })
        .unwrap();
        let pattern = [false, false, true, false, false, false, false];
        let slept: Vec<bool> = pattern.map(|worked| adaptive.wait(&mut [], worked)).into();
        assert_eq!(slept, [false, false, false, false, false, false, true]);
    }

    /// The worker answers every message at once, although it would sleep for a minute: a lost wakeup would
    /// fail the test.
    #[test]
    fn no_message_waits_for_the_timeout() {
        let mut waiter = Waiter::new(PATIENT).unwrap();
        let waker = waiter.waker();
        let (question, questions) = mpsc::channel::<u32>();
        let (answer, answers) = mpsc::channel();
        let worker = thread::spawn(move || {
            loop {
                let mut worked = false;
                loop {
                    match questions.try_recv() {
                        Ok(number) => answer.send(number).unwrap(),
                        Err(mpsc::TryRecvError::Empty) => break,
                        Err(mpsc::TryRecvError::Disconnected) => return,
                    }
                    worked = true;
                }
                waiter.wait(&mut [], worked);
            }
        });
        for number in 0..20_000 {
            question.send(number).unwrap();
            waker.wake();
            assert_eq!(
                answers.recv_timeout(Duration::from_secs(20)).unwrap(),
                number
            );
        }
        drop(question);
        waker.wake();
        worker.join().unwrap();
    }
}
