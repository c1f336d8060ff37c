//! `bench echo`: the minimal SYN responder over AF_XDP, one thread per queue. What the appliance's workers cost beyond
//! it is the cost of a library, frame accounting, a look-up and a cookie.

mod echo_syn_ack;
pub(crate) mod raw_rings;

use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::Result;
use aya::EbpfLoader;
use aya::maps::XskMap;
use clap::Args;

pub(crate) use self::echo_syn_ack::answer;
use self::raw_rings::Rings;
use crate::device::Device;
use crate::interrupt::Interrupt;
use crate::{xdp_attach, xdp_objects};

/// Longest sleep of a thread before it checks for the request to stop, in milliseconds.
const NAP: i32 = 50;

/// Command line of `bench echo`.
#[derive(Args)]
pub(crate) struct Options {
    /// Interface to answer on, replacing its XDP program, until interrupted
    #[arg(long, value_name = "IF")]
    interface: String,
    /// Number of receive queues, each answered on the core of the same number, like the appliance's workers
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=64))]
    queues: u32,
}

/// Answers until it is interrupted.
///
/// # Errors
/// No such interface or queue, or the kernel's refusal.
pub(crate) fn run(options: &Options) -> Result<()> {
    let device = Device::named(&options.interface)?;
    let interrupt = Interrupt::new()?;
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let mut object = xdp_objects::BASELINE.open(&mut EbpfLoader::new())?;
    let mut sockets = XskMap::try_from(object.take_map("ECHO_SOCKETS")?)?;
    let mut queues = Vec::new();
    for queue in 0..options.queues {
        let rings = Rings::open(device.index, queue)?;
        sockets.set(queue, rings.fd(), 0)?;
        queues.push(rings);
    }
    let program = object.load("echo")?;
    xdp_attach::attach(&device, program.fd()?.as_fd())?;
    println!("ready");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for (queue, rings) in queues.into_iter().enumerate() {
            let core = cores.get(queue % cores.len().max(1)).copied();
            let stop = &stop;
            scope.spawn(move || {
                core.map(core_affinity::set_for_current);
                echo(rings, stop);
            });
        }
        while !interrupt.requested() {
            thread::sleep(std::time::Duration::from_millis(20));
        }
        stop.store(true, Ordering::Relaxed);
    });
    xdp_attach::detach(&device)
}

fn echo(mut rings: Rings, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let count = rings.turn(answer);
        rings.wake();
        if count == 0 {
            rings.wait(NAP);
        }
    }
}
