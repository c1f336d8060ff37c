//! More frames than the port can handle.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use arrayvec::ArrayVec;
use synward::afxdp::{FrameAccount, PortOptions};

use crate::{
    needs_root,
    numbered_frames::{self, Seen},
    test_programs,
    veth_lab::{End, Lab},
};

/// A generator in the kernel floods the port with about ten million frames per second. The port drops most,
/// echoes what it can, delivers nothing twice and loses no frame of its UMEM.
#[test]
fn a_flood_loses_no_frame() {
    needs_root!();
    const COUNT: u32 = 1 << 22;
    let lab = Lab::new();
    let options = PortOptions::default();
    let mut here = lab.open(End::Here, 0, &options).unwrap();
    let mut here1 = lab.open(End::Here, 1, &options).unwrap();
    let _steering = lab.steer(End::Here, &[&here, &here1]);
    let _peer = lab.attach(
        End::There,
        &test_programs::pass().unwrap(),
        test_programs::Mode::Native,
    );
    let generator =
        test_programs::number(&test_programs::counter().unwrap(), lab.index(End::There)).unwrap();
    let interface = lab.index(End::There);

    let done = AtomicBool::new(false);
    let mut seen = Seen::new(u64::from(COUNT));
    thread::scope(|scope| {
        scope.spawn(|| {
            let result = lab.inside(End::There, || {
                test_programs::generate(&generator, interface, COUNT)
            });
            done.store(true, Ordering::Relaxed);
            result.unwrap();
        });
        let mut batch = ArrayVec::new();
        let mut idle = false;
        while !(done.load(Ordering::Relaxed) && idle) {
            idle = true;
            for port in [&mut here, &mut here1] {
                while port.receive(&mut batch) > 0 {
                    idle = false;
                    for mut frame in batch.drain(..) {
                        seen.mark(numbered_frames::number(port.bytes(&frame)));
                        numbered_frames::swap_addresses(port.bytes_mut(&mut frame));
                        port.transmit(frame);
                    }
                    port.flush();
                    numbered_frames::assert_conserved(port, options.frames);
                }
                port.flush();
            }
        }
    });
    assert!(seen.count() > 10_000, "received only {}", seen.count());
    assert!(seen.count() < u64::from(COUNT), "not an overload");
    for port in [&mut here, &mut here1] {
        numbered_frames::assert_all_returned(port, options.frames);
        let counters = port.counters();
        assert_eq!(
            counters.transmitted + counters.dropped_full,
            counters.received
        );
    }
    let kernel = [here.statistics().unwrap(), here1.statistics().unwrap()];
    let dropped: u64 = kernel
        .iter()
        .map(|it| it.rx_ring_full + it.rx_fill_ring_empty_descs)
        .sum();
    assert!(dropped > 0, "the rings never overflowed: {kernel:?}");
}

/// Allocates every frame, and transmits more than fit into TX ring and backlog.
#[test]
fn transmitting_too_much_drops_and_counts() {
    needs_root!();
    let lab = Lab::new();
    let options = PortOptions {
        frames: 1024,
        ring: 64,
        ..PortOptions::default()
    };
    let mut port = lab.open(End::There, 0, &options).unwrap();
    let _peer = lab.attach(
        End::Here,
        &test_programs::pass().unwrap(),
        test_programs::Mode::Native,
    );
    assert_eq!(
        port.accounting(),
        FrameAccount {
            free: 960,
            fill: 64,
            held: 0,
            transmit: 0
        }
    );

    let mut all: Vec<_> = std::iter::from_fn(|| port.allocate()).collect();
    assert_eq!(all.len(), 960);
    assert!(port.allocate().is_none());
    assert_eq!(
        port.accounting(),
        FrameAccount {
            free: 0,
            fill: 64,
            held: 960,
            transmit: 0
        }
    );
    for (number, frame) in all.iter_mut().enumerate() {
        numbered_frames::write(&port, frame, number as u64);
    }
    for frame in all {
        port.transmit(frame);
        numbered_frames::assert_conserved(&port, options.frames);
    }
    // 64 in the TX ring, 64 in the backlog, the rest dropped.
    assert_eq!(port.counters().dropped_full, 960 - 128);
    assert_eq!(port.accounting().transmit, 128);
    numbered_frames::assert_all_returned(&mut port, options.frames);
    assert_eq!(port.counters().transmitted, 128);
}

/// The kernel rejects an empty descriptor, so it never gets one.
#[test]
fn lengths_that_cannot_be_sent_are_dropped_and_counted() {
    needs_root!();
    let lab = Lab::new();
    let options = PortOptions::default();
    let mut port = lab.open(End::There, 0, &options).unwrap();
    for length in [0, 13, 1793, u16::MAX] {
        let mut frame = port.allocate().unwrap();
        frame.set_len(length);
        assert_eq!(port.bytes(&frame).len(), usize::from(length).min(1792));
        port.transmit(frame);
    }
    assert_eq!(port.counters().dropped_length, 4);
    numbered_frames::assert_all_returned(&mut port, options.frames);
}

/// While no worker drains the port, the kernel drops frames; when one does, the port recovers.
#[test]
fn a_worker_that_stalls_recovers() {
    needs_root!();
    let lab = Lab::new();
    let options = PortOptions::default();
    let (mut here, mut there, _steering) = lab.open_steered_pair(&options);

    let mut send = |numbers: std::ops::Range<u64>| {
        for number in numbers {
            numbered_frames::wait_until(Duration::from_secs(60), || {
                there.flush();
                there.accounting().free > 0
            });
            let mut frame = there.allocate().unwrap();
            numbered_frames::write(&there, &mut frame, number);
            there.transmit(frame);
        }
        numbered_frames::assert_all_returned(&mut there, options.frames);
    };
    send(0..10_000);
    let mut seen = Seen::new(20_000);
    let mut batch = ArrayVec::new();
    let mut drain = |until: u64| {
        numbered_frames::wait_until(Duration::from_secs(60), || {
            here.receive(&mut batch);
            for frame in batch.drain(..) {
                seen.mark(numbered_frames::number(here.bytes(&frame)));
                here.release(frame);
            }
            here.flush();
            seen.count() >= until
        });
        numbered_frames::assert_conserved(&here, options.frames);
    };
    // A full RX ring was waiting; nothing is lost from then on.
    drain(2048);
    for start in (10_000..20_000).step_by(1000) {
        send(start..start + 1000);
        drain(2048 + start - 10_000 + 1000);
    }
    assert_eq!(seen.count(), 2048 + 10_000);
    numbered_frames::assert_all_returned(&mut here, options.frames);
}
