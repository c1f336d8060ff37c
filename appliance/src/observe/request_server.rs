//! A thread that answers one request per connection, on many connections at a time.
//!
//! Connections, request length and the time of a client are bounded. A client that sends nothing, or does not read, does not
//! delay others: every connection is accepted, and if there are too many, the one that has been idle longest is closed.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{Shutdown, shutdown};

use crate::confinement::{Directories, ThreadKind, confine_thread};

/// Maximum number of open connections. For a further one the longest idle is closed.
const MAX_CONNECTIONS: usize = 32;
/// Maximum length of a request, bytes.
const MAX_REQUEST: usize = 8 * 1024;
/// Timeout of a client for sending its request, for reading the next part of the answer, and for closing.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(2);
/// Timeout of a whole connection, for a client that reads its answer ever so slowly.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes that are read from a client after the answer, so that the kernel does not discard the answer.
const MAX_DISCARDED: usize = 256 * 1024;
/// Pause after accept(2) failed, for example because there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The format of requests, and their answers.
pub(super) trait Protocol: Send + 'static {
    /// The answer to a request; `None` if the request is incomplete. `more` is false when the client stopped sending or
    /// sent too much; without an answer the connection then ends.
    fn answer(&mut self, received: &[u8], more: bool) -> Option<Vec<u8>>;
}

/// A listening socket.
pub(super) trait Listener: AsFd + Send + 'static {
    /// A connection.
    type Stream: Read + Write + AsFd;
    /// Accepts the next connection, in non-blocking mode.
    fn accept_nonblocking(&self) -> io::Result<Self::Stream>;
    /// Sets the listener to non-blocking mode.
    fn set_nonblocking(&self) -> io::Result<()>;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    fn accept_nonblocking(&self) -> io::Result<TcpStream> {
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

    fn accept_nonblocking(&self) -> io::Result<UnixStream> {
        let (stream, _) = self.accept()?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    }

    fn set_nonblocking(&self) -> io::Result<()> {
        UnixListener::set_nonblocking(self, true)
    }
}

