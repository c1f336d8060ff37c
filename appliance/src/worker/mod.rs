//! A worker: one pinned thread for one queue number, with a socket on every interface.
//!
//! | file | idea |
//! |---|---|
//! | [`ports`] | where segments leave: the sockets, and the kernel for what they cannot send |
//! | [`keys`] | the current cookie key of each service |
//! | [`report`] | what is known of a worker from outside |

pub mod keys;
pub mod ports;
pub mod report;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use arrayvec::ArrayVec;
use core_affinity::CoreId;
use synward_ebpf::layout::{META_BYTES, Meta, Request};
use synward_ebpf::wire::ethernet;

use crate::afxdp::{BATCH, Frame, Waiter};
use crate::engine::link::Link;
use crate::engine::message::{Mailbox, PACKET};
use crate::engine::splicer::{Redeemed, Splicer};
use crate::engine::{Tally, answer};
use crate::steering::{Heartbeats, fine_now};

use keys::Keys;
use ports::Ports;
use report::Report;

/// Nanoseconds between two reports.
const REPORT_EVERY: u64 = 100_000_000;

/// Everything that one worker owns.
pub struct Worker {
    /// The queue number, which is also the worker's own.
    pub queue: u32,
    /// Where it runs.
    pub core: Option<CoreId>,
    /// Its sockets.
    pub ports: Ports,
    /// Its openings.
    pub splicer: Splicer,
    /// Its counters by service.
    pub tallies: Arc<[Tally]>,
    /// The keys that its cookies are made with.
    pub keys: Keys,
    /// How it waits.
    pub waiter: Waiter,
    /// What other workers tell it.
    pub mailbox: Mailbox,
    /// Where it shows that it lives.
    pub heartbeats: Arc<Heartbeats>,
    /// Where it reports.
    pub report: Arc<Report>,
    /// Whether it is to end.
    pub stop: Arc<AtomicBool>,
}

impl Worker {
    /// Starts the thread.
    ///
    /// # Errors
    /// That of the operating system, which has no thread left.
    pub fn spawn(self) -> std::io::Result<JoinHandle<()>> {
        thread::Builder::new()
            .name(format!("worker-{}", self.queue))
            .spawn(move || self.run())
    }

    fn run(mut self) {
        if let Some(core) = self.core {
            self.report
                .pinned
                .store(core_affinity::set_for_current(core), Relaxed);
        }
        let mut batch = ArrayVec::new();
        let mut reported = 0;
        let mut clock = Instant::now();
        while !self.stop.load(Relaxed) {
            // The XDP program's clock, read finely: a beat may be some milliseconds ahead of it.
            let now = fine_now();
            self.heartbeats.beat(self.queue, now);
            let mut work = 0;
            for index in 0..self.ports.count() {
                work += self.ports.receive(index, &mut batch);
                for frame in batch.drain(..) {
                    self.frame(now, index, frame);
                }
            }
            while let Some(message) = self.mailbox.queue.pop() {
                work += 1;
                let (entry, l4) = (message.entry, message.l4);
                self.splicer
                    .segment(now, entry, &message.packet, l4, None, &mut self.ports);
            }
            self.splicer.tick(now, &mut self.ports);
            self.ports.flush();
            if now.wrapping_sub(reported) >= REPORT_EVERY {
                reported = now;
                self.report
                    .publish(&mut self.ports, self.waiter.slept(), &mut clock);
            }
            let slept = self.waiter.wait(self.ports.sockets(), work > 0);
            self.report.round(slept);
        }
    }

    /// Does what the XDP program asks for a frame. The frame ends as an answer or goes home.
    fn frame(&mut self, now: u64, index: usize, mut frame: Frame) {
        let (socket, interface) = self.ports.socket(index);
        let Some(meta) = read_meta(socket.metadata::<META_BYTES>(&frame), socket.bytes(&frame))
        else {
            self.report.unreadable();
            return self.ports.release(index, frame);
        };
        let (l3, l4) = (usize::from(meta.l3), usize::from(meta.l4));
        if let Request::Answer { profile } = meta.request {
            let length = frame.len();
            if let Some((epoch, key)) = self.keys.current(meta.service)
                && let Some(length) = answer::in_place(
                    socket.bytes_mut(&mut frame),
                    length,
                    l3,
                    l4,
                    &key,
                    epoch,
                    &profile,
                )
                && let Ok(length) = u16::try_from(length)
            {
                frame.set_len(length);
                if let Some(tally) = self.tallies.get(usize::from(meta.service)) {
                    tally.answer();
                }
                return self.ports.transmit(index, frame);
            }
            return self.ports.release(index, frame);
        }

        // Openings are rare beside SYNs: a copy lets the frame go home before anything is sent.
        let bytes = socket.bytes(&frame);
        let mut packet = ArrayVec::<u8, PACKET>::new();
        let (Some(header), Some(ip)) = (bytes.get(..l3), bytes.get(l3..)) else {
            return self.ports.release(index, frame);
        };
        let back = Link::back(interface, header);
        let fits = packet.try_extend_from_slice(ip).is_ok();
        self.ports.release(index, frame);
        if !fits || l4 < l3 {
            return self.report.unreadable();
        }
        let l4 = (l4 - l3) as u8;
        let out = &mut self.ports;
        match meta.request {
            Request::Open {
                options,
                promised,
                hop,
            } => {
                let redeemed = Redeemed {
                    service: meta.service,
                    options,
                    promised,
                    hop,
                };
                self.splicer.open(now, &packet, l4, &redeemed, back, out);
            }
            Request::Held { entry } | Request::ServerSays { entry } => {
                self.splicer
                    .segment(now, entry, &packet, l4, Some(back), out);
            }
            Request::Answer { .. } => {}
        }
    }
}

fn read_meta(words: Option<&[u8; META_BYTES]>, bytes: &[u8]) -> Option<Meta> {
    let words = words?;
    let words = std::array::from_fn(|i| {
        u32::from_ne_bytes([
            words[4 * i],
            words[4 * i + 1],
            words[4 * i + 2],
            words[4 * i + 3],
        ])
    });
    // The second byte of the first word is the offset of the IP header, behind the EtherType.
    let l3 = usize::from(u32::to_le_bytes(words[0])[1]);
    let ethertype = bytes.get(l3.checked_sub(2)?..l3)?;
    Meta::decode(&words, ethertype == ethernet::IPV4.to_be_bytes())
}

/// A batch of received frames.
pub type Batch = ArrayVec<Frame, BATCH>;
