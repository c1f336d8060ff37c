//! `bench delay`: a delay line between two interfaces, in user space, for kernels without netem.

mod line;
pub(crate) mod packet_socket;

use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use serde::Serialize;

use self::line::{Counts, Impairments, Line};
use self::packet_socket::PacketSocket;
use crate::device::Device;
use crate::interrupt::Interrupt;

/// Frames to receive before due frames are sent.
const TURN: usize = 64;
/// Longest sleep: a signal wakes only one of the two threads.
const IDLE: Duration = Duration::from_millis(200);

/// Command line of `bench delay`.
#[derive(Args)]
pub(crate) struct Options {
    /// One end of the line
    #[arg(long, value_name = "IF")]
    near: String,
    /// The other end
    #[arg(long, value_name = "IF")]
    far: String,
    /// Delay in each direction, in milliseconds; a round trip takes twice that
    #[arg(long, value_name = "MS", default_value = "0", value_parser = milliseconds)]
    delay_ms: f64,
    /// Share of frames that are lost, in each direction
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    loss: f64,
    /// Share of frames that are up to 2 ms late, so that later frames overtake them
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    reorder: f64,
    /// Silently drop frames with more than this many bytes after the Ethernet header
    #[arg(long, value_name = "BYTES", default_value = "65535")]
    mtu: u16,
    /// The same seed loses and delays the same frames of the same traffic
    #[arg(long, default_value = "1")]
    seed: u64,
}

/// Counts by direction; printed as JSON at the end.
#[derive(Serialize)]
struct Report {
    near_to_far: Counts,
    far_to_near: Counts,
}

/// Carries frames until SIGINT or SIGTERM; prints `ready` at the start and counts at the end.
///
/// # Errors
/// No such interface, no privilege, or an interface that was removed.
pub(crate) fn run(options: &Options) -> Result<()> {
    let open = |name: &str| -> Result<PacketSocket> {
        PacketSocket::open(&Device::named(name)?)
            .with_context(|| format!("opening a packet socket on {name} failed"))
    };
    let ports = [open(&options.near)?, open(&options.far)?];
    let impairments = |direction| Impairments {
        delay: Duration::from_secs_f64(options.delay_ms / 1e3),
        loss: options.loss,
        reorder: options.reorder,
        mtu: options.mtu.into(),
        seed: options.seed.wrapping_mul(2).wrapping_add(direction),
    };
    let interrupt = Interrupt::new().context("handling signals failed")?;
    println!("ready: {} and {} are joined", options.near, options.far);
    let [near, far] = &ports;
    let (near_to_far, far_to_near) = thread::scope(|scope| {
        let back = scope.spawn(|| carry(far, near, Line::new(impairments(1)), &interrupt));
        let there = carry(near, far, Line::new(impairments(0)), &interrupt);
        (there, back.join())
    });
    let report = Report {
        near_to_far: near_to_far?,
        far_to_near: far_to_near.map_err(|_| anyhow!("the thread from far to near panicked"))??,
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

/// Carries frames in one direction until interrupted; an error stops the other direction too.
fn carry(
    from: &PacketSocket,
    to: &PacketSocket,
    line: Line,
    interrupt: &Interrupt,
) -> Result<Counts> {
    let done = carry_until(from, to, line, interrupt);
    interrupt.request();
    done
}

fn carry_until(
    from: &PacketSocket,
    to: &PacketSocket,
    mut line: Line,
    interrupt: &Interrupt,
) -> Result<Counts> {
    let mut landing = vec![0; packet_socket::LONGEST];
    while !interrupt.requested() {
        let busy = take(from, &mut landing, &mut line)?;
        release(&mut line, to);
        if !busy {
            wait(from, &line)?;
        }
    }
    Ok(line.counts())
}

/// Receives some frames from a port; returns whether there may be more.
fn take(from: &PacketSocket, landing: &mut [u8], line: &mut Line) -> Result<bool> {
    for _ in 0..TURN {
        let mut frame = line.blank();
        match from.receive(landing, &mut frame) {
            Ok(()) => line.push(frame, Instant::now()),
            Err(error) => {
                line.recycle(frame);
                return match error.kind() {
                    // ENETDOWN: the interface was down for a moment.
                    ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::NetworkDown => {
                        Ok(false)
                    }
                    _ => Err(error).context("receiving frames failed"),
                };
            }
        }
    }
    Ok(true)
}

/// Sends due frames. A frame that the interface refuses is lost.
fn release(line: &mut Line, to: &PacketSocket) {
    while let Some(frame) = line.pop(Instant::now()) {
        if to.send(&frame).is_err() {
            line.refused();
        }
        line.recycle(frame);
    }
}

fn wait(from: &PacketSocket, line: &Line) -> Result<()> {
    let time = line.due().map_or(IDLE, |due| {
        due.saturating_duration_since(Instant::now()).min(IDLE)
    });
    match packet_socket::wait(from, time) {
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
        done => done.context("waiting for frames failed"),
    }
}

fn milliseconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(time) if (0.0..=10_000.0).contains(&time) => Ok(time),
        _ => Err("0 to 10000 milliseconds".into()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a share from 0 to 1: 0.01 is one in a hundred".into()),
    }
}
