//! What is hashed: messages of a fixed number of words, side by side.

use synward_core::cookie::Key;

/// Messages side by side in a vector register.
pub(super) const WIDTH: usize = 8;
/// Messages of a batch.
const MOST: usize = 64;

/// At most 64 messages of `W` words, and their hashes.
///
/// The last word of a message is as SipHash wants it: the length in bytes in its upper byte, below it
/// the bytes that do not fill a word.
#[derive(Debug)]
pub struct Messages<const W: usize> {
    pub(super) keys: [Row; 2],
    pub(super) words: [Row; W],
    pub(super) hashes: Row,
    count: usize,
}

/// One word of every message, so that a vector register is filled by one load, and a message's words are
/// found by one index.
#[repr(align(64))]
#[derive(Clone, Copy, Debug)]
pub(super) struct Row([u64; MOST]);

impl Row {
    /// The words of the eight messages of a block.
    #[inline(always)]
    pub(super) fn block(&self, number: usize) -> &[u64; WIDTH] {
        &self.0.as_chunks().0[number % (MOST / WIDTH)]
    }

    /// The same, to be written.
    #[inline(always)]
    pub(super) fn block_mut(&mut self, number: usize) -> &mut [u64; WIDTH] {
        &mut self.0.as_chunks_mut().0[number % (MOST / WIDTH)]
    }

    /// The word of one message.
    #[inline(always)]
    pub(super) fn word(&self, lane: usize) -> u64 {
        self.0[lane % MOST]
    }

    /// Sets the word of one message.
    #[inline(always)]
    pub(super) fn set_word(&mut self, lane: usize, word: u64) {
        self.0[lane % MOST] = word;
    }
}

impl<const W: usize> Default for Messages<W> {
    fn default() -> Self {
        let row = Row([0; MOST]);
        Self {
            keys: [row; 2],
            words: [row; W],
            hashes: row,
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
    #[inline(always)]
    pub fn push(&mut self, key: &Key, words: &[u64; W]) -> Option<usize> {
        let lane = self.count;
        if lane >= MOST {
            return None;
        }
        for (row, value) in self.keys.iter_mut().zip(key) {
            row.set_word(lane, *value);
        }
        for (row, value) in self.words.iter_mut().zip(words) {
            row.set_word(lane, *value);
        }
        self.count = lane + 1;
        Some(lane)
    }

    /// The message of a lane. A lane that does not exist stands for the one that it is modulo 64.
    #[inline(always)]
    pub fn words(&self, lane: usize) -> [u64; W] {
        std::array::from_fn(|word| self.words[word].word(lane))
    }

    /// The hash of a lane, once [`HashBackend::hash_all`](super::HashBackend::hash_all) has made it.
    #[inline(always)]
    pub fn hash(&self, lane: usize) -> u64 {
        self.hashes.word(lane)
    }

    /// How many blocks hold messages; the last one may hold fewer than eight, and old ones beside them.
    #[inline]
    pub(super) fn blocks(&self) -> usize {
        self.count.div_ceil(WIDTH)
    }
}
