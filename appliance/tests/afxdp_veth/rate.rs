//! How fast one core echoes. Not a test of anything, so it runs only when asked for:
//! `cargo test --release --test afxdp_veth -- --ignored --nocapture echo_rate`

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use arrayvec::ArrayVec;
use synward::afxdp::PortOptions;

use crate::{
    bpf, frames,
    lab::{End, Lab},
    needs_root,
};

/// One core generates and receives (veth's receive side runs where the sender is), the other echoes.
#[test]
#[ignore = "a measurement"]
fn echo_rate() {
    needs_root!();
    let lab = Lab::new();
    let cores = core_affinity::get_core_ids().unwrap();
    let [generating, echoing] = [cores[0], cores[1 % cores.len()]];
    let options = PortOptions::default();
    // The generator's core chooses the queue.
    let queue = generating.id as u32 % 2;
    let mut here = lab.open(End::Here, queue, &options).unwrap();
    let sockets = bpf::socket_map(2).unwrap();
    bpf::set_socket(&sockets, queue, here.fd()).unwrap();
    let _steering = lab.attach(End::Here, &bpf::steer(&sockets).unwrap(), bpf::Mode::Native);
    let _peer = lab.attach(End::There, &bpf::pass().unwrap(), bpf::Mode::Native);
    let interface = lab.index(End::There);
    let generator = bpf::number(&bpf::counter().unwrap(), interface).unwrap();

    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            lab.inside(End::There, || {
                core_affinity::set_for_current(generating);
                while !done.load(Ordering::Relaxed) {
                    bpf::generate(&generator, interface, 1 << 20).unwrap();
                }
            });
        });
        core_affinity::set_for_current(echoing);
        let mut batch = ArrayVec::new();
        for second in 0..6 {
            let (start, before, kernel) = (Instant::now(), here.counters(), here.statistics());
            while start.elapsed() < Duration::from_secs(1) {
                for _ in 0..64 {
                    here.receive(&mut batch);
                    for mut frame in batch.drain(..) {
                        frames::swap_addresses(here.bytes_mut(&mut frame));
                        here.transmit(frame);
                    }
                    here.flush();
                }
            }
            let (seconds, after, dropped) = (
                start.elapsed().as_secs_f64(),
                here.counters(),
                here.statistics(),
            );
            let rate = |after: u64, before: u64| (after - before) as f64 / seconds / 1e6;
            println!(
                "{second}: received {:.2} M/s, sent {:.2} M/s, dropped full {}, wakeups {:.3} M/s, ring full {:.2} M/s, \
                 fill empty {:.2} M/s",
                rate(after.received, before.received),
                rate(after.transmitted, before.transmitted),
                after.dropped_full - before.dropped_full,
                rate(after.wakeups, before.wakeups),
                rate(dropped.rx_ring_full, kernel.rx_ring_full),
                rate(
                    dropped.rx_fill_ring_empty_descs,
                    kernel.rx_fill_ring_empty_descs
                ),
            );
        }
        done.store(true, Ordering::Relaxed);
    });
    frames::assert_all_come_home(&mut here, options.frames);
}
