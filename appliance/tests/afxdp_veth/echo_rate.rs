//! Measures how fast one core echoes. It tests nothing, so it runs only on request:
//! `cargo test --release --test afxdp_veth -- --ignored --nocapture echo_rate`

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use arrayvec::ArrayVec;
use synward::afxdp::PortOptions;

use crate::{
    needs_root, numbered_frames, test_programs,
    veth_lab::{End, Lab},
};

/// One core generates and receives (veth receives on the sender's core), the other echoes.
#[test]
#[ignore = "a measurement"]
fn echo_rate() {
    needs_root!();
    let lab = Lab::new();
    let cores = core_affinity::get_core_ids().unwrap();
    let [generating, echoing] = [cores[0], cores[1 % cores.len()]];
    let options = PortOptions::default();
    // The core of the generator selects the queue.
    let queue = generating.id as u32 % 2;
    let mut here = lab.open(End::Here, queue, &options).unwrap();
    let sockets = test_programs::socket_map(2).unwrap();
    test_programs::set_socket(&sockets, queue, here.fd()).unwrap();
    let _steering = lab.attach(
        End::Here,
        &test_programs::steer(&sockets).unwrap(),
        test_programs::Mode::Native,
    );
    let _peer = lab.attach(
        End::There,
        &test_programs::sink().unwrap(),
        test_programs::Mode::Native,
    );
    let interface = lab.index(End::There);
    let generator = test_programs::number(&test_programs::counter().unwrap(), interface).unwrap();

    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            lab.inside(End::There, || {
                core_affinity::set_for_current(generating);
                while !done.load(Ordering::Relaxed) {
                    test_programs::generate(&generator, interface, 1 << 20).unwrap();
                }
            });
        });
        core_affinity::set_for_current(echoing);
        let mut batch = ArrayVec::new();
        for _ in 0..6 {
            let (before, kernel) = (here.counters(), here.statistics().unwrap());
            let (start, worked) = (Instant::now(), processor_time());
            while start.elapsed() < Duration::from_secs(1) {
                for _ in 0..64 {
                    here.receive(&mut batch);
                    for mut frame in batch.drain(..) {
                        numbered_frames::swap_addresses(here.bytes_mut(&mut frame));
                        here.transmit(frame);
                    }
                    here.flush();
                }
            }
            let (elapsed, worked) = (start.elapsed().as_secs_f64(), processor_time() - worked);
            let (after, dropped) = (here.counters(), here.statistics().unwrap());
            let echoed = (after.transmitted - before.transmitted) as f64 / 1e6;
            let wakeups = after.wakeups - before.wakeups;
            println!(
                "echoed {:.3} M/s, {:.3} M per second of this core ({:.0} % of it ours), {:.1} frames a wakeup, ring full \
                 {:.2} M/s, dropped {}",
                echoed / elapsed,
                echoed / worked,
                100.0 * worked / elapsed,
                echoed * 1e6 / wakeups as f64,
                (dropped.rx_ring_full - kernel.rx_ring_full) as f64 / 1e6 / elapsed,
                after.dropped_full - before.dropped_full,
            );
        }
        done.store(true, Ordering::Relaxed);
    });
    numbered_frames::assert_all_returned(&mut here, options.frames);
}

/// CPU time of this thread in seconds. On a shared machine, frames per second of CPU time are the meaningful
/// figure.
fn processor_time() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes one timespec to `time`.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
