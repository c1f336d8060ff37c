//! Buffers the client's data until its server answers: copied, bounded, in order of arrival.

use arrayvec::ArrayVec;
use synward_core::worker_request::LONGEST_PACKET;

/// Maximum length of a buffered segment. The client retransmits longer ones.
pub const MAX_SEGMENT_BYTES: usize = LONGEST_PACKET as usize;
/// Maximum number of segments buffered for one opening: a client's initial window and some duplicates.
pub const MAX_SEGMENTS: usize = 32;

/// A slot of the [`SegmentPool`].
#[derive(Debug)]
struct Slot {
    /// The number of its opening.
    owner: u32,
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

/// What became of a segment that was to be buffered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is buffered.
    New,
    /// It was buffered before.
    Known,
    /// It is too long, or its opening has its maximum.
    TooMuch,
    /// The pool is full.
    PoolFull,
}

impl PendingData {
    /// Number of buffered bytes.
    pub fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Number of buffered segments.
    pub fn segments(&self) -> u32 {
        self.slots.len() as u32
    }
}

impl SegmentPool {
    /// Creates a pool of `segments` slots.
    pub fn new(segments: u16) -> Self {
        let slots = (0..segments)
            .map(|_| Slot {
                owner: 0,
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

    /// Buffers a segment of the opening with number `owner`. `limit` is the maximum for the opening, in bytes.
    pub fn store(
        &mut self,
        owner: u32,
        held: &mut PendingData,
        segment: PendingSegment<'_>,
        limit: u32,
    ) -> Stored {
        let length = segment.payload.len();
        let known = held.slots.iter().any(|slot| {
            let slot = &self.slots[usize::from(*slot)];
            slot.sequence == segment.sequence && usize::from(slot.length) >= length
        });
        if known {
            return Stored::Known;
        }
        if length > MAX_SEGMENT_BYTES || held.bytes + length as u32 > limit || held.slots.is_full()
        {
            return Stored::TooMuch;
        }
        let Some(index) = self.free.pop() else {
            return Stored::PoolFull;
        };
        let slot = &mut self.slots[usize::from(index)];
        slot.owner = owner;
        slot.sequence = segment.sequence;
        slot.flags = segment.flags;
        slot.length = length as u16;
        slot.bytes[..length].copy_from_slice(segment.payload);
        held.slots.push(index);
        held.bytes += length as u32;
        Stored::New
    }

    /// Frees the latest segment of an opening; its client sends it again.
    pub fn drop_latest(&mut self, held: &mut PendingData) {
        if let Some(index) = held.slots.pop() {
            held.bytes -= u32::from(self.slots[usize::from(index)].length);
            self.free.push(index);
        }
    }

    /// The opening of a segment in a full pool, chosen by `random`.
    pub fn owner_at(&self, random: u64) -> u32 {
        let count = self.slots.len().max(1) as u64;
        self.slots
            .get((random % count) as usize)
            .map_or(0, |slot| slot.owner)
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
        assert_eq!(
            pool.store(0, &mut held, segment(1, b"one"), 100),
            Stored::New
        );
        assert_eq!(
            pool.store(0, &mut held, segment(4, b"two"), 100),
            Stored::New
        );
        assert_eq!(
            pool.store(0, &mut held, segment(1, b"one"), 100),
            Stored::Known
        );
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
        let too_long = [0; MAX_SEGMENT_BYTES + 1];
        for (payload, limit) in [(&too_long[..101], 100), (&too_long[..], 65536)] {
            let stored = pool.store(0, &mut a, segment(1, payload), limit);
            assert_eq!(stored, Stored::TooMuch);
        }
        for n in 0..3 {
            assert_eq!(pool.store(0, &mut a, segment(n, b"x"), 100), Stored::New);
        }
        assert_eq!(
            pool.store(1, &mut b, segment(9, b"x"), 100),
            Stored::PoolFull
        );
        assert!((0..9).all(|random| pool.owner_at(random) == 0));
        pool.drop_latest(&mut a);
        assert_eq!((a.bytes(), a.segments()), (2, 2));
        assert_eq!(pool.store(1, &mut b, segment(9, b"x"), 100), Stored::New);
        assert!((0..9).any(|random| pool.owner_at(random) == 1));
        pool.release(&mut a);
        assert_eq!(pool.used(), 1);
    }
}
