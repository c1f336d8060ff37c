//! The event loop: begins connections when they are due and handles their events. One thread, one epoll instance.

use std::collections::VecDeque;
use std::num::NonZero;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::attempt::{Answer, Attempt, Origin};
use super::connect_options::Options;
use super::connection_report::Report;
use super::http_request::http_request;
use super::outcomes::{Failure, Record};
use super::schedule::Schedule;

use crate::interrupt::Interrupt;

/// Connections to begin, or events to handle, in one go.
const BATCH: usize = 64;
/// Longest sleep between two readings of the clock.
const AT_LEAST: Duration = Duration::from_millis(100);

/// Open connections.
pub(super) struct Dialer<'a> {
    options: &'a Options,
    request: Option<Vec<u8>>,
    start: Instant,
    schedule: Schedule,
    origin: Origin,
    epoll: OwnedFd,
    /// By file descriptor.
    attempts: Vec<Option<Attempt>>,
    running: usize,
    begun: u64,
    /// (deadline, number, file descriptor) of each connection begun; finished ones stay in the queue.
    deadlines: VecDeque<(Duration, u64, usize)>,
    record: Record,
}

impl<'a> Dialer<'a> {
    /// Ready to begin.
    ///
    /// # Errors
    /// The kernel refuses an epoll instance.
    pub(super) fn new(options: &'a Options) -> Result<Self> {
        // By default the kernel may fire a timer 50 µs late (PR_SET_TIMERSLACK).
        rustix::thread::set_current_timer_slack(NonZero::new(1))?;
        Ok(Self {
            options,
            request: options.data.map(http_request),
            start: Instant::now(),
            schedule: options.schedule(),
            origin: Origin::new(options.source_ports.clone(), options.close),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            attempts: Vec::new(),
            running: 0,
            begun: 0,
            deadlines: VecDeque::new(),
            record: Record::new()?,
        })
    }

    /// Makes all connections, and waits until each has finished or was abandoned.
    ///
    /// # Errors
    /// The kernel reports no events.
    pub(super) fn run(mut self, interrupt: &Interrupt) -> Result<Report> {
        let mut events = Vec::with_capacity(4 * BATCH);
        self.start = Instant::now();
        while !interrupt.requested() {
            let now = self.now();
            self.give_up(now);
            self.begin()?;
            if self.running == 0 && self.schedule.over(self.now()) {
                break;
            }
            self.wait()?;
            events.clear();
            match epoll::wait(
                &self.epoll,
                spare_capacity(&mut events),
                Some(&Timespec::default()),
            ) {
                Ok(_) | Err(Errno::INTR) => (),
                Err(error) => return Err(error).context("waiting for connections failed"),
            }
            for event in &events {
                self.handle_event(event.data.u64() as usize, event.flags);
            }
        }
        let time = self.now();
        Ok(self.record.report(time))
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Begins the connections that are due.
    fn begin(&mut self) -> Result<()> {
        for _ in 0..BATCH {
            let now = self.now();
            let Some(intended) = self.schedule.take(now, self.running) else {
                break;
            };
            self.connect_one(intended, now)?;
        }
        Ok(())
    }

    fn connect_one(&mut self, intended: Duration, begun: Duration) -> Result<()> {
        let number = self.begun;
        self.begun += 1;
        self.record.begun(begun.saturating_sub(intended));
        let target = self.options.targets[number as usize % self.options.targets.len()];
        let socket = match self.origin.connect(target) {
            Ok(socket) => socket,
            Err(failure) => {
                self.record.failed(&failure, 1);
                return Ok(());
            }
        };
        let descriptor = socket.as_raw_fd() as usize;
        // Registered only after connect(): epoll reports EPOLLHUP for a socket before it.
        let interest = EventFlags::OUT | EventFlags::IN | EventFlags::ET;
        let data = epoll::EventData::new_u64(descriptor as u64);
        epoll::add(&self.epoll, &socket, data, interest)
            .context("watching a connection failed: fs.epoll.max_user_watches may be too low")?;
        if self.attempts.len() <= descriptor {
            self.attempts.resize_with(descriptor + 1, || None);
        }
        self.attempts[descriptor] = Some(Attempt {
            socket,
            number,
            intended,
            begun,
            asked: false,
        });
        self.running += 1;
        let deadline = begun.saturating_add(self.options.patience);
        self.deadlines.push_back((deadline, number, descriptor));
        Ok(())
    }

    /// Sleeps until something happens or is due.
    fn wait(&self) -> Result<()> {
        let now = self.now();
        let due = self.schedule.next().unwrap_or(Duration::MAX);
        let given_up = self
            .deadlines
            .front()
            .map_or(Duration::MAX, |first| first.0);
        let time = due.min(given_up).saturating_sub(now).min(AT_LEAST);
        if time.is_zero() {
            return Ok(());
        }
        let time = Timespec {
            tv_sec: time.as_secs() as _,
            tv_nsec: time.subsec_nanos().into(),
        };
        // In older kernels, epoll_wait has a resolution of milliseconds.
        match poll(&mut [PollFd::new(&self.epoll, PollFlags::IN)], Some(&time)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("waiting for connections failed"),
        }
    }

    /// Handles an event of a connection.
    fn handle_event(&mut self, descriptor: usize, flags: EventFlags) {
        let now = self.now();
        let Some(attempt) = self.attempts.get_mut(descriptor).and_then(Option::as_mut) else {
            return;
        };
        if !attempt.asked {
            if !flags.intersects(EventFlags::OUT | EventFlags::ERR | EventFlags::HUP) {
                return;
            }
            if let Err(failure) = attempt.connected() {
                return self.end(descriptor, Some(&failure));
            }
            self.record
                .connected(now - attempt.intended, now - attempt.begun);
            let Some(request) = &self.request else {
                return self.end(descriptor, None);
            };
            if let Err(failure) = attempt.send_request(request) {
                self.end(descriptor, Some(&failure));
            }
            return;
        }
        match attempt.answer() {
            Answer::Here => {
                self.record.answered(now - attempt.intended);
                self.end(descriptor, None);
            }
            Answer::NotYet => (),
            Answer::Failed(failure) => self.end(descriptor, Some(&failure)),
        }
    }

    /// Closes a connection, which also removes it from epoll.
    fn end(&mut self, descriptor: usize, failure: Option<&Failure>) {
        self.attempts[descriptor] = None;
        self.running -= 1;
        if let Some(failure) = failure {
            self.record.failed(failure, 1);
        }
    }

    /// Abandons connections that have taken too long, and those that are long overdue.
    fn give_up(&mut self, now: Duration) {
        let never_begun = self.schedule.abandon(now, self.options.patience);
        self.record.failed(&Failure::NeverBegun, never_begun);
        while let Some(&(deadline, number, descriptor)) = self.deadlines.front() {
            let running = self.attempts[descriptor]
                .as_ref()
                .filter(|attempt| attempt.number == number);
            match running {
                Some(_) if deadline > now => break,
                Some(attempt) if attempt.asked => {
                    self.end(descriptor, Some(&Failure::GaveUpWaiting));
                }
                Some(_) => self.end(descriptor, Some(&Failure::GaveUpConnecting)),
                None => (),
            }
            self.deadlines.pop_front();
        }
    }
}
