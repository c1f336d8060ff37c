//! Messages between workers. They carry copies of packets, not frames: a frame belongs to its UMEM.

use super::pending_data::MAX_SEGMENT_BYTES;
use arrayvec::ArrayVec;
use crossbeam::queue::ArrayQueue;
use std::sync::Arc;

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

/// The message queue of a worker, and the handle that wakes the worker.
#[derive(Clone, Debug)]
pub struct Mailbox {
    /// Waiting messages.
    pub queue: Arc<ArrayQueue<Message>>,
    /// Clients that waited for a worker, from the control thread.
    pub clients: Arc<ArrayQueue<WaitingAck>>,
    /// Wakes the worker.
    pub waker: Waker,
}

impl Mailbox {
    /// Creates the mailbox of the worker that `waker` wakes.
    pub fn new(waker: Waker) -> Self {
        Self {
            queue: Arc::new(ArrayQueue::new(MAX_MESSAGES)),
            clients: Arc::new(ArrayQueue::new(MAX_MESSAGES)),
            waker,
        }
    }

    /// Posts a message. Returns false if the mailbox is full or the packet is too long.
    pub fn post(&self, entry: u32, content: Content, l4: u8, packet: &[u8]) -> bool {
        let Ok(packet) = ArrayVec::try_from(packet) else {
            return false;
        };
        let left = self
            .queue
            .push(Message {
                entry,
                content,
                l4,
                packet,
            })
            .is_ok();
        self.waker.wake();
        left
    }
}
