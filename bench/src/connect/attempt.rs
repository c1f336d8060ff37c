//! One connection: a socket, and when it was due.

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::connect_options::Close;
use super::outcomes::Failure;

/// An open connection. All times are since the start of the run.
pub(super) struct Attempt {
    pub(super) socket: Socket,
    /// Distinguishes it from earlier connections with the same file descriptor.
    pub(super) number: u64,
    pub(super) intended: Duration,
    /// When its SYN was sent.
    pub(super) begun: Duration,
    /// Established, and its request sent.
    pub(super) asked: bool,
}

/// State of a connection's answer.
pub(super) enum Answer {
    Here,
    NotYet,
    Failed(Failure),
}

impl Attempt {
    /// The result of the handshake, once the socket is writable or has an error.
    pub(super) fn connected(&self) -> Result<(), Failure> {
        match self.socket.take_error() {
            Ok(None) => Ok(()),
            Ok(Some(error)) | Err(error) => Err(Failure::Connect(error)),
        }
    }

    /// Sends the request, which fits any send buffer.
    pub(super) fn send_request(&mut self, request: &[u8]) -> Result<(), Failure> {
        self.asked = true;
        match self.socket.send(request) {
            Ok(sent) if sent == request.len() => Ok(()),
            Ok(_) => Err(Failure::Answer(io::ErrorKind::WriteZero.into())),
            Err(error) => Err(Failure::Answer(error)),
        }
    }

    /// Polls for the first byte of the answer.
    pub(super) fn answer(&self) -> Answer {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        match self.socket.recv(&mut buffer) {
            Ok(0) => Answer::Failed(Failure::NoAnswer),
            Ok(_) => Answer::Here,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Answer::NotYet,
            Err(error) => Answer::Failed(Failure::Answer(error)),
        }
    }
}

/// Source of connections.
pub(super) struct Origin {
    ports: Option<RangeInclusive<u16>>,
    next: u16,
    close: Close,
}

/// Taken ports in a row before a connection is abandoned: searching delays the connections after it.
const TAKEN_IN_A_ROW: usize = 64;

impl Origin {
    pub(super) fn new(ports: Option<RangeInclusive<u16>>, close: Close) -> Self {
        Self {
            next: ports.as_ref().map_or(0, |ports| *ports.start()),
            ports,
            close,
        }
    }

    /// A socket whose SYN to `target` has been sent.
    pub(super) fn connect(&mut self, target: SocketAddr) -> Result<Socket, Failure> {
        let tries = match &self.ports {
            Some(ports) => ports.len().min(TAKEN_IN_A_ROW),
            None => 1,
        };
        let mut last = io::Error::from_raw_os_error(libc::EADDRNOTAVAIL);
        for _ in 0..tries {
            match self.try_connect(target) {
                Err(error) if port_is_taken(&error) => last = error,
                other => return other.map_err(Failure::Connect),
            }
        }
        Err(Failure::Connect(last))
    }

    fn try_connect(&mut self, target: SocketAddr) -> io::Result<Socket> {
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::for_address(target), kind, Some(Protocol::TCP))?;
        if self.close == Close::Rst {
            socket.set_linger(Some(Duration::ZERO))?;
        }
        if let Some(port) = self.port() {
            // A port whose last connection is in TIME_WAIT, or goes to another target, is free.
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddr::new(unspecified(target), port).into())?;
        }
        match socket.connect(&target.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
            _ => Ok(socket),
        }
    }

    fn port(&mut self) -> Option<u16> {
        let ports = self.ports.as_ref()?;
        let port = self.next;
        self.next = match port == *ports.end() {
            true => *ports.start(),
            false => port + 1,
        };
        Some(port)
    }
}

fn port_is_taken(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EADDRINUSE | libc::EADDRNOTAVAIL)
    )
}

fn unspecified(target: SocketAddr) -> IpAddr {
    match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn ports_come_in_turn_and_again() {
        let mut origin = Origin::new(Some(65533..=65535), Close::Rst);
        let taken: Vec<_> = std::iter::from_fn(|| origin.port()).take(5).collect();
        assert_eq!(taken, [65533, 65534, 65535, 65533, 65534]);
        assert_eq!(Origin::new(None, Close::Rst).port(), None);
    }

    #[test]
    fn a_taken_port_is_passed_over() {
        let target = TcpListener::bind("127.0.0.1:0").unwrap();
        // Taken by a listener, which does not share its port; the next one is free at this moment.
        let (other, next) = std::iter::repeat_with(|| TcpListener::bind("0.0.0.0:0").unwrap())
            .find_map(|other| {
                let next = other.local_addr().unwrap().port().checked_add(1)?;
                TcpListener::bind(("0.0.0.0", next)).ok()?;
                Some((other, next))
            })
            .unwrap();
        let taken = other.local_addr().unwrap().port();
        let mut origin = Origin::new(Some(taken..=next), Close::Rst);
        let socket = origin.connect(target.local_addr().unwrap()).unwrap();
        assert_eq!(
            socket
                .local_addr()
                .unwrap()
                .as_socket()
                .map(|own| own.port()),
            Some(next)
        );
        let mut none = Origin::new(Some(taken..=taken), Close::Rst);
        let refused = none.connect(target.local_addr().unwrap());
        assert_eq!(refused.unwrap_err().to_string(), "connect: EADDRINUSE");
    }
}
