//! Messages between workers. They carry copies of packets, not frames: a frame belongs to its UMEM.

use super::pending_data::MAX_SEGMENT_BYTES;
use arrayvec::ArrayVec;
use crossbeam::queue::ArrayQueue;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use synward_core::wire::Address;

use super::waiting_ack::WaitingAck;
use crate::afxdp::Waker;

/// A segment for an opening of another worker: the whole IP packet, because the action of the owner depends
/// on the phase of the opening at that time.
#[derive(Debug)]
pub struct Message {
    /// Index of the flow entry.
    pub entry: u32,
    /// What it is.
    pub content: Content,
    /// Offset of the TCP or ICMP header in the packet.
    pub l4: u8,
    /// The IP packet.
    pub packet: ArrayVec<u8, PACKET>,
}

/// What a message holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A TCP segment.
    Segment,
    /// An ICMP error about the SYN of the opening.
    Error,
}

/// Length of the longest packet in a message: that of a full frame.
pub const PACKET: usize = MAX_SEGMENT_BYTES;

/// Maximum number of messages waiting for one worker. Further ones are counted and dropped, as on a link.
pub const MAX_MESSAGES: usize = 512;
/// The part of it for messages that clients cause. The rest is for servers' answers, without which no opening ends.
const FROM_CLIENTS: usize = MAX_MESSAGES / 4 * 3;
/// Maximum number of waiting messages that one source causes: a few clients with a full initial window each.
pub const PER_SOURCE: usize = 32;
/// Counts of waiting messages, by hash of the source. Two sources seldom share one, and nobody can choose which do.
const SOURCES: usize = 1024;

/// The message queue of a worker, and the handle that wakes the worker.
#[derive(Clone, Debug)]
pub struct Mailbox {
    queue: Arc<ArrayQueue<(u16, Message)>>,
    /// Waiting messages by source.
    sources: Arc<[AtomicUsize]>,
    hasher: RandomState,
    /// Clients that waited for a worker, from the control thread.
    pub clients: Arc<ArrayQueue<WaitingAck>>,
    /// Wakes the worker.
    pub waker: Waker,
}

/// Who caused a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A client of this prefix ([`source_prefix`](super::opening_shares::source_prefix)).
    Client(Address),
    /// A server, or a router on the way to it.
    Server,
}

impl Mailbox {
    /// Creates the mailbox of the worker that `waker` wakes.
    pub fn new(waker: Waker) -> Self {
        Self {
            queue: Arc::new(ArrayQueue::new(MAX_MESSAGES)),
            sources: (0..=SOURCES).map(|_| AtomicUsize::new(0)).collect(),
            hasher: RandomState::new(),
            clients: Arc::new(ArrayQueue::new(MAX_MESSAGES)),
            waker,
        }
    }

    /// Posts a message. Returns `false` if there is no room for one of this cause, or the packet is too long.
    pub fn post(&self, cause: Cause, entry: u32, content: Content, l4: u8, packet: &[u8]) -> bool {
        let Ok(packet) = ArrayVec::try_from(packet) else {
            return false;
        };
        let source = match cause {
            // All servers share the last count, which has no limit.
            Cause::Server => SOURCES,
            Cause::Client(prefix) => self.hasher.hash_one(prefix) as usize % SOURCES,
        };
        // Another worker may post at the same time: then one or two more are let in.
        let is_full = cause != Cause::Server
            && (self.queue.len() >= FROM_CLIENTS
                || self.sources[source].load(Relaxed) >= PER_SOURCE);
        if is_full {
            return false;
        }
        self.sources[source].fetch_add(1, Relaxed);
        let message = Message {
            entry,
            content,
            l4,
            packet,
        };
        let is_posted = self.queue.push((source as u16, message)).is_ok();
        if !is_posted {
            self.sources[source].fetch_sub(1, Relaxed);
        }
        self.waker.wake();
        is_posted
    }

    /// Takes the oldest message.
    pub fn take(&self) -> Option<Message> {
        let (source, message) = self.queue.pop()?;
        self.sources[usize::from(source)].fetch_sub(1, Relaxed);
        Some(message)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;
    use crate::afxdp::{Polling, Waiter};

    fn post(mailbox: &Mailbox, cause: Cause) -> bool {
        mailbox.post(cause, 1, Content::Segment, 20, b"packet")
    }

    #[test]
    fn a_source_and_all_clients_leave_room_for_others() {
        let mailbox = Mailbox::new(Waiter::new(Polling::default()).unwrap().waker());
        let client = |n: u32| Cause::Client(Address::v4(n));
        let posted = (0..100).filter(|_| post(&mailbox, client(7))).count();
        assert_eq!(posted, PER_SOURCE);
        assert!(post(&mailbox, Cause::Server));
        let posted = (100..2000).filter(|n| post(&mailbox, client(*n))).count();
        assert_eq!(posted + PER_SOURCE + 1, FROM_CLIENTS);
        let posted = (0..1000).filter(|_| post(&mailbox, Cause::Server)).count();
        assert_eq!(posted, MAX_MESSAGES - FROM_CLIENTS);
        assert_eq!(std::iter::from_fn(|| mailbox.take()).count(), MAX_MESSAGES);
        assert!(mailbox.sources.iter().all(|count| count.load(Relaxed) == 0));
        assert!(post(&mailbox, client(7)));
    }
}
