//! A worker: one pinned thread for one queue number, with a socket on each interface. Queues that appear later are served by the
//! workers that there are.
//!
//! | file | idea |
//! |---|---|
//! | [`ports`] | sends segments: through the sockets, or through the kernel |
//! | [`settings`] | what a reload changes for a worker |
//! | [`epoch_keys`] | the cookie key of each service for the current epoch |
//! | `panics` | a worker that has panicked goes on |
//! | [`status`] | counters and socket status, readable from other threads |
#![forbid(unsafe_code)]

pub mod epoch_keys;
mod panics;
pub mod ports;
pub mod settings;
pub mod status;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use arrayvec::ArrayVec;
use core_affinity::CoreId;
use synward_core::wire::ethernet;
use synward_core::worker_request::{
    FRONT_BYTES, META_BYTES, META_WORDS, Meta, Request, meta_words, read_front,
};

use crate::afxdp::{BATCH, Frame, Port, Waiter};
use crate::confinement::{Directories, ThreadKind, confine_thread};
use crate::engine::ServiceStats;
use crate::engine::batch_answers::{self, BatchAnswers, Place, Queued};
use crate::engine::cut_segment;
use crate::engine::link::Link;
use crate::engine::mailbox::{Content, Mailbox, PACKET};
use crate::engine::splicer::Splicer;
use crate::engine::valid_ack::ValidAck;
use crate::maps::{Heartbeats, fine_now};
use crate::siphash_simd::HashBackend;

use epoch_keys::{EpochKeys, current_epoch};
use ports::{Batch, PortChanges, Ports};
use settings::SettingsBox;
use status::WorkerStatus;

const _: () = assert!(
    BATCH <= batch_answers::BATCH,
    "a batch of SYNs has room for every frame"
);

/// Nanoseconds between two status updates.
const REPORT_EVERY: u64 = 100_000_000;

/// The state of one worker.
pub struct Worker {
    /// The queue number, which is also the number of the worker.
    pub queue: u32,
    /// The core that it runs on.
    pub core: Option<CoreId>,
    /// Its sockets.
    pub ports: Ports,
    /// Its openings.
    pub splicer: Splicer,
    /// Its counters by service.
    pub stats: Arc<[ServiceStats]>,
    /// Its batch of SYNs.
    pub answers: BatchAnswers,
    /// The keys of its cookies.
    pub keys: EpochKeys,
    /// Spins or sleeps when there is no work.
    pub waiter: Waiter,
    /// Messages from other workers.
    pub mailbox: Mailbox,
    /// The heartbeats, which show the XDP program that it is alive.
    pub heartbeats: Arc<Heartbeats>,
    /// Its published status.
    pub status: Arc<WorkerStatus>,
    /// What a reload changes.
    pub settings: Arc<SettingsBox>,
    /// Changes of its sockets.
    pub port_changes: Arc<PortChanges>,
    /// Set to end the worker.
    pub stop: Arc<AtomicBool>,
}

impl Worker {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system cannot create a thread.
    pub fn spawn(self) -> std::io::Result<JoinHandle<()>> {
        thread::Builder::new()
            .name(format!("worker-{}", self.queue))
            .spawn(move || self.run())
    }

    fn run(mut self) {
        if let Some(core) = self.core {
            self.status
                .pinned
                .store(core_affinity::set_for_current(core), Relaxed);
        }
        confine_thread(ThreadKind::Worker, &Directories::default());
        panics::serve_through_panics(&mut self, Self::serve, Self::renew);
    }

    /// Replaces what a panic may have left inconsistent.
    fn renew(&mut self) {
        self.splicer.renew();
        self.answers = BatchAnswers::new(HashBackend::best());
    }

