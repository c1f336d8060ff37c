//! The code book of plain cookies: MSS, window shift and SACK of a client without timestamps, jointly in five bits.
//!
//! A wire format between nodes that share a key. Every bit of the code is a bit less for the MAC. The book therefore has
//! the combinations that clients without timestamps send: Windows (shift 8 and SACK, with any MSS of a tunnel), Linux without
//! timestamps (any shift), stacks without scaling, and those with an MSS alone.
//!
//! The code of a client is the highest one whose options are all not above the client's: an MSS that is not larger, a
//! window shift that is not larger, and nothing that the client did not ask for. The SYN-ACK offers only what the code holds.
//!
//! | code | options |
//! |---|---|
//! | 16 + shift | the MSS of Ethernet ([`TOP_MSS_V4`], [`TOP_MSS_V6`]), SACK, this window shift of 0–14 |
//! | 31 | the MSS of Ethernet, SACK, no scaling |
//! | 0–15 | an [`Entry`] of [`ENTRIES_V4`] or [`ENTRIES_V6`] |

use crate::client_options::{ClientOptions, NO_SCALE};

/// Bits of a code.
pub const BITS: u32 = 5;

/// The MSS of codes from 16 on, over IPv4.
pub const TOP_MSS_V4: u16 = 1460;
/// The MSS of codes from 16 on, over IPv6.
pub const TOP_MSS_V6: u16 = 1440;

/// The options of a code below 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    mss: u16,
    /// The window shift, or [`NO_SCALE`].
    scale: u8,
    sack: bool,
}

const fn entry(mss: u16, scale: u8, sack: bool) -> Entry {
    Entry { mss, scale, sack }
}

/// The codes below 16 over IPv4. The MSS steps are those of links with an MTU of 1240, 1340, 1400, 1440 and 1480 bytes; 48 is
/// the least that Linux accepts (`TCP_MIN_SND_MSS`).
pub const ENTRIES_V4: [Entry; 16] = [
    entry(48, NO_SCALE, false),
    entry(536, NO_SCALE, false),
    entry(536, 0, false),
    entry(1300, NO_SCALE, false),
    entry(1460, NO_SCALE, false),
    entry(1300, 7, false),
    entry(536, NO_SCALE, true),
    entry(1300, NO_SCALE, true),
    entry(1300, 2, true),
    entry(1300, 7, true),
    entry(536, 8, true),
    entry(1200, 8, true),
    entry(1300, 8, true),
    entry(1360, 8, true),
    entry(1400, 8, true),
    entry(1440, 8, true),
];

/// The codes below 16 over IPv6, for links with an MTU of 1280, 1340, 1400, 1440 and 1480 bytes.
pub const ENTRIES_V6: [Entry; 16] = [
    entry(48, NO_SCALE, false),
    entry(536, NO_SCALE, false),
    entry(1220, NO_SCALE, false),
    entry(1220, 0, false),
    entry(1440, NO_SCALE, false),
    entry(1280, 7, false),
    entry(1220, NO_SCALE, true),
    entry(1280, NO_SCALE, true),
    entry(1280, 2, true),
    entry(1280, 7, true),
    entry(536, 8, true),
    entry(1220, 8, true),
    entry(1280, 8, true),
    entry(1340, 8, true),
    entry(1380, 8, true),
    entry(1420, 8, true),
];

/// The code of a client's options; ECN has none.
#[inline(always)]
pub const fn encode(options: &ClientOptions, v4: bool) -> u16 {
    let (mss, sack) = (options.mss, options.sack);
    let top = if v4 { TOP_MSS_V4 } else { TOP_MSS_V6 };
    if sack && mss >= top {
        return match options.window_scale {
            Some(scale) => 16 | scale as u16,
            None => 16 | NO_SCALE as u16,
        };
    }
    // More than a shift, so that "no scaling" fits every client.
    let scale = match options.window_scale {
        Some(scale) => scale as u16 + 1,
        None => 0,
    };
    // The tables are named in the loop because the compiler keeps bounds checks if the table is chosen before it.
    let mut code = 15;
    while code > 0 {
        let entry = if v4 {
            ENTRIES_V4[code]
        } else {
            ENTRIES_V6[code]
        };
        if entry.mss <= mss && (sack || !entry.sack) && (entry.scale as u16 + 1) & 15 <= scale {
            break;
        }
        code -= 1;
    }
    code as u16
}

