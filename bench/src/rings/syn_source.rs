//! Sends SYNs into a queue, from the thread that receives them, so that nothing else determines when they arrive.

use std::time::Duration;

use anyhow::{Context as _, Result};
use synward::afxdp::{Port, PortOptions, ZeroCopy};

use super::veth_pair::THERE;

/// Length of a SYN as Linux sends it.
const LENGTH: usize = 74;
/// How long to wait for frames that were sent.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How often to poll for completions; frames that are not complete then are reported missing by the receiver.
const TRIES: u32 = 100_000;

/// Sends into one queue of the veth.
pub(super) struct Source {
    port: Port,
    frame: [u8; LENGTH],
}

/// The options of all ports.
pub(super) fn options() -> PortOptions {
    PortOptions {
        zero_copy: ZeroCopy::Off,
        ..PortOptions::default()
    }
}

impl Source {
    /// Opens a source for a queue of the other end.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(super) fn new(queue: u32) -> Result<Self> {
        let port = Port::open(THERE, queue, &options()).context("the source has no socket")?;
        let mut frame = [0; LENGTH];
        // Ethernet and IPv4 as far as the XDP program reads them; 40 bytes of TCP, a SYN.
        frame[..16].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0]);
        frame[16..24].copy_from_slice(&[0, LENGTH as u8 - 14, 0, 0, 0x40, 0, 64, 6]);
        frame[26..34].copy_from_slice(&[10, 0, 0, 1, 192, 0, 2, 10]);
        frame[34..38].copy_from_slice(&[0x80, 0, 0, 80]);
        frame[46..50].copy_from_slice(&[0xa0, 2, 0xfa, 0xf0]);
        Ok(Self { port, frame })
    }

    /// Sends `count` frames, and waits until the kernel has taken them.
    pub(super) fn send(&mut self, count: u32) {
        let (mut left, mut tries) = (count, 0);
        while left > 0 && tries < TRIES {
            let Some(mut frame) = self.port.allocate() else {
                tries += 1;
                self.port.flush();
                continue;
            };
            self.port.bytes_mut(&mut frame)[..LENGTH].copy_from_slice(&self.frame);
            frame.set_len(LENGTH as u16);
            self.port.transmit(frame);
            left -= 1;
        }
        loop {
            self.port.flush();
            if !self.port.unsent() {
                break;
            }
        }
    }
}