/// The running thread. Dropping it closes all connections and joins the thread, which takes no longer than one answer.
#[derive(Debug)]
pub(super) struct RequestServer {
    /// Closing it wakes the thread.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl RequestServer {
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
            .spawn(move || {
                confine_thread(ThreadKind::Server, &Directories::default());
                serve(&listener, protocol, &stopped);
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for RequestServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

fn serve<L: Listener>(listener: &L, mut protocol: impl Protocol, stopped: &UnixStream) {
    let mut connections: Vec<Connection<L::Stream>> = Vec::new();
    let mut paused_until = None;
    loop {
        let now = Instant::now();
        connections.retain(|connection| connection.deadline > now);
        paused_until = paused_until.filter(|until| *until > now);
        let accepting = paused_until.is_none();

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
            .chain(paused_until)
            .min();
        match poll(&mut fds, wake.map(|at| time_left(at, now)).as_ref()) {
            Ok(_) if fds.first().is_some_and(|stop| !stop.revents().is_empty()) => return,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            // ENOMEM: retried after a pause.
            Err(_) => thread::sleep(ACCEPT_PAUSE),
        }

        connections.retain_mut(|connection| connection.advance(&mut protocol));
        if accepting {
            match listener.accept_nonblocking() {
                Ok(stream) => {
                    close_longest_idle(&mut connections);
                    let mut connection = Connection::new(stream);
                    // The request has often arrived already.
                    if connection.advance(&mut protocol) {
                        connections.push(connection);
                    }
                }
                Err(error) if is_transient(&error) => {}
                Err(_) => paused_until = Some(Instant::now() + ACCEPT_PAUSE),
            }
        }
    }
}

/// Makes room for another connection. Those that have not sent their request go first, then those that only wait for the
/// client to close.
fn close_longest_idle<S>(connections: &mut Vec<Connection<S>>) {
    if connections.len() < MAX_CONNECTIONS {
        return;
    }
    let idle = connections.iter().enumerate().min_by_key(|(_, one)| {
        let order = match one.step {
            Step::Read(_) => 0,
            Step::Finish(_) => 1,
            Step::Write(..) => 2,
        };
        (order, one.deadline)
    });
    if let Some((place, _)) = idle {
        connections.swap_remove(place);
    }
}

/// The time left, rounded up so that poll does not return just before the deadline.
fn time_left(at: Instant, now: Instant) -> Timespec {
    let left = at.saturating_duration_since(now) + Duration::from_millis(1);
    Timespec {
        tv_sec: left.as_secs() as i64,
        tv_nsec: left.subsec_nanos().into(),
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted
    )
}

struct Connection<S> {
    stream: S,
    step: Step,
    /// End of the step, at most that of the connection.
    deadline: Instant,
    end: Instant,
}

enum Step {
    /// The request received so far.
    Read(Vec<u8>),
    /// The answer, and how many bytes of it the kernel has accepted.
    Write(Vec<u8>, usize),
    /// Waits for the client to close first: closing a socket with unread bytes sends RST and discards the answer. Counts the
    /// bytes that the client has sent meanwhile.
    Finish(usize),
}

impl<S: Read + Write + AsFd> Connection<S> {
    fn new(stream: S) -> Self {
        let now = Instant::now();
        Self {
            stream,
            step: Step::Read(Vec::new()),
            deadline: now + CLIENT_TIMEOUT,
            end: now + TOTAL_TIMEOUT,
        }
    }

    fn interest(&self) -> PollFd<'_> {
        let flags = match self.step {
            Step::Write(..) => PollFlags::OUT,
            Step::Read(_) | Step::Finish(_) => PollFlags::IN,
        };
        PollFd::new(&self.stream, flags)
    }

    /// Advances as far as possible without blocking; false when the connection has ended.
    fn advance(&mut self, protocol: &mut impl Protocol) -> bool {
        loop {
            match self.next(protocol) {
                Ok(Some(step)) => {
                    self.step = step;
                    self.deadline = (Instant::now() + CLIENT_TIMEOUT).min(self.end);
                }
                Ok(None) => return false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }

    /// The next step; `None` = the end.
    fn next(&mut self, protocol: &mut impl Protocol) -> io::Result<Option<Step>> {
        let mut chunk = [0; 4096];
        match &mut self.step {
            Step::Read(request) => loop {
                let count = self.stream.read(&mut chunk)?;
                let room = MAX_REQUEST - request.len();
                request.extend_from_slice(&chunk[..count.min(room)]);
                let more = count > 0 && request.len() < MAX_REQUEST;
                if has_closed(&self.stream) {
                    // Nobody waits for the answer: the client has already reported that there is none.
                    return Ok(None);
                }
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
                    self.deadline = (Instant::now() + CLIENT_TIMEOUT).min(self.end);
                }
                shutdown(&self.stream, Shutdown::Write)?;
                Ok(Some(Step::Finish(0)))
            }
            Step::Finish(discarded) => {
                while *discarded < MAX_DISCARDED {
                    match self.stream.read(&mut chunk)? {
                        0 => break,
                        count => *discarded += count,
                    }
                }
                Ok(None)
            }
        }
    }
}

/// Whether the client has closed the connection. One that has only sent everything still reads.
fn has_closed(stream: &impl AsFd) -> bool {
    let mut fds = [PollFd::new(stream, PollFlags::empty())];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().contains(PollFlags::HUP)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Answers with all requests so far.
    struct Log(Vec<u8>);

    impl Protocol for Log {
        fn answer(&mut self, received: &[u8], more: bool) -> Option<Vec<u8>> {
            (!more).then(|| {
                self.0.extend(received);
                self.0.clone()
            })
        }
    }

    /// A frozen process is continued: its clients have given up, and have reported that nothing was done.
    #[test]
    fn a_request_whose_client_has_gone_is_not_carried_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let ask = |text: &[u8]| {
            let mut client = UnixStream::connect(&path).unwrap();
            client.write_all(text).unwrap();
            client.shutdown(std::net::Shutdown::Write).unwrap();
            client
        };
        drop(ask(b"gone "));
        let _server = RequestServer::start("test", listener, Log(Vec::new())).unwrap();
        let mut answer = String::new();
        ask(b"here").read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "here");
    }
}
