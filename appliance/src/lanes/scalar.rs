//! One message after the other.

use synward_ebpf::siphash::Hasher;

use super::messages::{Messages, WIDTH};

/// Hashes every message.
pub(super) fn hash<const W: usize>(messages: &mut Messages<W>) {
    let count = messages.count();
    for (number, block) in messages.used().iter_mut().enumerate() {
        for lane in 0..WIDTH.min(count - number * WIDTH) {
            let mut hasher = Hasher::<2, 4>::new(&[block.keys[0][lane], block.keys[1][lane]]);
            for word in &block.words[..W - 1] {
                hasher = hasher.word(word[lane]);
            }
            // The word has the length in it.
            block.hashes[lane] = hasher.finish(block.words[W - 1][lane], 0);
        }
    }
}
