//! A thread that answers one request a connection, for many connections at a time.
//!
//! Everything is bounded: connections, bytes of a request, the time that a client may take. A client that sends
//! nothing, or does not read, costs a slot for some seconds and delays nobody else.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{Shutdown, shutdown};

/// Connections at a time; more wait in the kernel's backlog.
const CONNECTIONS: usize = 32;
/// The longest request, bytes.
const REQUEST: usize = 8 * 1024;
/// How long a client may take to send its request, to take the next piece of the answer, or to hang up.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes that are still read from a client after the answer, so that it gets that.
const REMAINS: usize = 256 * 1024;
/// How long nothing is accepted after accepting failed, for want of file descriptors for instance.
const REST: Duration = Duration::from_millis(100);

/// What requests look like, and what is answered.
pub(super) trait Protocol: Send + 'static {
    /// The answer to a request, or `None` if it is not complete. No answer although nothing `more` will come, because
    /// the client stopped sending or sent too much, ends the connection.
    fn answer(&mut self, received: &[u8], more: bool) -> Option<Vec<u8>>;
}

/// Where connections come from.
pub(super) trait Listener: AsFd + Send + 'static {
    /// A connection.
    type Stream: Read + Write + AsFd;
    /// Takes the next connection, which does not block.
    fn take(&self) -> io::Result<Self::Stream>;
    /// Makes [`Self::take`] not block.
    fn set_nonblocking(&self) -> io::Result<()>;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    fn take(&self) -> io::Result<TcpStream> {
        let (stream, _) = self.accept()?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    }

    fn set_nonblocking(&self) -> io::Result<()> {
        TcpListener::set_nonblocking(self, true)
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    fn take(&self) -> io::Result<UnixStream> {
        let (stream, _) = self.accept()?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    }

    fn set_nonblocking(&self) -> io::Result<()> {
        UnixListener::set_nonblocking(self, true)
    }
}

/// The running thread. Dropping it hangs up on everybody and waits for the thread, which takes no longer than one
/// answer.
#[derive(Debug)]
pub(super) struct Exchange {
    /// Closing it ends the thread's wait.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Exchange {
    /// Starts a thread of this name.
    pub(super) fn start(
        name: &str,
        listener: impl Listener,
        protocol: impl Protocol,
    ) -> io::Result<Self> {
        listener.set_nonblocking()?;
        let (stop, stopped) = UnixStream::pair()?;
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || serve(&listener, protocol, &stopped))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic was reported when it happened.
            let _ = thread.join();
        }
    }
}

fn serve<L: Listener>(listener: &L, mut protocol: impl Protocol, stopped: &UnixStream) {
    let mut connections: Vec<Connection<L::Stream>> = Vec::new();
    let mut rest_until = None;
    loop {
        let now = Instant::now();
        connections.retain(|connection| connection.deadline > now);
        rest_until = rest_until.filter(|until| *until > now);
        let accepting = rest_until.is_none() && connections.len() < CONNECTIONS;

        let mut fds = vec![
            PollFd::new(stopped, PollFlags::IN),
            PollFd::new(listener, PollFlags::IN),
        ];
        fds.extend(connections.iter().map(Connection::interest));
        if !accepting {
            fds.swap_remove(1);
        }
        let wake = connections
            .iter()
            .map(|connection| connection.deadline)
            .chain(rest_until)
            .min();
        match poll(&mut fds, wake.map(|at| until(at, now)).as_ref()) {
            Ok(_) if fds.first().is_some_and(|stop| !stop.revents().is_empty()) => return,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            // ENOMEM: nothing can be done about it here.
            Err(_) => thread::sleep(REST),
        }

        connections.retain_mut(|connection| connection.advance(&mut protocol));
        if accepting {
            match listener.take() {
                Ok(stream) => connections.push(Connection::new(stream)),
                Err(error) if passes(&error) => {}
                Err(_) => rest_until = Some(Instant::now() + REST),
            }
        }
    }
}

/// Rounded up, so that the wait does not end just before.
fn until(at: Instant, now: Instant) -> Timespec {
    let left = at.saturating_duration_since(now) + Duration::from_millis(1);
    Timespec {
        tv_sec: left.as_secs() as i64,
        tv_nsec: left.subsec_nanos().into(),
    }
}

fn passes(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted
    )
}

struct Connection<S> {
    stream: S,
    step: Step,
    deadline: Instant,
}

enum Step {
    /// The request, as far as it has come.
    Read(Vec<u8>),
    /// The answer, and how much of it the kernel has.
    Write(Vec<u8>, usize),
    /// The client should hang up first, as closing a socket with unread bytes would take back the answer; and how many
    /// bytes it has sent meanwhile.
    Finish(usize),
}

impl<S: Read + Write + AsFd> Connection<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            step: Step::Read(Vec::new()),
            deadline: Instant::now() + PATIENCE,
        }
    }

    fn interest(&self) -> PollFd<'_> {
        let flags = match self.step {
            Step::Write(..) => PollFlags::OUT,
            Step::Read(_) | Step::Finish(_) => PollFlags::IN,
        };
        PollFd::new(&self.stream, flags)
    }

    /// Goes on as far as possible without waiting; false when it is over.
    fn advance(&mut self, protocol: &mut impl Protocol) -> bool {
        loop {
            match self.next(protocol) {
                Ok(Some(step)) => {
                    self.step = step;
                    self.deadline = Instant::now() + PATIENCE;
                }
                Ok(None) => return false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }

    /// The step that follows this one; `None`: the end.
    fn next(&mut self, protocol: &mut impl Protocol) -> io::Result<Option<Step>> {
        let mut chunk = [0; 4096];
        match &mut self.step {
            Step::Read(request) => loop {
                let count = self.stream.read(&mut chunk)?;
                let room = REQUEST - request.len();
                request.extend_from_slice(&chunk[..count.min(room)]);
                let more = count > 0 && request.len() < REQUEST;
                if let Some(answer) = protocol.answer(request, more) {
                    return Ok(Some(Step::Write(answer, 0)));
                }
                if !more {
                    return Ok(None);
                }
            },
            Step::Write(answer, sent) => {
                while *sent < answer.len() {
                    match self.stream.write(&answer[*sent..])? {
                        0 => return Ok(None),
                        count => *sent += count,
                    }
                    self.deadline = Instant::now() + PATIENCE;
                }
                shutdown(&self.stream, Shutdown::Write)?;
                Ok(Some(Step::Finish(0)))
            }
            Step::Finish(remains) => {
                while *remains < REMAINS {
                    match self.stream.read(&mut chunk)? {
                        0 => break,
                        count => *remains += count,
                    }
                }
                Ok(None)
            }
        }
    }
}
