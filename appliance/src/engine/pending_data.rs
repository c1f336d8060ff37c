//! Buffers the client's data until its server answers: copied, bounded, in order of arrival.

use arrayvec::ArrayVec;

/// Maximum length of a buffered segment. The client retransmits longer ones.
pub const MAX_SEGMENT_BYTES: usize = 2048;
/// Maximum number of segments buffered for one opening: a client's initial window and some duplicates.
pub const MAX_SEGMENTS: usize = 32;

/// A slot of the [`SegmentPool`].
#[derive(Debug)]
struct Slot {
    sequence: u32,
    flags: u8,
    length: u16,
    bytes: [u8; MAX_SEGMENT_BYTES],
}

/// The buffered segments of all openings of one worker.
#[derive(Debug)]
pub struct SegmentPool {
    slots: Vec<Slot>,
    free: Vec<u16>,
}

/// The buffered segments of one opening.
#[derive(Debug, Default)]
pub struct PendingData {
    slots: ArrayVec<u16, MAX_SEGMENTS>,
    bytes: u32,
}

/// A buffered segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingSegment<'a> {
    /// SEG.SEQ.
    pub sequence: u32,
    /// The flags.
    pub flags: u8,
    /// The data.
    pub payload: &'a [u8],
}

impl PendingData {
    /// Number of buffered bytes.
    pub fn bytes(&self) -> u32 {
        self.bytes
    }
}

impl SegmentPool {
    /// Creates a pool of `segments` slots.
    pub fn new(segments: u16) -> Self {
        let slots = (0..segments)
            .map(|_| Slot {
                sequence: 0,
                flags: 0,
                length: 0,
                bytes: [0; MAX_SEGMENT_BYTES],
            })
            .collect();
        Self {
            slots,
            free: (0..segments).rev().collect(),
        }
    }

    /// Buffers a segment. Returns whether it is buffered now. `limit` is the maximum for the opening, in bytes.
    pub fn store(
        &mut self,
        held: &mut PendingData,
        segment: PendingSegment<'_>,
        limit: u32,
    ) -> bool {
        let length = segment.payload.len();
        let known = held.slots.iter().any(|slot| {
            let slot = &self.slots[usize::from(*slot)];
            slot.sequence == segment.sequence && usize::from(slot.length) >= length
        });
        if known {
            return true;
        }
        if length > MAX_SEGMENT_BYTES || held.bytes + length as u32 > limit || held.slots.is_full()
        {
            return false;
        }
        let Some(index) = self.free.pop() else {
            return false;
        };
        let slot = &mut self.slots[usize::from(index)];
        slot.sequence = segment.sequence;
        slot.flags = segment.flags;
        slot.length = length as u16;
        slot.bytes[..length].copy_from_slice(segment.payload);
        held.slots.push(index);
        held.bytes += length as u32;
        true
    }

    /// The segments of an opening, in order of arrival.
    pub fn segments<'a>(
        &'a self,
        held: &'a PendingData,
    ) -> impl Iterator<Item = PendingSegment<'a>> {
        held.slots.iter().map(|slot| {
            let slot = &self.slots[usize::from(*slot)];
            PendingSegment {
                sequence: slot.sequence,
                flags: slot.flags,
                payload: &slot.bytes[..usize::from(slot.length)],
            }
        })
    }

    /// Frees the segments of an opening.
    pub fn release(&mut self, held: &mut PendingData) {
        self.free.extend(held.slots.drain(..));
        held.bytes = 0;
    }

    /// Number of slots in use.
    pub fn used(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(sequence: u32, payload: &[u8]) -> PendingSegment<'_> {
        PendingSegment {
            sequence,
            flags: 0x10,
            payload,
        }
    }

    #[test]
    fn segments_keep_their_order_without_duplicates_and_are_all_freed() {
        let mut pool = SegmentPool::new(4);
        let mut held = PendingData::default();
        assert!(pool.store(&mut held, segment(1, b"one"), 100));
        assert!(pool.store(&mut held, segment(4, b"two"), 100));
        assert!(pool.store(&mut held, segment(1, b"one"), 100));
        let got: Vec<_> = pool
            .segments(&held)
            .map(|s| (s.sequence, s.payload))
            .collect();
        assert_eq!(got, [(1, &b"one"[..]), (4, &b"two"[..])]);
        pool.release(&mut held);
        assert_eq!(pool.used(), 0);
    }

    #[test]
    fn bytes_segments_and_the_pool_limit_what_is_buffered() {
        let mut pool = SegmentPool::new(3);
        let (mut a, mut b) = (PendingData::default(), PendingData::default());
        assert!(!pool.store(&mut a, segment(1, &[0; 101]), 100));
        assert!(!pool.store(&mut a, segment(1, &[0; MAX_SEGMENT_BYTES + 1]), 65536));
        for n in 0..3 {
            assert!(pool.store(&mut a, segment(n, b"x"), 100));
        }
        assert!(!pool.store(&mut b, segment(9, b"x"), 100));
        pool.release(&mut a);
        assert!(pool.store(&mut b, segment(9, b"x"), 100));
    }
}
