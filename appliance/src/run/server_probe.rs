//! Probes the TCP options of servers: sends a SYN with all options and reads the SYN-ACK, without a connection.
//!
//! The kernel has no socket for the SYN-ACK and answers it with a RST (RFC 9293 §3.10.7.1). The server holds a half-open
//! connection for one round trip, and its application sees nothing.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use synward_core::client_options::ClientOptions;
use synward_core::generated_segment::{HandshakeOptions, Segment};
use synward_core::wire::Address;
use synward_core::wire::tcp::{Repr, flags};

use crate::engine::Received;
use crate::engine::server_syn_ack::{Requested, ServerSynAck};

/// Maximum number of servers per probe.
pub const MAX_PROBES: usize = 256;

const IPPROTO_RAW: i32 = 255;

/// Every option that a client can send: those of a probe.
pub const EVERYTHING: Requested = Requested {
    options: ClientOptions {
        mss: 1460,
        window_scale: Some(7),
        sack: true,
        ecn: true,
    },
    timestamps: true,
};

/// What a server answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Its SYN-ACK.
    SynAck(ServerSynAck),
    /// A RST: nobody listens on the port.
    Reset,
}

/// How long a thread that runs too late waits for what is on its way on the loopback interface.
const ON_ITS_WAY: Duration = Duration::from_millis(1);
/// How many segments are read then: more than a socket holds, and an end if others send all the time.
const MOST_LATE: u32 = 4096;

/// Probes `servers` and waits at most `patience` for all of them. The result contains those that answered.
///
/// # Errors
/// Raw sockets cannot be opened: CAP_NET_RAW is missing.
pub fn probe_servers(
    servers: &[SocketAddr],
    patience: Duration,
) -> io::Result<Vec<(SocketAddr, Answer)>> {
    let mut answers = Vec::new();
    for v4 in [true, false] {
        let group: Vec<_> = servers
            .iter()
            .copied()
            .filter(|to| to.is_ipv4() == v4)
            .take(MAX_PROBES)
            .collect();
        if !group.is_empty() {
            answers.extend(probe_family(&group, v4, patience)?);
        }
    }
    Ok(answers)
}

fn probe_family(
    servers: &[SocketAddr],
    v4: bool,
    patience: Duration,
) -> io::Result<Vec<(SocketAddr, Answer)>> {
    let domain = if v4 { Domain::IPV4 } else { Domain::IPV6 };
    let out = Socket::new(domain, Type::RAW, Some(Protocol::from(IPPROTO_RAW)))?;
    if v4 {
        out.set_header_included_v4(true)?;
    } else {
        out.set_header_included_v6(true)?;
    }
    let back = Socket::new(domain, Type::RAW, Some(Protocol::TCP))?;
    back.set_recv_buffer_size(1 << 20)?;
    // Still a raw socket; the type `UdpSocket` offers a safe recvfrom(2).
    let back = UdpSocket::from(back);

    let mut random = [0; 5];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let [port, isn @ ..] = random;
    let port = 40000 + u16::from(port);
    // An answer acknowledges it, so that one from a forged address cannot be made blindly.
    let isn = u32::from_ne_bytes(isn);
    let mut waiting: Vec<_> = servers
        .iter()
        .filter_map(|to| syn(*to, port, isn))
        .collect();
    for (to, segment) in &waiting {
        let mut packet = [0u8; 128];
        if let Some(length) = segment.emit(&mut packet, &[]) {
            // An unreachable server does not answer.
            let _ = out.send_to(
                &packet[..length],
                &SockAddr::from(SocketAddr::new(to.ip(), 0)),
            );
        }
    }

    let mut answers = Vec::new();
    let mut until = Instant::now() + patience;
    let mut bytes = [0u8; 2048];
    // What has come in time is read, however late this thread runs.
    let (mut is_over, mut late) = (false, 0);
    while !waiting.is_empty() && late < MOST_LATE {
        let now = Instant::now();
        if !is_over && now >= until {
            is_over = true;
            until = now + ON_ITS_WAY;
        }
        let left = until.saturating_duration_since(now);
        if left.is_zero() {
            // Only what is there: the socket gets the segments of others, too, which may come all the time.
            late += 1;
            back.set_nonblocking(true)?;
        } else {
            back.set_read_timeout(Some(left))?;
        }
        let Ok((length, from)) = back.recv_from(&mut bytes) else {
            break;
        };
        let segment = &bytes[..length];
        let segment = if v4 {
            skip_header(segment)
        } else {
            Some(segment)
        };
        let Some(segment) = segment.and_then(|segment| {
            Received::parse_segment(from.ip().into(), Address::default(), segment)
        }) else {
            continue;
        };
        if segment.destination_port != port || segment.acknowledgement != isn.wrapping_add(1) {
            continue;
        }
        let Some(answer) = answer(&segment) else {
            continue;
        };
        let Some(at) = waiting
            .iter()
            .position(|(to, _)| to.ip() == from.ip() && to.port() == segment.source_port)
        else {
            continue;
        };
        let (to, _) = waiting.swap_remove(at);
        answers.push((to, answer));
    }
    Ok(answers)
}