    fn serve(&mut self) {
        let mut batch = ArrayVec::new();
        let mut reported = 0;
        let mut clock = Instant::now();
        while !self.stop.load(Relaxed) {
            // The XDP program's clock, with a finer resolution: a heartbeat may be some milliseconds ahead of it.
            let now = fine_now();
            if self.heartbeats.beat(self.queue, now) {
                self.status.has_returned();
            }
            if let Some(settings) = self.settings.take() {
                self.splicer.set_policies(settings.policies);
                self.keys = EpochKeys::new(settings.issuing);
            }
            while let Some(change) = self.port_changes.pop() {
                self.ports.change(change);
            }
            let mut work = 0;
            for index in 0..self.ports.count() {
                work += self.ports.receive(index, &mut batch);
                self.batch(now, index, &mut batch);
            }
            while let Some(message) = self.mailbox.take() {
                work += 1;
                let (entry, l4, packet) = (message.entry, message.l4, &message.packet);
                let out = &mut self.ports;
                match message.content {
                    Content::Segment => self.splicer.segment(now, entry, packet, l4, None, out),
                    Content::Error => self.splicer.undelivered(now, entry, packet, l4, out),
                }
            }
            while let Some(client) = self.mailbox.clients.pop() {
                work += 1;
                self.splicer.open_waiting(now, &client, &mut self.ports);
            }
            self.splicer.run_timers(now, &mut self.ports);
            self.ports.flush();
            if now.wrapping_sub(reported) >= REPORT_EVERY {
                reported = now;
                self.beat_for_added(now);
                self.status
                    .publish(&mut self.ports, self.waiter.slept(), &mut clock);
            }
            let slept = self.waiter.wait(self.ports.sockets(), work > 0);
            self.status.round(slept);
        }
    }

    /// Shows the XDP program that the queues are served that have no worker of their own.
    fn beat_for_added(&self, now: u64) {
        for queue in self.ports.added() {
            if *queue != self.queue && self.heartbeats.beat(*queue, now) {
                self.status.has_returned();
            }
        }
    }

    /// Processes the XDP program's request for each frame. Reads all SYNs first and answers them when all
    /// cookies are computed. Every frame is transmitted or released.
    fn batch(&mut self, now: u64, index: usize, batch: &mut Batch) {
        if batch.is_empty() {
            return;
        }
        let epoch = current_epoch();
        self.answers.begin(epoch);
        let socket = self.ports.socket(index).0;
        let mut tasks = ArrayVec::<Task, BATCH>::new();
        for frame in &mut *batch {
            let words = take_request(socket, frame);
            let Some(meta) = words.and_then(|words| read_meta(&words, socket.bytes(frame))) else {
                self.status.unreadable();
                tasks.push(Task::Release);
                continue;
            };
            let Request::Answer { profile } = meta.request else {
                tasks.push(Task::Splice(meta));
                continue;
            };
            let at = Place {
                length: frame.len(),
                l3: meta.l3,
                l4: meta.l4,
            };
            let asked = match self.keys.key(meta.service, epoch) {
                Some(key) => self
                    .answers
                    .push(socket.bytes_mut(frame), at, key, &profile),
                None => Queued::Refused,
            };
            tasks.push(Task::Answer(meta.service, asked));
        }
        self.answers.make_cookies();
        for (frame, task) in batch.drain(..).zip(tasks) {
            match task {
                Task::Answer(service, asked) => self.answer(index, frame, service, asked),
                Task::Splice(meta) => self.splice(now, index, frame, &meta),
                Task::Release => self.ports.release(index, frame),
            }
        }
    }

    /// Sends the SYN-ACK for a SYN.
    fn answer(&mut self, index: usize, mut frame: Frame, service: u16, asked: Queued) {
        let length = match asked {
            Queued::Waiting(ticket) => {
                let socket = self.ports.socket(index).0;
                self.answers.write(ticket, socket.bytes_mut(&mut frame))
            }
            Queued::Answered(length) => Some(length as usize),
            Queued::Refused => None,
        };
        let Some(length) = length.and_then(|length| u16::try_from(length).ok()) else {
            return self.ports.release(index, frame);
        };
        frame.set_len(length);
        if let Some(stats) = self.stats.get(usize::from(service)) {
            stats.answer();
        }
        self.ports.transmit(index, frame);
    }

