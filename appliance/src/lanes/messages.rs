//! What is hashed: messages of a fixed number of words, eight side by side.

use synward_ebpf::cookie::Key;

/// Messages side by side.
pub(super) const WIDTH: usize = 8;
/// Blocks of them.
const BLOCKS: usize = 8;

/// At most 64 messages of `W` words, and their hashes.
///
/// The last word of a message is as SipHash wants it: the length in bytes in its upper byte, below it
/// the bytes that do not fill a word.
#[derive(Debug)]
pub struct Messages<const W: usize> {
    blocks: [Block<W>; BLOCKS],
    count: usize,
}

/// Eight messages; word by word, so that a vector register is filled by one load.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<const W: usize> {
    pub(super) keys: [[u64; WIDTH]; 2],
    pub(super) words: [[u64; WIDTH]; W],
    pub(super) hashes: [u64; WIDTH],
}

impl<const W: usize> Default for Messages<W> {
    fn default() -> Self {
        let block = Block {
            keys: [[0; WIDTH]; 2],
            words: [[0; WIDTH]; W],
            hashes: [0; WIDTH],
        };
        Self {
            blocks: [block; BLOCKS],
            count: 0,
        }
    }
}

impl<const W: usize> Messages<W> {
    /// Forgets all messages.
    #[inline]
    pub fn clear(&mut self) {
        self.count = 0;
    }

    /// How many messages there are.
    #[inline]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Takes a message and the key to hash it with: its lane, or nothing if all 64 are taken.
    #[inline]
    pub fn push(&mut self, key: &Key, words: &[u64; W]) -> Option<usize> {
        let lane = self.count;
        let block = self.blocks.get_mut(lane / WIDTH)?;
        let at = lane % WIDTH;
        for (row, value) in block.keys.iter_mut().zip(key) {
            row[at] = *value;
        }
        for (row, value) in block.words.iter_mut().zip(words) {
            row[at] = *value;
        }
        self.count = lane + 1;
        Some(lane)
    }

    /// The message of a lane. A lane that does not exist stands for the one that it is modulo 64.
    #[inline]
    pub fn words(&self, lane: usize) -> [u64; W] {
        let words = &self.blocks[lane / WIDTH % BLOCKS].words;
        std::array::from_fn(|word| words[word][lane % WIDTH])
    }

    /// The hash of a lane, once [`Lanes::hash_all`](super::Lanes::hash_all) has made it.
    #[inline]
    pub fn hash(&self, lane: usize) -> u64 {
        self.blocks[lane / WIDTH % BLOCKS].hashes[lane % WIDTH]
    }

    /// The blocks that hold messages; the last one may hold fewer than eight, and old ones beside them.
    #[inline]
    pub(super) fn used(&mut self) -> &mut [Block<W>] {
        &mut self.blocks[..self.count.div_ceil(WIDTH)]
    }
}