/// What a segment answers to a SYN (RFC 9293 §3.10.7.3).
fn answer(segment: &Received<'_>) -> Option<Answer> {
    match segment.flags & (flags::SYN | flags::ACK | flags::RST) {
        kind if kind == flags::SYN | flags::ACK => {
            Some(Answer::SynAck(ServerSynAck::read(segment)))
        }
        kind if kind == flags::RST | flags::ACK => Some(Answer::Reset),
        _ => None,
    }
}

fn skip_header(packet: &[u8]) -> Option<&[u8]> {
    packet.get(usize::from(packet.first()? & 0xf) * 4..)
}

fn syn(to: SocketAddr, port: u16, isn: u32) -> Option<(SocketAddr, Segment)> {
    let (options, words) = HandshakeOptions {
        mss: 1460,
        sack: true,
        times: Some((1, 0)),
        scale: Some(7),
    }
    .words();
    let from = local_address(to)?;
    let tcp = Repr {
        source: port,
        destination: to.port(),
        sequence: isn,
        acknowledgement: 0,
        flags: flags::SYN | flags::ECE | flags::CWR,
        window: u16::MAX,
        options: words * 4,
    };
    let segment = Segment {
        source: from.into(),
        destination: to.ip().into(),
        tcp,
        options,
    };
    Some((to, segment))
}

/// The source address that the kernel selects for `to`. Sends nothing.
fn local_address(to: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = if to.is_ipv4() {
        ([0; 4], 0).into()
    } else {
        ([0u16; 8], 0).into()
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(to).ok()?;
    socket.local_addr().ok().map(|local| local.ip())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::thread;

    use super::*;

    /// As on a machine that stopped until the patience was over. The loopback interface delivers an answer at once.
    #[test]
    fn what_has_come_is_read_however_late() {
        if !rustix::process::geteuid().is_root() {
            let _ = io::Write::write_all(&mut io::stderr(), b"SKIPPED: a test that needs root\n");
            return;
        }
        for local in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(local).expect("a port");
            let open = listener.local_addr().expect("an address");
            let answers = probe_servers(&[open], Duration::ZERO).expect("raw sockets");
            assert!(
                matches!(answers[..], [(_, Answer::SynAck(_))]),
                "{answers:?}"
            );
        }
    }

    /// A raw socket gets the segments of all connections. The control thread has its lock while it probes.
    #[test]
    fn what_others_send_does_not_prolong_a_probe() {
        if !rustix::process::geteuid().is_root() {
            let _ = io::Write::write_all(&mut io::stderr(), b"SKIPPED: a test that needs root\n");
            return;
        }
        for (domain, local) in [(Domain::IPV4, "127.0.0.1:0"), (Domain::IPV6, "[::1]:0")] {
            let local: SocketAddr = local.parse().expect("an address");
            let listener = Socket::new(domain, Type::STREAM, None).expect("a socket");
            listener.bind(&SockAddr::from(local)).expect("a port");
            listener.listen(0).expect("a listener");
            let bound = listener.local_addr().expect("an address");
            let silent = bound.as_socket().expect("an IP address");
            // A listener whose queue is full answers nobody.
            let wait = Duration::from_millis(200);
            let full: Vec<_> = (0..100)
                .map_while(|_| TcpStream::connect_timeout(&silent, wait).ok())
                .collect();
            assert!((1..100).contains(&full.len()), "{}", full.len());

            let others = Socket::new(domain, Type::RAW, Some(Protocol::TCP)).expect("raw sockets");
            let to = SockAddr::from(local);
            let has_ended = AtomicBool::new(false);
            let (answers, is_quick) = thread::scope(|scope| {
                scope.spawn(|| {
                    while !has_ended.load(Relaxed) {
                        // The kernel drops it: its checksum is wrong.
                        let _ = others.send_to(&[0; 20], &to);
                        thread::sleep(Duration::from_micros(400));
                    }
                });
                let mut answers = Vec::new();
                // A machine that stops for a moment prolongs some.
                let is_quick = (0..5).any(|_| {
                    let began = Instant::now();
                    answers.push(probe_servers(&[silent], Duration::from_millis(200)));
                    began.elapsed() < Duration::from_secs(1)
                });
                has_ended.store(true, Relaxed);
                (answers, is_quick)
            });
            for answers in answers {
                let answers = answers.expect("raw sockets");
                assert!(answers.is_empty(), "{answers:?}");
            }
            assert!(is_quick, "each probe took a second or more");
        }
    }

    /// Otherwise the probe of each family takes its whole patience.
    #[test]
    fn a_server_that_refuses_is_not_waited_for() {
        if !rustix::process::geteuid().is_root() {
            let _ = io::Write::write_all(&mut io::stderr(), b"SKIPPED: a test that needs root\n");
            return;
        }
        const PATIENCE: Duration = Duration::from_secs(20);
        for local in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(local).expect("a port");
            let open = listener.local_addr().expect("an address");
            let closed = TcpListener::bind(local)
                .and_then(|gone| gone.local_addr())
                .expect("a port");
            let began = Instant::now();
            let answers = probe_servers(&[open, closed], PATIENCE).expect("raw sockets");
            let of = |server| answers.iter().find(|(to, _)| *to == server);
            assert!(
                matches!(of(open), Some((_, Answer::SynAck(_)))),
                "{answers:?}"
            );
            assert_eq!(of(closed), Some(&(closed, Answer::Reset)), "{answers:?}");
            assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
        }
    }
}