    /// Passes a segment of an opening to the splicer.
    fn splice(&mut self, now: u64, index: usize, frame: Frame, meta: &Meta) {
        let (socket, interface) = self.ports.socket(index);
        let (l3, l4) = (usize::from(meta.l3), usize::from(meta.l4));
        // Openings are rare compared with SYNs, so copy the packet: the frame is released before anything is sent.
        let bytes = socket.bytes(&frame);
        let mut packet = ArrayVec::<u8, PACKET>::new();
        let (Some(header), Some(ip)) = (bytes.get(..l3), bytes.get(l3..)) else {
            return self.ports.release(index, frame);
        };
        let back = Link::reverse(interface, header);
        let fits = packet.try_extend_from_slice(ip).is_ok();
        self.ports.release(index, frame);
        if !fits || l4 < l3 {
            return self.status.unreadable();
        }
        if !matches!(meta.request, Request::Undelivered { .. }) {
            cut_segment::complete(&mut packet, l4 - l3);
        }
        let l4 = (l4 - l3) as u8;
        let out = &mut self.ports;
        match meta.request {
            Request::Open {
                options,
                offered,
                hop,
            } => {
                let valid_ack = ValidAck {
                    service: meta.service,
                    options,
                    offered,
                    hop,
                    epoch: current_epoch(),
                };
                self.splicer.open(now, &packet, l4, &valid_ack, back, out);
            }
            Request::ClientSegment { entry } | Request::ServerSegment { entry } => {
                self.splicer
                    .segment(now, entry, &packet, l4, Some(back), out);
            }
            Request::BehindAck => {
                self.splicer.behind_ack(now, &packet, l4, back, out);
            }
            Request::Undelivered { entry } => {
                self.splicer.undelivered(now, entry, &packet, l4, out);
            }
            Request::Answer { .. } => {}
        }
    }
}

/// Marks the worker as stopped however it ends, so that the XDP program no longer redirects to it.
impl Drop for Worker {
    fn drop(&mut self) {
        self.heartbeats.stop(self.queue);
        for queue in self.ports.added() {
            self.heartbeats.stop(*queue);
        }
    }
}

/// What to do with a frame when the cookies of its batch are computed.
#[derive(Clone, Copy)]
enum Task {
    Answer(u16, Queued),
    Splice(Meta),
    Release,
}

/// The words of the request for a frame. They are the metadata in front of it, or where the driver carries none, the front
/// of the frame itself, which is removed.
#[inline]
fn take_request(socket: &Port, frame: &mut Frame) -> Option<[u32; META_WORDS]> {
    let Some(words) = read_front(socket.bytes(frame)) else {
        return socket.metadata::<META_BYTES>(frame).map(meta_words);
    };
    remove_front(socket, frame);
    Some(words)
}

/// Moves the packet to where a frame with metadata has it. Only drivers without metadata pay for that, and the kernel copies
/// their frames anyway.
#[cold]
fn remove_front(socket: &Port, frame: &mut Frame) {
    let length = frame.len();
    let bytes = socket.bytes_mut(frame);
    // A frame is never longer than its room, which bounds what is copied.
    let end = length.min(bytes.len());
    bytes.copy_within(FRONT_BYTES..end, 0);
    frame.set_len((end - FRONT_BYTES) as u16);
}

fn read_meta(words: &[u32; META_WORDS], bytes: &[u8]) -> Option<Meta> {
    let l3 = usize::from(Meta::ip_offset(words));
    // The EtherType stands before the IP header.
    let ethertype = bytes.get(l3.checked_sub(2)?..l3)?;
    Meta::decode(words, ethertype == ethernet::IPV4.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use synward_core::client_options::ClientOptions;
    use synward_core::layout::Profile;
    use synward_core::worker_request::Hop;

    /// A RST is the shortest segment: 54 bytes.
    #[test]
    fn every_request_is_read_from_the_shortest_frame() {
        let requests = [
            Request::Answer {
                profile: Profile::default(),
            },
            Request::Open {
                options: ClientOptions {
                    mss: 1300,
                    window_scale: Some(7),
                    sack: true,
                    ecn: false,
                },
                offered: Profile::default(),
                hop: Hop {
                    interface: 2,
                    to: [1; 6],
                    from: [2; 6],
                },
            },
            Request::ClientSegment { entry: 70_000 },
            Request::ServerSegment { entry: 3 },
            Request::Undelivered { entry: 4 },
        ];
        for (v4, ethertype, length) in [(true, ethernet::IPV4, 54), (false, ethernet::IPV6, 74)] {
            for (request, service) in requests.into_iter().zip([0, 1, 300, 1023, 7]) {
                let meta = Meta {
                    request,
                    l3: 14,
                    l4: length as u8 - 20,
                    service,
                };
                let mut frame = vec![0; length];
                frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
                assert_eq!(read_meta(&meta.encode(v4), &frame), Some(meta));
                assert_eq!(read_meta(&meta.encode(v4), &frame[..12]), None);
            }
        }
    }
}
