//! One message at a time.

use synward_core::siphash::Hasher;

use super::messages::Messages;

/// Hashes every message.
pub(super) fn hash<const W: usize>(messages: &mut Messages<W>) {
    for lane in 0..messages.count() {
        let [k0, k1] = &messages.keys;
        let mut hasher = Hasher::<2, 4>::new(&[k0.word(lane), k1.word(lane)]);
        for row in &messages.words[..W - 1] {
            hasher = hasher.word(row.word(lane));
        }
        // The last word already contains the length.
        let hash = hasher.finish(messages.words[W - 1].word(lane), 0);
        messages.hashes.set_word(lane, hash);
    }
}
