//! `bench delay`: a line between two interfaces, in user space, for kernels without netem.

mod line;
mod port;

use std::io;
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Serialize;

use self::line::{Counts, Line, Weather};
use self::port::Port;
use crate::device::Device;
use crate::interrupt::Interrupt;

/// Frames taken from one side before the other has its turn.
const TURN: usize = 64;

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
    /// Share of the frames that get lost, in each direction
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    loss: f64,
    /// Share of the frames that come up to 2 ms late, so that later ones overtake them
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    reorder: f64,
    /// Drop frames that carry more than this many bytes after the Ethernet header, without a word
    #[arg(long, value_name = "BYTES", default_value = "65535")]
    mtu: u16,
    /// The same seed loses and delays the same frames of the same traffic
    #[arg(long, default_value = "1")]
    seed: u64,
}

/// What became of the frames, by direction; printed as JSON at the end.
#[derive(Serialize)]
struct Report {
    near_to_far: Counts,
    far_to_near: Counts,
}

/// Carries frames until SIGINT or SIGTERM; prints `ready` at the start and counts at the end.
///
/// # Errors
/// No such interface, no privilege, or an interface that went away.
pub(crate) fn run(options: &Options) -> Result<()> {
    let open = |name: &str| -> Result<Port> {
        Port::open(&Device::named(name)?)
            .with_context(|| format!("opening a packet socket on {name} failed"))
    };
    let mut ports = [open(&options.near)?, open(&options.far)?];
    let weather = |direction| Weather {
        delay: std::time::Duration::from_secs_f64(options.delay_ms / 1e3),
        loss: options.loss,
        reorder: options.reorder,
        mtu: options.mtu.into(),
        seed: options.seed.wrapping_mul(2).wrapping_add(direction),
    };
    // Line 0 leads from near to far.
    let mut lines = [Line::new(weather(0)), Line::new(weather(1))];
    let interrupt = Interrupt::new().context("handling signals failed")?;
    println!("ready: {} and {} are joined", options.near, options.far);
    while !interrupt.requested() {
        let mut busy = false;
        for from in 0..2 {
            busy |= take(&mut ports[from], &mut lines[from])?;
            release(&mut lines[from], &ports[1 - from]);
        }
        if !busy {
            wait(&ports, &lines)?;
        }
    }
    let report = Report {
        near_to_far: lines[0].counts(),
        far_to_near: lines[1].counts(),
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

/// Takes some frames from a port; whether there may be more.
fn take(from: &mut Port, line: &mut Line) -> Result<bool> {
    for _ in 0..TURN {
        let mut frame = line.blank();
        match from.receive(&mut frame) {
            Ok(()) => line.push(frame, Instant::now()),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                line.recycle(frame);
                return Ok(false);
            }
            // The interface was down for a moment.
            Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => return Ok(false),
            Err(error) => return Err(error).context("receiving frames failed"),
        }
    }
    Ok(true)
}

/// Sends what is due. A frame that the interface refuses is lost, as on any line.
fn release(line: &mut Line, to: &Port) {
    while let Some(frame) = line.pop(Instant::now()) {
        if to.send(&frame).is_err() {
            line.refused();
        }
        line.recycle(frame);
    }
}

fn wait(ports: &[Port; 2], lines: &[Line; 2]) -> Result<()> {
    let due = lines.iter().filter_map(Line::due).min();
    let time = due.map(|due| due.saturating_duration_since(Instant::now()));
    match port::wait(ports, time) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
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
