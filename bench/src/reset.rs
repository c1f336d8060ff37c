//! `bench reset`: a server that resets every connection at once, with as little work of its own as possible.
//!
//! Each core has a listener and a thread. The kernel gives a connection to the listener of the core on which its handshake ended
//! (SO_INCOMING_CPU), so that no core wakes another. A thread that has been woken sleeps for a millisecond more and then accepts
//! all that has come: the connections of that time cost one wake-up and not one each.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, Socket, Type};

use crate::cores::pin_to_core;
use crate::interrupt::Interrupt;

/// More than come in a millisecond.
const BACKLOG: i32 = 4096;
const NAP: Duration = Duration::from_millis(1);
/// Longest wait before the request to stop is looked at.
const PATIENCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// Command line of `bench reset`.
#[derive(Args)]
pub(crate) struct Options {
    /// Address and port to listen on: 192.0.2.10:9000
    #[arg(value_name = "ADDRESS:PORT")]
    address: SocketAddr,
    /// Cores to accept on, separated by commas
    #[arg(long, value_name = "CORES", value_delimiter = ',', default_value = "0")]
    cores: Vec<usize>,
}

/// Accepts and resets until it is interrupted; then it prints how many.
///
/// # Errors
/// The address is not this machine's or is in use, or there is no such core.
pub(crate) fn run(options: &Options) -> Result<()> {
    let interrupt = Interrupt::new()?;
    let listen = |&core: &usize| {
        let listener = listener(options.address, core);
        Ok((
            core,
            listener.with_context(|| format!("listening on {} failed", options.address))?,
        ))
    };
    // All listeners, before any connection: a later one would take over connections that are half open.
    let listeners = options
        .cores
        .iter()
        .map(listen)
        .collect::<Result<Vec<_>>>()?;
    println!("ready");
    let stop = AtomicBool::new(false);
    let count = thread::scope(|scope| {
        let start = |(core, listener)| {
            let stop = &stop;
            scope.spawn(move || serve(core, &listener, stop))
        };
        let threads: Vec<_> = listeners.into_iter().map(start).collect();
        while !interrupt.requested() && !threads.iter().any(|thread| thread.is_finished()) {
            sleep(Duration::from_millis(20));
        }
        stop.store(true, Ordering::Relaxed);
        let ended = threads.into_iter().map(|thread| thread.join());
        ended
            .map(|count| count.unwrap_or_else(|panic| resume_unwind(panic)))
            .sum::<Result<u64>>()
    })?;
    println!("{count} connections reset");
    Ok(())
}

fn listener(address: SocketAddr, core: usize) -> std::io::Result<Socket> {
    let domain = Domain::for_address(address);
    let listener = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    listener.set_reuse_port(true)?;
    listener.set_cpu_affinity(core)?;
    // Connections inherit it: to close one is to reset it.
    listener.set_linger(Some(Duration::ZERO))?;
    listener.set_nonblocking(true)?;
    listener.bind(&address.into())?;
    listener.listen(BACKLOG)?;
    Ok(listener)
}

fn serve(core: usize, listener: &Socket, stop: &AtomicBool) -> Result<u64> {
    pin_to_core(core)?;
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok(_) => count += 1,
            Err(error) if error.kind() == ErrorKind::WouldBlock => wait(listener)?,
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(error).context("accepting a connection failed"),
        }
    }
    Ok(count)
}

/// Waits until connections have come, and then for more.
fn wait(listener: &Socket) -> Result<()> {
    let readable = PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN);
    match poll(&mut [readable], Some(&PATIENCE)) {
        Ok(0) | Err(rustix::io::Errno::INTR) => {}
        Ok(_) => sleep(NAP),
        Err(error) => return Err(error).context("waiting for connections failed"),
    }
    Ok(())
}
