//! A packet wakes a sleeping worker long before its timeout.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use arrayvec::ArrayVec;
use synward::afxdp::{Polling, PortOptions, Waiter};

use crate::{
    needs_root, numbered_frames,
    veth_lab::{End, Lab},
};

#[test]
fn a_packet_ends_the_sleep() {
    needs_root!();
    const COUNT: u64 = 200;
    let lab = Lab::new();
    let options = PortOptions::default();
    let (here, mut there, _steering) = lab.open_steered_pair(&options);

    let (seen, numbers) = mpsc::channel();
    let worker = thread::spawn(move || {
        let mut ports = [here];
        let mut waiter = Waiter::new(Polling::Adaptive {
            idle_rounds: 4,
            timeout_ms: 60_000,
        })
        .unwrap();
        let mut batch = ArrayVec::new();
        let mut count = 0;
        while count < COUNT {
            let received = ports[0].receive(&mut batch);
            for frame in batch.drain(..) {
                seen.send(numbered_frames::number(ports[0].bytes(&frame)))
                    .unwrap();
                ports[0].release(frame);
            }
            ports[0].flush();
            count += received as u64;
            waiter.wait(&mut ports, received > 0);
        }
        waiter.slept()
    });
    let start = Instant::now();
    for number in 0..COUNT {
        let mut frame = there.allocate().unwrap();
        numbered_frames::write(&there, &mut frame, number);
        there.transmit(frame);
        there.flush();
        assert_eq!(
            numbers.recv_timeout(Duration::from_secs(60)).unwrap(),
            number
        );
    }
    let slept = worker.join().unwrap();
    assert!(slept > Duration::ZERO && slept < start.elapsed());
}

/// With busy polling, but without deferred softirqs, softirqs receive as usual, and the port works.
#[test]
fn a_port_that_polls_its_driver_receives() {
    needs_root!();
    const COUNT: u64 = 1000;
    let lab = Lab::new();
    let options = PortOptions {
        busy_poll: true,
        ..PortOptions::default()
    };
    let mut here = lab.open(End::Here, 0, &options).unwrap();
    let mut there = lab.open(End::There, 0, &PortOptions::default()).unwrap();
    assert!(here.busy_poll(), "root may use it on any kernel since 5.11");
    let _steering = (
        lab.steer(End::Here, &[&here]),
        lab.steer(End::There, &[&there]),
    );
    let mut batch = ArrayVec::new();
    for number in 0..COUNT {
        let mut frame = there.allocate().unwrap();
        numbered_frames::write(&there, &mut frame, number);
        there.transmit(frame);
        there.flush();
        numbered_frames::wait_until(Duration::from_secs(60), || {
            here.flush();
            here.receive(&mut batch) > 0
        });
        for frame in batch.drain(..) {
            assert_eq!(numbered_frames::number(here.bytes(&frame)), number);
            here.release(frame);
        }
    }
    assert_eq!(here.counters().failed_wakeups, 0);
    numbered_frames::assert_all_returned(&mut here, options.frames);
}
