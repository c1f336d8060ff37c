//! What workers tell each other: fields and payloads, not frames, because a frame belongs to its UMEM.

use super::pending_data::MAX_SEGMENT_BYTES;
use arrayvec::ArrayVec;
use crossbeam::queue::ArrayQueue;
use std::sync::Arc;

use crate::afxdp::Waker;

/// A segment for an opening that another worker owns: the whole IP packet, because what its owner does
/// with it depends on how far the opening is by then.
#[derive(Debug)]
pub struct Message {
    /// The flow entry.
    pub entry: u32,
    /// Offset of the TCP header in the packet.
    pub l4: u8,
    /// The IP packet.
    pub packet: ArrayVec<u8, PACKET>,
}

/// Bytes of the longest packet that is passed on: a full frame's.
pub const PACKET: usize = MAX_SEGMENT_BYTES;

/// Messages that wait for one worker at most; further ones are counted and lost, as on any link.
pub const MAX_MESSAGES: usize = 512;

/// A worker's letter box, and the bell that wakes it.
#[derive(Clone, Debug)]
pub struct Mailbox {
    /// The messages.
    pub queue: Arc<ArrayQueue<Message>>,
    /// Ends the worker's sleep.
    pub waker: Waker,
}

impl Mailbox {
    /// A letter box for the worker that sleeps by `waker`.
    pub fn new(waker: Waker) -> Self {
        Self {
            queue: Arc::new(ArrayQueue::new(MAX_MESSAGES)),
            waker,
        }
    }

    /// Leaves a message; says whether there was room.
    pub fn post(&self, entry: u32, l4: u8, packet: &[u8]) -> bool {
        let Ok(packet) = ArrayVec::try_from(packet) else {
            return false;
        };
        let left = self.queue.push(Message { entry, l4, packet }).is_ok();
        self.waker.wake();
        left
    }
}
