//! One message after the other.

use synward_ebpf::siphash::Hasher;

use super::messages::{Block, WIDTH};

/// Hashes every block.
pub(super) fn hash<const W: usize>(blocks: &mut [Block<W>]) {
    for block in blocks {
        for lane in 0..WIDTH {
            let mut hasher = Hasher::<2, 4>::new(&[block.keys[0][lane], block.keys[1][lane]]);
            for word in &block.words[..W - 1] {
                hasher = hasher.word(word[lane]);
            }
            block.hashes[lane] = hasher.finish(block.words[W - 1][lane], 0);
        }
    }
}
