//! Numbered test frames, and a set of the numbers seen.

use std::time::{Duration, Instant};

use synward::afxdp::{Frame, Port};

/// Length of a test frame in bytes.
pub(crate) const LENGTH: u16 = 60;

/// Writes test frame `number` into a frame.
pub(crate) fn write(port: &Port, frame: &mut Frame, number: u64) {
    let bytes = port.bytes_mut(frame);
    bytes[..usize::from(LENGTH)].fill(0);
    bytes[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    bytes[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 2]);
    bytes[12..14].copy_from_slice(&[0x88, 0xb5]);
    bytes[14..22].copy_from_slice(&number.to_le_bytes());
    frame.set_len(LENGTH);
}

/// The number in a test frame.
pub(crate) fn number(bytes: &[u8]) -> u64 {
    assert_eq!(bytes[12..14], [0x88, 0xb5], "not a test frame");
    u64::from_le_bytes(bytes[14..22].try_into().unwrap())
}

/// Swaps source and destination MAC address.
pub(crate) fn swap_addresses(bytes: &mut [u8]) {
    let (to, rest) = bytes.split_at_mut(6);
    to.swap_with_slice(&mut rest[..6]);
}

/// The numbers seen so far. Panics if a number is seen twice.
pub(crate) struct Seen {
    bits: Vec<u64>,
    count: u64,
}

impl Seen {
    pub(crate) fn new(numbers: u64) -> Self {
        Seen {
            bits: vec![0; numbers.div_ceil(64) as usize],
            count: 0,
        }
    }

    pub(crate) fn mark(&mut self, number: u64) {
        let (word, bit) = (&mut self.bits[(number / 64) as usize], 1 << (number % 64));
        assert_eq!(*word & bit, 0, "frame {number} came twice");
        *word |= bit;
        self.count += 1;
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}

/// Asserts that every frame of the port is accounted for, and that the kernel never returned a frame that it
/// did not own.
pub(crate) fn assert_conserved(port: &Port, frames: u32) {
    let account = port.accounting();
    assert_eq!(account.total(), frames, "{account:?}");
    assert_eq!(port.counters().refused, 0);
}

/// Waits until all frames are free or given to the kernel for reception, and asserts that the kernel rejected none.
pub(crate) fn assert_all_returned(port: &mut Port, frames: u32) {
    wait_until(Duration::from_secs(60), || {
        port.flush();
        let account = port.accounting();
        account.held == 0 && account.transmit == 0
    });
    assert_conserved(port, frames);
    assert_eq!(port.audit(), port.accounting());
    let kernel = port.statistics().unwrap();
    assert_eq!((kernel.rx_invalid_descs, kernel.tx_invalid_descs), (0, 0));
}

/// Polls a condition.
pub(crate) fn wait_until(patience: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !condition() {
        assert!(
            Instant::now() < deadline,
            "condition not met after {patience:?}"
        );
        std::thread::yield_now();
    }
}
