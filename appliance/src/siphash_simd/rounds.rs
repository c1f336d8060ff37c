//! SipHash-2-4 over vectors of messages.

/// Defines `hash`, which hashes blocks of eight messages with the vector instructions of `$feature`. Uses the
/// type `Vector` and the functions `load`, `store`, `all`, `add`, `xor` and `rotate_13` to `rotate_32` of the
/// same file. This is a macro because a trait method cannot enable a processor feature.
macro_rules! siphash {
    ($feature:literal) => {
        /// Hashes every block.
        #[target_feature(enable = $feature)]
        pub(super) fn hash<const W: usize>(messages: &mut Messages<W>) {
            for block in 0..messages.blocks() {
                let [k0, k1] = &messages.keys;
                let [k0, k1] = [load(k0.block(block)), load(k1.block(block))];
                let mut state = State {
                    v0: xor(k0, all(0x736f_6d65_7073_6575)),
                    v1: xor(k1, all(0x646f_7261_6e64_6f6d)),
                    v2: xor(k0, all(0x6c79_6765_6e65_7261)),
                    v3: xor(k1, all(0x7465_6462_7974_6573)),
                };
                for row in &messages.words {
                    let word = load(row.block(block));
                    state.v3 = xor(state.v3, word);
                    state = round(round(state));
                    state.v0 = xor(state.v0, word);
                }
                state.v2 = xor(state.v2, all(0xff));
                state = round(round(round(round(state))));
                let hash = xor(xor(state.v0, state.v1), xor(state.v2, state.v3));
                store(messages.hashes.block_mut(block), hash);
            }
        }

        struct State {
            v0: Vector,
            v1: Vector,
            v2: Vector,
            v3: Vector,
        }

        #[inline]
        #[target_feature(enable = $feature)]
        fn round(mut s: State) -> State {
            s.v0 = add(s.v0, s.v1);
            s.v2 = add(s.v2, s.v3);
            s.v1 = xor(rotate_13(s.v1), s.v0);
            s.v3 = xor(rotate_16(s.v3), s.v2);
            s.v0 = rotate_32(s.v0);
            s.v2 = add(s.v2, s.v1);
            s.v0 = add(s.v0, s.v3);
            s.v1 = xor(rotate_17(s.v1), s.v2);
            s.v3 = xor(rotate_21(s.v3), s.v0);
            s.v2 = rotate_32(s.v2);
            s
        }
    };
}

pub(super) use siphash;
