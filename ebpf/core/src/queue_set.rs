//! A set of receive queues of one interface.

/// The most receive queues of one interface that have a socket.
pub const MAX_QUEUES: u32 = 256;

const BITS: u32 = u64::BITS;
const WORDS: usize = (MAX_QUEUES / BITS) as usize;
const _: () = assert!(MAX_QUEUES.is_power_of_two() && MAX_QUEUES >= BITS);

/// Some of the queues below [`MAX_QUEUES`], one bit each.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueSet([u64; WORDS]);

impl QueueSet {
    /// Whether it has a queue. Of a number that is too large, only the low bits count: no such queue has a socket.
    #[inline(always)]
    pub const fn contains(&self, queue: u32) -> bool {
        let (word, bit) = Self::place(queue);
        self.0[word] >> bit & 1 != 0
    }

    /// Adds a queue, below [`MAX_QUEUES`].
    pub const fn insert(&mut self, queue: u32) {
        let (word, bit) = Self::place(queue);
        self.0[word] |= 1 << bit;
    }

    /// Its queues that `other` has as well.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(core::array::from_fn(|word| self.0[word] & other.0[word]))
    }

    /// Its queues that `other` has not.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(core::array::from_fn(|word| self.0[word] & !other.0[word]))
    }

    /// The word and the bit of a queue.
    #[inline(always)]
    const fn place(queue: u32) -> (usize, u32) {
        ((queue / BITS) as usize & (WORDS - 1), queue % BITS)
    }
}

impl FromIterator<u32> for QueueSet {
    fn from_iter<I: IntoIterator<Item = u32>>(queues: I) -> Self {
        let mut set = Self::default();
        queues.into_iter().for_each(|queue| set.insert(queue));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_queue_have_bits_of_their_own() {
        let set = QueueSet::from_iter([0, 63, 64, MAX_QUEUES - 1]);
        let has = (0..MAX_QUEUES).filter(|queue| set.contains(*queue));
        assert!(has.eq([0, 63, 64, MAX_QUEUES - 1]));
    }

    #[test]
    fn sets_are_intersected_and_subtracted() {
        let (set, other) = (QueueSet::from_iter([1, 200]), QueueSet::from_iter([200, 7]));
        assert_eq!(set.and(other), QueueSet::from_iter([200]));
        assert_eq!(set.without(other), QueueSet::from_iter([1]));
    }
}
