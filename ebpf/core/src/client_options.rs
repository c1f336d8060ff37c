//! How cookies encode the client's TCP options: a wire format between nodes that share a key. This file has the form with
//! timestamps; that without is a joint code book ([`plain_code_book`](crate::plain_code_book)).
//!
//! Values are only rounded down, so that a server never sends more than the client asked for. Changing a table changes the
//! meaning of cookies in flight: add a cookie variant instead.

/// The options of a client's SYN that a cookie can encode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientOptions {
    /// The client's MSS in bytes.
    pub mss: u16,
    /// The client's window shift, if it asked for window scaling.
    pub window_scale: Option<u8>,
    /// Whether it permitted SACK.
    pub sack: bool,
    /// Whether it asked for ECN (RFC 3168 §6.1.1).
    pub ecn: bool,
}

/// The MSS of a client that sends no MSS option over IPv4 (RFC 9293 §3.7.1, MUST-15).
pub const DEFAULT_MSS_V4: u16 = 536;
/// The MSS of a client that sends no MSS option over IPv6 (RFC 9293 §3.7.1, MUST-15).
pub const DEFAULT_MSS_V6: u16 = 1220;

/// MSS values over IPv4 with timestamps, by a code of four bits. 1460 is Ethernet, 1452 PPPoE, 1412 to 1300 tunnels, 8960
/// jumbo frames; 48 is the least that Linux accepts (`TCP_MIN_SND_MSS`).
pub const MSS_V4: [u16; 16] = [
    48, 256, 536, 996, 1220, 1300, 1340, 1360, 1380, 1400, 1412, 1420, 1440, 1452, 1460, 8960,
];
/// MSS values over IPv6 with timestamps, by a code of four bits.
pub const MSS_V6: [u16; 16] = [
    48, 256, 536, 976, 1220, 1280, 1320, 1340, 1360, 1380, 1392, 1400, 1420, 1432, 1440, 8940,
];
/// The code for no window scaling, in place of a shift of 0–14.
pub const NO_SCALE: u8 = 15;
/// The index of the largest entry that is not above `value`; 0 if all are.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
const fn round_down<const N: usize>(table: &[u16; N], value: u16) -> u16 {
    let mut index = 0;
    let mut i = 1;
    while i < N {
        // The entries ascend, so the number of entries not above `value` is the index of the last one.
        index += (table[i] <= value) as u16;
        i += 1;
    }
    index
}

/// [`round_down`] in [`MSS_V4`] or [`MSS_V6`]. On BPF this compares from the largest entry down and stops at the first that
/// fits: nearly all clients have the largest MSS of Ethernet, and sixteen comparisons next to a hash, which needs all
/// registers, would spill to the stack. The tables are named here because the compiler keeps a loop with bounds checks if the
/// table is a parameter.
#[cfg(target_arch = "bpf")]
#[inline(always)]
const fn mss_index(v4: bool, value: u16) -> u16 {
    let mut index = 15;
    while index > 0 {
        let entry = if v4 { MSS_V4[index] } else { MSS_V6[index] };
        if entry <= value {
            break;
        }
        index -= 1;
    }
    index as u16
}

/// [`round_down`] in [`MSS_V4`] or [`MSS_V6`].
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
const fn mss_index(v4: bool, value: u16) -> u16 {
    if v4 {
        round_down(&MSS_V4, value)
    } else {
        round_down(&MSS_V6, value)
    }
}

impl ClientOptions {
    /// The ten bits for a client with timestamps; from the low end: MSS code 4, window shift 4, SACK 1, ECN 1.
    #[inline(always)]
    pub const fn encode(&self, v4: bool) -> u16 {
        let mss = mss_index(v4, self.mss);
        let scale = match self.window_scale {
            Some(scale) => scale as u16,
            None => NO_SCALE as u16,
        };
        mss | scale << 4 | (self.sack as u16) << 8 | (self.ecn as u16) << 9
    }

    /// The options of [`Self::encode`]'s bits; the MSS as rounded there.
    #[inline(always)]
    pub const fn decode(bits: u16, v4: bool) -> Self {
        let index = (bits & 15) as usize;
        let scale = (bits >> 4 & 15) as u8;
        Self {
            mss: if v4 { MSS_V4[index] } else { MSS_V6[index] },
            window_scale: if scale == NO_SCALE { None } else { Some(scale) },
            sack: bits >> 8 & 1 != 0,
            ecn: bits >> 9 & 1 != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = ClientOptions> {
        let scales = (0..=14).map(Some).chain([None]);
        scales.flat_map(|window_scale| {
            [48, 255, 536, 1300, 1459, 1460, 9000, 65535]
                .into_iter()
                .flat_map(move |mss| {
                    [(true, true), (true, false), (false, true), (false, false)].map(
                        |(sack, ecn)| ClientOptions {
                            mss,
                            window_scale,
                            sack,
                            ecn,
                        },
                    )
                })
        })
    }

    #[test]
    fn with_timestamps_only_the_mss_is_rounded_and_only_down() {
        for v4 in [true, false] {
            for options in all() {
                let decoded = ClientOptions::decode(options.encode(v4), v4);
                assert!(options.encode(v4) < 1 << 10 && decoded.mss <= options.mss);
                assert_eq!(
                    ClientOptions {
                        mss: options.mss,
                        ..decoded
                    },
                    options
                );
            }
        }
    }

    #[test]
    fn default_mss_values_are_exact() {
        assert!(MSS_V4.contains(&DEFAULT_MSS_V4));
        assert!(MSS_V6.contains(&DEFAULT_MSS_V6));
    }
}
