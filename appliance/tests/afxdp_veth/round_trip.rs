//! Frames travel to a port and back.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use arrayvec::ArrayVec;
use synward::afxdp::{Port, PortOptions};

use crate::{
    needs_root,
    numbered_frames::{self, Seen},
    veth_lab::{End, Lab},
};

const FRAMES: u32 = 8192;

/// Sends a million frames to the port under test, which returns them in place. Each frame arrives exactly once
/// in both directions, and every frame of both UMEMs is accounted for after every flush.
#[test]
fn a_million_frames_return_exactly_once() {
    needs_root!();
    const COUNT: u64 = 1_000_000;
    let lab = Lab::new();
    let options = PortOptions::default();
    let (mut here, mut there, _steering) = lab.open_steered_pair(&options);

    let done = AtomicBool::new(false);
    let (arrived, returned) = thread::scope(|scope| {
        let echo = scope.spawn(|| {
            let mut seen = Seen::new(COUNT);
            let mut batch = ArrayVec::new();
            while !done.load(Ordering::Relaxed) {
                here.receive(&mut batch);
                for mut frame in batch.drain(..) {
                    seen.mark(numbered_frames::number(here.bytes(&frame)));
                    numbered_frames::swap_addresses(here.bytes_mut(&mut frame));
                    here.transmit(frame);
                }
                here.flush();
                numbered_frames::assert_conserved(&here, FRAMES);
            }
            seen.count()
        });
        // Ends the echo even if this side panics.
        let _end = OnDrop(|| done.store(true, Ordering::Relaxed));
        let returned = send_and_count(&mut there, COUNT);
        done.store(true, Ordering::Relaxed);
        (echo.join().unwrap(), returned)
    });
    assert_eq!((arrived, returned), (COUNT, COUNT));
    numbered_frames::assert_all_returned(&mut here, FRAMES);
    numbered_frames::assert_all_returned(&mut there, FRAMES);
    assert_eq!(here.counters().received, COUNT);
    assert_eq!(here.counters().transmitted, COUNT);
}

/// Sends numbered frames with at most 512 in flight, so that none is dropped. Returns how many came back.
fn send_and_count(port: &mut Port, count: u64) -> u64 {
    const WINDOW: u64 = 512;
    let mut seen = Seen::new(count);
    let mut batch = ArrayVec::new();
    let mut next = 0;
    let mut last_news = Instant::now();
    while seen.count() < count && last_news.elapsed() < Duration::from_secs(60) {
        while next < count && next - seen.count() < WINDOW {
            let Some(mut frame) = port.allocate() else {
                break;
            };
            numbered_frames::write(port, &mut frame, next);
            port.transmit(frame);
            next += 1;
        }
        port.flush();
        numbered_frames::assert_conserved(port, FRAMES);
        if port.receive(&mut batch) > 0 {
            last_news = Instant::now();
        }
        for frame in batch.drain(..) {
            let bytes = port.bytes(&frame);
            assert_eq!(bytes[..6], [2, 0, 0, 0, 0, 2], "the addresses were swapped");
            seen.mark(numbered_frames::number(bytes));
            port.release(frame);
        }
    }
    seen.count()
}

/// Each queue has its own port. veth delivers the frames of a queue to the same queue of its peer.
#[test]
fn frames_stay_on_their_queue() {
    needs_root!();
    let lab = Lab::new();
    let options = PortOptions::default();
    let [mut here0, mut here1] = [0, 1].map(|queue| lab.open(End::Here, queue, &options).unwrap());
    let [mut there0, mut there1] =
        [0, 1].map(|queue| lab.open(End::There, queue, &options).unwrap());
    let _steering = (
        lab.steer(End::Here, &[&here0, &here1]),
        lab.steer(End::There, &[&there0, &there1]),
    );

    for (port, first) in [(&mut there0, 0), (&mut there1, 1000)] {
        for number in first..first + 100 {
            let mut frame = port.allocate().unwrap();
            numbered_frames::write(port, &mut frame, number);
            port.transmit(frame);
        }
        port.flush();
    }
    for (port, first) in [(&mut here0, 0), (&mut here1, 1000)] {
        let mut numbers = Vec::new();
        let mut batch = ArrayVec::new();
        numbered_frames::wait_until(Duration::from_secs(60), || {
            port.flush();
            port.receive(&mut batch);
            for frame in batch.drain(..) {
                numbers.push(numbered_frames::number(port.bytes(&frame)));
                port.release(frame);
            }
            numbers.len() >= 100
        });
        assert_eq!(numbers, (first..first + 100).collect::<Vec<_>>());
        numbered_frames::assert_all_returned(port, FRAMES);
    }
}

/// A packet can grow in place up to the end of its chunk, and arrives complete.
#[test]
fn a_frame_can_grow_in_place() {
    needs_root!();
    let lab = Lab::new();
    let options = PortOptions::default();
    let (mut here, mut there, _steering) = lab.open_steered_pair(&options);

    let mut frame = there.allocate().unwrap();
    assert_eq!((frame.len(), there.bytes(&frame).len()), (0, 0));
    assert_eq!(
        there.bytes_mut(&mut frame).len() as u32,
        options.chunk.packet_room()
    );
    numbered_frames::write(&there, &mut frame, 7);
    there.transmit(frame);
    there.flush();

    let mut frame = receive_one(&mut here);
    assert_eq!(frame.len(), 60);
    let bytes = here.bytes_mut(&mut frame);
    assert_eq!(bytes.len() as u32, options.chunk.packet_room());
    for (at, byte) in bytes[60..1514].iter_mut().enumerate() {
        *byte = at as u8;
    }
    frame.set_len(1514);
    here.transmit(frame);
    here.flush();

    let frame = receive_one(&mut there);
    let bytes = there.bytes(&frame);
    assert_eq!((bytes.len(), numbered_frames::number(bytes)), (1514, 7));
    assert!(
        bytes[60..]
            .iter()
            .enumerate()
            .all(|(at, &byte)| byte == at as u8)
    );
    there.release(frame);
}

/// Receives the next packet.
pub(crate) fn receive_one(port: &mut Port) -> synward::afxdp::Frame {
    let mut batch = ArrayVec::new();
    numbered_frames::wait_until(Duration::from_secs(60), || {
        port.flush();
        port.receive(&mut batch) > 0
    });
    assert_eq!(batch.len(), 1);
    batch.pop().unwrap()
}

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
