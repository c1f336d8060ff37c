//! Sends a worker's segments: through its sockets, or through the kernel if no socket can.

use std::net::{IpAddr, SocketAddr};

use arrayvec::ArrayVec;
use crossbeam::queue::ArrayQueue;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use synward_core::generated_segment::Segment;
use synward_core::layout::MAX_QUEUES;
use synward_core::wire::Address;

use crate::afxdp::{BATCH, Frame, Port};
use crate::engine::link::{Link, Out};
use crate::engine::mailbox::PACKET;

/// Raw IP: packets include their IP header (raw(7), ipv6(7)).
const IPPROTO_RAW: i32 = 255;

/// A batch of received frames.
pub type Batch = ArrayVec<Frame, BATCH>;

/// A change of a worker's sockets after the start.
#[derive(Debug)]
pub enum PortChange {
    /// The interface with this index is gone: all its sockets are closed.
    Lose(u32),
    /// The socket of a queue is closed.
    Close {
        /// The index of its interface.
        interface: u32,
        /// The queue.
        queue: u32,
    },
    /// A socket was bound, on the interface with this index. It replaces one of the same queue.
    Use(u32, Box<Port>),
}

/// Hands changes to a worker.
pub type PortChanges = ArrayQueue<PortChange>;

/// Room for both changes of each queue of an interface.
pub fn port_changes() -> PortChanges {
    ArrayQueue::new(2 * MAX_QUEUES as usize)
}

/// The sockets of one worker.
pub struct Ports {
    ports: Vec<(u32, Port)>,
    added: Vec<u32>,
    v4: Option<Socket>,
    v6: Option<Socket>,
    unsent: u64,
}

impl Ports {
    /// Takes (interface index, socket) pairs, and the queues besides the worker's own whose sockets it may get later. Without the
    /// privilege for raw sockets, or without IPv6, packets that only the kernel could send are dropped and counted.
    pub fn new(ports: Vec<(u32, Port)>, added: Vec<u32>) -> Self {
        let raw = |domain| {
            let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(IPPROTO_RAW))).ok()?;
            if domain == Domain::IPV4 {
                socket.set_header_included_v4(true).ok()?;
            } else {
                socket.set_header_included_v6(true).ok()?;
            }
            socket.set_nonblocking(true).ok()?;
            Some(socket)
        };
        Self {
            ports,
            added,
            v4: raw(Domain::IPV4),
            v6: raw(Domain::IPV6),
            unsent: 0,
        }
    }

    /// Closes sockets, or uses one from now on and closes the one that it replaces. With a socket its UMEM goes, and all
    /// frames in it; the kernel keeps the memory until the driver has completed those that it still has. Until another
    /// socket follows, the kernel sends what this one would.
    pub fn change(&mut self, change: PortChange) {
        match change {
            PortChange::Lose(lost) => self.ports.retain(|(interface, _)| *interface != lost),
            PortChange::Close { interface, queue } => self.close(interface, queue),
            PortChange::Use(interface, port) => {
                let queue = port.queue();
                self.close(interface, queue);
                self.ports.push((interface, *port));
                if !self.added.contains(&queue) {
                    self.added.push(queue);
                }
            }
        }
    }

    fn close(&mut self, interface: u32, queue: u32) {
        let is_it = |(index, port): &(u32, Port)| (*index, port.queue()) == (interface, queue);
        self.ports.retain(|one| !is_it(one));
    }

    /// The queues whose sockets it has got since the start, or may get: the worker serves them, too.
    pub fn added(&self) -> &[u32] {
        &self.added
    }

    /// Number of sockets.
    pub fn count(&self) -> usize {
        self.ports.len()
    }

    /// A socket and the index of its interface. `index` is below [`Self::count`].
    pub fn socket(&self, index: usize) -> (&Port, u32) {
        let (interface, port) = &self.ports[index];
        (port, *interface)
    }

    /// All sockets, to wait for.
    pub fn sockets(&mut self) -> impl Iterator<Item = &mut Port> {
        self.ports.iter_mut().map(|(_, port)| port)
    }

    /// Interface index and socket, for each socket.
    pub fn each(&mut self) -> impl Iterator<Item = (u32, &mut Port)> {
        self.ports
            .iter_mut()
            .map(|(interface, port)| (*interface, port))
    }

    /// Number of packets that neither a socket nor the kernel accepted.
    pub fn unsent(&self) -> u64 {
        self.unsent
    }

    /// Receives a batch from one socket.
    pub fn receive(&mut self, index: usize, batch: &mut Batch) -> usize {
        self.ports[index].1.receive(batch)
    }

    /// Transmits a frame through the socket that received it.
    pub fn transmit(&mut self, index: usize, frame: Frame) {
        self.ports[index].1.transmit(frame);
    }

    /// Releases a frame.
    pub fn release(&mut self, index: usize, frame: Frame) {
        self.ports[index].1.release(frame);
    }

    /// Submits queued frames, recycles transmitted ones and refills the fill ring.
    pub fn flush(&mut self) {
        for (_, port) in &mut self.ports {
            port.flush();
        }
    }

    fn send_framed(&mut self, link: &Link, segment: &Segment, payload: &[u8]) -> Option<()> {
        let of_interface = |one: &&mut (u32, Port)| one.0 == link.interface;
        let mut ports = self.ports.iter_mut().filter(of_interface);
        let (port, mut frame) = ports.find_map(|(_, port)| {
            let frame = port.allocate()?;
            Some((port, frame))
        })?;
        let header = link.header();
        let room = port.bytes_mut(&mut frame);
        let length = room
            .split_at_mut_checked(header.len())
            .and_then(|(head, packet)| {
                head.copy_from_slice(header);
                link.emit(segment, packet, payload)
            });
        match length.and_then(|length| u16::try_from(header.len() + length).ok()) {
            Some(length) => {
                frame.set_len(length);
                port.transmit(frame);
                Some(())
            }
            None => {
                port.release(frame);
                None
            }
        }
    }
}

impl Out for Ports {
    fn send(&mut self, link: &Link, segment: &Segment, payload: &[u8]) {
        if link.interface != 0 && self.send_framed(link, segment, payload).is_some() {
            return;
        }
        let mut packet = [0u8; PACKET + 128];
        match link.emit(segment, &mut packet, payload) {
            Some(length) => self.send_by_kernel(&packet[..length]),
            None => self.unsent += 1,
        }
    }

    fn send_by_kernel(&mut self, packet: &[u8]) {
        let sent = destination(packet).is_some_and(|to| {
            let socket = if to.is_ipv4() { &self.v4 } else { &self.v6 };
            let to = SockAddr::from(SocketAddr::new(to, 0));
            socket
                .as_ref()
                .is_some_and(|socket| socket.send_to(packet, &to).is_ok())
        });
        if !sent {
            self.unsent += 1;
        }
    }
}

fn destination(packet: &[u8]) -> Option<IpAddr> {
    use synward_core::wire::{ipv4::Ipv4, ipv6::Ipv6};
    let address: Address = match packet.first()? >> 4 {
        4 => Ipv4(packet.first_chunk::<20>()?).destination(),
        _ => Ipv6(packet.first_chunk::<40>()?).destination(),
    };
    Some(address.into())
}
