//! What `synward capture` and the XDP program tell each other: what is wanted, and the frames.

use crate::counters::{NAMES, ServiceCounters};

/// Bytes of a frame that a record holds at most: the headers and the first data.
pub const SNAP: usize = 256;

/// Bytes of the ring of records, a power of two and whole pages.
pub const RING: usize = 1 << 20;

/// What is captured. The command writes it; the XDP program counts, and sets `limit` to 0 when it ends.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capture {
    /// Frames after which nothing is captured any more; 0: nothing is captured.
    pub limit: u64,
    /// A frame is captured if it moves one of these counters, a bit each.
    pub counters: u64,
    /// When the capture ends, ns of CLOCK_MONOTONIC, also if the command was killed.
    pub until: u64,
    /// Frames that were captured.
    pub taken: u64,
    /// Of these, frames for which the ring had no room.
    pub lost: u64,
    /// Index of the service.
    pub service: u32,
    /// The process number of the command.
    pub owner: u32,
}

/// A captured frame, as it arrived.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// When it arrived, ns of CLOCK_MONOTONIC.
    pub time: u64,
    /// The counters of the service that it moved, a bit each.
    pub counted: u64,
    /// What the program returned (`enum xdp_action`).
    pub verdict: u32,
    /// Index of the interface.
    pub interface: u32,
    /// The receive queue.
    pub queue: u32,
    /// Its length, bytes.
    pub length: u32,
    /// How much of it `data` holds, bytes.
    pub captured: u32,
    /// 0.
    pub unused: u32,
    /// Its first bytes.
    pub data: [u8; SNAP],
}

impl Record {
    /// Reads the bytes of the structure. `None`: there are too few.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let data = bytes.get(DATA..DATA + SNAP)?;
        Some(Self {
            time: number(bytes, 0)?,
            counted: number(bytes, 8)?,
            verdict: word(bytes, 16)?,
            interface: word(bytes, 20)?,
            queue: word(bytes, 24)?,
            length: word(bytes, 28)?,
            captured: word(bytes, 32)?,
            unused: word(bytes, 36)?,
            data: data.try_into().ok()?,
        })
    }

    /// The captured part of the frame.
    pub fn frame(&self) -> &[u8] {
        &self.data[..SNAP.min(self.captured as usize)]
    }
}

const DATA: usize = core::mem::offset_of!(Record, data);

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + 8)?;
    bytes.try_into().ok().map(u64::from_ne_bytes)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    bytes.try_into().ok().map(u32::from_ne_bytes)
}

/// What is kept on a CPU while the program works on a frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// The counters of the service on this CPU before.
    pub before: ServiceCounters,
    /// The frame. Its `time` is 0 while there is none.
    pub record: Record,
}

// A counter is a bit.
const _: () = assert!(NAMES.len() <= u64::BITS as usize);
// What `parse` takes for granted.
const _: () = assert!(DATA == 40 && size_of::<Record>() == DATA + SNAP);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_from_its_bytes_and_from_no_fewer() {
        let mut bytes = [0; size_of::<Record>()];
        bytes[core::mem::offset_of!(Record, queue)] = 7;
        bytes[core::mem::offset_of!(Record, captured)] = 2;
        bytes[DATA + 1] = 9;
        let record = Record::parse(&bytes).map(|record| (record.queue, record.frame().len()));
        assert_eq!(record, Some((7, 2)));
        assert_eq!(
            Record::parse(&bytes).map(|record| record.frame()[1]),
            Some(9)
        );
        for length in 0..bytes.len() {
            assert!(Record::parse(&bytes[..length]).is_none());
        }
    }

    #[test]
    fn a_record_that_claims_too_much_has_no_more_than_its_room() {
        let bytes = [0xff; size_of::<Record>()];
        assert_eq!(
            Record::parse(&bytes).map(|record| record.frame().len()),
            Some(SNAP)
        );
    }
}
