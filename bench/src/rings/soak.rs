//! Sends millions of frames through a port, in bursts that can exceed its rings, and checks that it loses none of its
//! frames.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use arrayvec::ArrayVec;
use synward::afxdp::{BATCH, Frame, Port};

use super::syn_source::{PATIENCE, Source, options};
use crate::echo::answer;
use crate::interrupt::Interrupt;

/// Bursts between two audits of every frame.
const AUDIT_EVERY: u64 = 64;

/// Receives `packets` frames and sends most of them back. Checks the frame accounting after every burst, and every
/// frame in regular audits.
///
/// # Errors
/// The accounting is wrong, frames stop arriving, or this program is interrupted.
pub(super) fn run(port: &mut Port, source: &mut Source, packets: u64) -> Result<()> {
    let interrupt = Interrupt::new()?;
    let frames = options().frames;
    let mut batch = ArrayVec::<Frame, BATCH>::new();
    let start = Instant::now();
    let (mut bursts, mut audits) = (0u64, 0u64);
    while port.counters().received < packets {
        ensure!(!interrupt.requested(), "interrupted");
        let before = port.counters().received;
        // From one frame to more than the rings hold, in irregular order.
        source.send(1 + (bursts.wrapping_mul(7919) % 6000) as u32);
        let (sent, mut idle) = (Instant::now(), 0);
        // The first may be late if another kernel thread receives them.
        while idle < 3 || (port.counters().received == before && sent.elapsed() < PATIENCE) {
            idle = if port.receive(&mut batch) == 0 {
                idle + 1
            } else {
                0
            };
            for (at, mut frame) in batch.drain(..).enumerate() {
                if at % 13 == 12 {
                    port.release(frame);
                    continue;
                }
                let length = frame.len();
                answer(&mut port.bytes_mut(&mut frame)[..length]);
                port.transmit(frame);
            }
            port.flush();
        }
        ensure!(port.counters().received > before, "no frame came");
        bursts += 1;
        let account = port.accounting();
        ensure!(
            account.total() == frames,
            "after {bursts} bursts: {account:?}, not {frames} frames"
        );
        if bursts.is_multiple_of(AUDIT_EVERY) {
            audits += 1;
            let audit = port.audit();
            ensure!(
                audit == account,
                "after {bursts} bursts: {account:?} by count, {audit:?} one by one"
            );
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    // Frames that the other end still holds complete with time.
    while port.accounting().transmit > 0 && start.elapsed().as_secs_f64() < seconds + 5.0 {
        port.flush();
    }
    let (account, audit) = (port.accounting(), port.audit());
    ensure!(
        account == audit,
        "at the end: {account:?} by count, {audit:?} one by one"
    );
    ensure!(
        (account.held, account.transmit, account.total()) == (0, 0, frames),
        "not all came home: {account:?}"
    );
    let (counters, kernel) = (port.counters(), port.statistics());
    let kernel = kernel.context("the kernel's counters cannot be read")?;
    ensure!(
        (
            counters.refused,
            kernel.rx_invalid_descs,
            kernel.tx_invalid_descs
        ) == (0, 0, 0),
        "descriptors were refused: {counters:?}, {kernel:?}"
    );
    println!(
        "{} frames received and {} sent in {seconds:.0} s, in {bursts} bursts ({} dropped as the RX ring was full): all \
         {frames} frames accounted for after each burst, one by one {audits} times, all at home at the end",
        counters.received, counters.transmitted, kernel.rx_ring_full
    );
    Ok(())
}