/// The options of a code of five bits, as [`encode`] rounded them.
#[inline(always)]
pub const fn decode(code: u16, v4: bool) -> ClientOptions {
    let low = (code & 15) as usize;
    let found = if code & 16 != 0 {
        let top = if v4 { TOP_MSS_V4 } else { TOP_MSS_V6 };
        entry(top, low as u8, true)
    } else if v4 {
        ENTRIES_V4[low]
    } else {
        ENTRIES_V6[low]
    };
    ClientOptions {
        mss: found.mss,
        window_scale: if found.scale == NO_SCALE {
            None
        } else {
            Some(found.scale)
        },
        sack: found.sack,
        ecn: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client_options::{DEFAULT_MSS_V4, DEFAULT_MSS_V6};

    fn options(mss: u16, window_scale: Option<u8>, sack: bool) -> ClientOptions {
        ClientOptions {
            mss,
            window_scale,
            sack,
            ecn: false,
        }
    }

    fn rounded(options: &ClientOptions, v4: bool) -> ClientOptions {
        let code = encode(options, v4);
        assert!(code < 1 << BITS);
        decode(code, v4)
    }

    fn all() -> impl Iterator<Item = ClientOptions> {
        let scales = || (0..=14).map(Some).chain([None]);
        (48..=1500)
            .chain([8960, 9000, u16::MAX])
            .flat_map(move |mss| {
                scales().flat_map(move |scale| [true, false].map(|sack| options(mss, scale, sack)))
            })
    }

    #[test]
    fn options_are_only_rounded_down() {
        for v4 in [true, false] {
            for client in all() {
                let kept = rounded(&client, v4);
                assert!(kept.mss <= client.mss, "{client:?} {kept:?}");
                assert!(kept.window_scale <= client.window_scale, "{client:?}");
                assert!(client.sack || !kept.sack, "{client:?}");
                // The SYN-ACK offers what the cookie holds: the reduced options have the same code.
                let offered = ClientOptions {
                    mss: client.mss,
                    ..kept
                };
                assert_eq!(rounded(&offered, v4), kept, "{client:?}");
            }
        }
    }

    /// The kernel makes no connection with a smaller MSS than these (`bpf_sk_assign_tcp_reqsk`).
    #[test]
    fn no_mss_is_rounded_to_less_than_the_default_of_its_family() {
        for (v4, least) in [(true, DEFAULT_MSS_V4), (false, DEFAULT_MSS_V6)] {
            for client in all().filter(|client| client.mss >= least) {
                assert!(rounded(&client, v4).mss >= least, "{client:?}");
            }
            for scale in [None, Some(2)] {
                assert_eq!(rounded(&options(least, scale, false), v4).mss, least);
            }
        }
    }

    #[test]
    fn every_window_shift_is_exact_on_ethernet() {
        for scale in (0..=14).map(Some).chain([None]) {
            for (v4, mss) in [(true, 1460), (false, 1440)] {
                let client = options(mss, scale, true);
                assert_eq!(rounded(&client, v4), client);
            }
        }
    }

    /// Windows keeps shift and SACK with every MSS of a tunnel, and at least 93 % of the MSS.
    #[test]
    fn windows_in_tunnels_keeps_nearly_all_of_its_mss() {
        for v4 in [true, false] {
            for mss in 1220..=1460 {
                let kept = rounded(&options(mss, Some(8), true), v4);
                assert_eq!((kept.window_scale, kept.sack), (Some(8), true));
                assert!(u32::from(kept.mss) * 100 >= u32::from(mss) * 92, "{mss}");
            }
        }
        for (mss, kept) in [(1300, 1300), (1350, 1300), (1359, 1300), (1360, 1360)] {
            assert_eq!(rounded(&options(mss, Some(8), true), true).mss, kept);
        }
    }

    #[test]
    fn clients_with_few_options_keep_a_usable_mss() {
        for (client, kept) in [
            (options(1359, None, false), options(1300, None, false)),
            (options(1359, None, true), options(1300, None, true)),
            (options(1359, Some(7), true), options(1300, Some(7), true)),
            (options(1460, None, false), options(1460, None, false)),
            (options(1460, Some(3), false), options(1460, None, false)),
            (options(1460, Some(9), false), options(1300, Some(7), false)),
            (options(1400, Some(1), true), options(1300, None, true)),
            (options(700, Some(11), true), options(536, Some(8), true)),
        ] {
            assert_eq!(rounded(&client, true), kept, "{client:?}");
        }
    }
}
