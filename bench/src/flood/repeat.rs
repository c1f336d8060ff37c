//! `bench repeat`: sends one segment of a real connection repeatedly, to measure the cost of forwarding a packet.
//!
//! The segment is the client's first data, as this machine's kernel sent it. A receiver that has it already treats it
//! as a retransmission; a forwarder treats it like any other segment of the connection.

use std::io::{ErrorKind, Write as _};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use synward_core::wire::checksum::segment_is_intact;
use synward_core::wire::ethernet::{self, Ethernet};
use synward_core::wire::ipv4::{self, Ipv4};
use synward_core::wire::protocol;
use synward_core::wire::tcp::{self, Tcp, flags};

use super::flood_options::Kind;
use super::flood_report::{Report, print};
use super::frame_template::{LONGEST, Segment};
use super::generator::{Generator, Plan};
use super::prefix::Prefix;
use crate::cli_values::seconds;
use crate::cores::pin_to_core;
use crate::delay::packet_socket::{self, PacketSocket};
use crate::device::Device;

/// The beginning of a request that never ends: the server waits, and the connection stays open.
const DATA: &[u8; 16] = b"GET / HTTP/1.1\r\n";
/// Limit for opening the connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// Command line of `bench repeat`.
#[derive(Args)]
pub(crate) struct Options {
    /// Target of the connection: 192.0.2.10:80
    #[arg(long, value_name = "ADDRESS:PORT")]
    destination: SocketAddrV4,
    /// Interface of the connection; its checksum offload must be off (ethtool -K IF tx off)
    #[arg(long, value_name = "IF")]
    interface: String,
    /// Send to this interface instead, to measure the generator alone
    #[arg(long, value_name = "IF")]
    onto: Option<String>,
    /// Stop after this time, at most 600
    #[arg(long, default_value = "10", value_parser = seconds)]
    seconds: Duration,
    /// Run on this core
    #[arg(long)]
    core: Option<usize>,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// Sends the segment repeatedly and prints how often.
///
/// # Errors
/// No connection, interfaces that are no veths, or the kernel's refusal.
pub(crate) fn run(options: &Options) -> Result<()> {
    let device = Device::named(&options.interface)?;
    let target = match &options.onto {
        Some(name) => Device::named(name)?,
        None => Device::named(&options.interface)?,
    };
    for device in [&device, &target] {
        ensure!(
            device.kind.as_deref() == Some("veth"),
            "{} is no veth: a flood there reaches a real network",
            device.name
        );
    }
    if let Some(core) = options.core {
        pin_to_core(core)?;
    }
    let (connection, frame) = connect(options.destination, &device)?;
    let mut generator = Generator::new(&plan(&target, frame))?;
    let sent = generator.send(options.seconds, 64)?;
    drop(connection);
    let report = Report {
        kind: Kind::Exact,
        sent: sent.syns,
        syns: 0,
        acks: sent.syns,
        seconds: sent.seconds,
        pps: sent.syns as f64 / sent.seconds,
        answers: None,
    };
    match options.json {
        true => println!("{}", serde_json::to_string(&report)?),
        false => print(&report),
    }
    Ok(())
}

fn plan(device: &Device, frame: Vec<u8>) -> Plan {
    Plan {
        interface: device.index,
        sources: Prefix::NONE,
        kind: Kind::Exact,
        syn: Segment::exact(frame),
        ack: Segment::exact(Vec::new()),
        count: u64::MAX,
        rate: None,
    }
}

/// Connects, sends [`DATA`] and waits until the server has acknowledged it; returns the connection and the frame that
/// carried it.
fn connect(destination: SocketAddrV4, device: &Device) -> Result<(TcpStream, Vec<u8>)> {
    let port =
        PacketSocket::tap(device).context("opening a packet socket failed (bench needs root)")?;
    let mut connection = TcpStream::connect_timeout(&SocketAddr::V4(destination), PATIENCE)
        .with_context(|| format!("connecting to {destination} failed"))?;
    connection.set_nodelay(true)?;
    let own = connection.local_addr()?.port();
    connection.write_all(DATA)?;

    let deadline = Instant::now() + PATIENCE;
    let (mut landing, mut sent) = (vec![0; packet_socket::LONGEST], None);
    loop {
        ensure!(
            Instant::now() < deadline,
            "{destination} acknowledged nothing of a request within {} s",
            PATIENCE.as_secs()
        );
        let mut frame = Vec::new();
        match port.receive(&mut landing, &mut frame) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                match packet_socket::wait(&port, Duration::from_millis(100)) {
                    Err(error) if error.kind() != ErrorKind::Interrupted => {
                        return Err(error.into());
                    }
                    _ => continue,
                }
            }
            received => received?,
        }
        let Some(seen) = Seen::of(&frame) else {
            continue;
        };
        match &sent {
            None if seen.ports == (own, destination.port()) && seen.payload == DATA => {
                check(&frame)?;
                sent = Some((seen.sequence.wrapping_add(DATA.len() as u32), frame));
            }
            Some((end, _))
                if seen.ports == (destination.port(), own) && seen.acknowledges == Some(*end) =>
            {
                let Some((_, frame)) = sent else { continue };
                return Ok((connection, frame));
            }
            _ => {}
        }
    }
}

