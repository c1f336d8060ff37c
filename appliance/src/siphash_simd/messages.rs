//! Messages of a fixed number of words, laid out side by side for vector registers.

use synward_core::cookie::Key;

/// Number of messages per block, side by side in vector registers.
pub(super) const WIDTH: usize = 8;
/// Maximum number of messages in a batch.
const MAX_MESSAGES: usize = 64;

/// At most 64 messages of `W` words, and their hashes.
///
/// The last word of a message has the layout that SipHash requires: the length in bytes in its upper byte,
/// and below it the remaining bytes, which do not fill a word.
#[derive(Debug)]
pub struct Messages<const W: usize> {
    pub(super) keys: [Row; 2],
    pub(super) words: [Row; W],
    pub(super) hashes: Row,
    count: usize,
}

/// One word of every message, so that one load fills a vector register, and one index finds the words of a
/// message.
#[repr(align(64))]
#[derive(Clone, Copy, Debug)]
pub(super) struct Row([u64; MAX_MESSAGES]);

impl Row {
    /// The words of the eight messages of a block.
    #[inline(always)]
    pub(super) fn block(&self, number: usize) -> &[u64; WIDTH] {
        &self.0.as_chunks().0[number % (MAX_MESSAGES / WIDTH)]
    }

    /// The same, mutable.
    #[inline(always)]
    pub(super) fn block_mut(&mut self, number: usize) -> &mut [u64; WIDTH] {
        &mut self.0.as_chunks_mut().0[number % (MAX_MESSAGES / WIDTH)]
    }

    /// The word of one message.
    #[inline(always)]
    pub(super) fn word(&self, lane: usize) -> u64 {
        self.0[lane % MAX_MESSAGES]
    }

    /// Sets the word of one message.
    #[inline(always)]
    pub(super) fn set_word(&mut self, lane: usize, word: u64) {
        self.0[lane % MAX_MESSAGES] = word;
    }
}

impl<const W: usize> Default for Messages<W> {
    fn default() -> Self {
        let row = Row([0; MAX_MESSAGES]);
        Self {
            keys: [row; 2],
            words: [row; W],
            hashes: row,
            count: 0,
        }
    }
}

impl<const W: usize> Messages<W> {
    /// Removes all messages.
    #[inline]
    pub fn clear(&mut self) {
        self.count = 0;
    }

    /// Number of messages.
    #[inline]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Adds a message and its key. Returns its lane, or `None` if all 64 are in use.
    #[inline(always)]
    pub fn push(&mut self, key: &Key, words: &[u64; W]) -> Option<usize> {
        let lane = self.count;
        if lane >= MAX_MESSAGES {
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

    /// The message of a lane; the lane is taken modulo 64.
    #[inline(always)]
    pub fn words(&self, lane: usize) -> [u64; W] {
        std::array::from_fn(|word| self.words[word].word(lane))
    }

    /// The hash of a lane, after [`HashBackend::hash_all`](super::HashBackend::hash_all).
    #[inline(always)]
    pub fn hash(&self, lane: usize) -> u64 {
        self.hashes.word(lane)
    }

    /// Number of blocks with messages. The last one may contain old messages in unused lanes.
    #[inline]
    pub(super) fn blocks(&self) -> usize {
        self.count.div_ceil(WIDTH)
    }
}