/// Checks that a frame can be sent unchanged.
fn check(frame: &[u8]) -> Result<()> {
    ensure!(
        frame.len() <= LONGEST && frame.len().is_multiple_of(2),
        "a frame of {} bytes is longer than the generator's {LONGEST}, or odd",
        frame.len()
    );
    let ip = frame
        .get(ethernet::LENGTH..)
        .and_then(|packet| packet.first_chunk::<{ ipv4::LENGTH }>());
    let intact = ip.is_some_and(|ip| {
        let ip = Ipv4(ip);
        let segment = frame.get(ethernet::LENGTH + ip.header_length()..);
        segment.is_some_and(|segment| segment_is_intact(&ip.source(), &ip.destination(), segment))
    });
    if !intact {
        bail!("the kernel leaves checksums to the interface: ethtool -K IF tx off");
    }
    Ok(())
}

/// The relevant fields of a TCP segment over IPv4.
struct Seen<'a> {
    /// Source and destination.
    ports: (u16, u16),
    sequence: u32,
    acknowledges: Option<u32>,
    payload: &'a [u8],
}

impl<'a> Seen<'a> {
    fn of(frame: &'a [u8]) -> Option<Self> {
        let eth = Ethernet(frame.first_chunk::<{ ethernet::LENGTH }>()?);
        let packet = frame.get(ethernet::LENGTH..)?;
        let ip = Ipv4(packet.first_chunk::<{ ipv4::LENGTH }>()?);
        if eth.ethertype() != ethernet::IPV4 || ip.protocol() != protocol::TCP {
            return None;
        }
        let segment = packet.get(ip.header_length()..usize::from(ip.total_length()))?;
        let header = Tcp(segment.first_chunk::<{ tcp::LENGTH }>()?);
        Some(Self {
            ports: (header.source(), header.destination()),
            sequence: header.sequence(),
            acknowledges: header.has(flags::ACK).then(|| header.acknowledgement()),
            payload: segment.get(header.header_length()..)?,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use synward_core::generated_segment::{Segment, padded_timestamps};
    use synward_core::wire::Address;
    use synward_core::wire::tcp::Repr;

    use super::*;

    fn frame() -> Vec<u8> {
        let (options, words) = padded_timestamps(1, 2);
        let segment = Segment {
            source: Address::v4(1),
            destination: Address::v4(2),
            tcp: Repr {
                source: 40_000,
                destination: 80,
                sequence: 7,
                acknowledgement: 9,
                flags: flags::ACK | flags::PSH,
                window: 5,
                options: words * 4,
            },
            options,
        };
        let mut frame = vec![0; 200];
        frame[12] = 8;
        let length = segment.emit(&mut frame[ethernet::LENGTH..], DATA).unwrap();
        frame.truncate(ethernet::LENGTH + length);
        frame
    }

    #[test]
    fn a_segment_is_known_again() {
        let mut frame = frame();
        check(&frame).unwrap();
        let seen = Seen::of(&frame).unwrap();
        assert_eq!(seen.ports, (40_000, 80));
        assert_eq!((seen.sequence, seen.acknowledges), (7, Some(9)));
        assert_eq!(seen.payload, DATA);
        frame[ethernet::LENGTH + 20 + 16] ^= 1;
        assert!(check(&frame).is_err(), "its checksum is left to others");
        assert!(Seen::of(&frame[..40]).is_none(), "it is cut short");
    }
}
