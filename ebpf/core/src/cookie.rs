//! SYN cookies: the client keeps what synward has to remember about it.
//!
//! The *message* of the SipHash-2-4 is: client address, server address (4 or 16 bytes each), client port,
//! server port (network order), the client's ISN (little-endian), the variant (1 byte), the option
//! bits (2 bytes, little-endian). It has 19 bytes over IPv4, 43 over IPv6.
//!
//! | | with timestamps | plain |
//! |---|---|---|
//! | added to the client's ISN mod 2³² | epoch 2 · MAC bits 0–29 | epoch 2 · options 5 · MAC bits 0–24 |
//! | SYN-ACK TSval | options 10 · MAC bits 30–51 | – |
//!
//! An ACK with a timestamp option is checked only as the first variant, one without only as the second. The variant is part
//! of the message, so the weaker form never passes for the stronger one. The options of the first are in
//! [`client_options`](crate::client_options), those of the second in [`plain_code_book`].

use crate::client_options::ClientOptions;
use crate::flow::FlowKey;
use crate::plain_code_book;
use crate::siphash::Hasher;

/// Seconds of one epoch.
pub const EPOCH_SECONDS: u64 = 32;
/// Nanoseconds of one epoch.
pub const EPOCH_NANOSECONDS: u64 = EPOCH_SECONDS * 1_000_000_000;

/// The key of one service for one epoch: 128 bits as two little-endian words.
pub type Key = [u64; 2];

/// The fields of a SYN-ACK that carry the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// Our ISN, K.
    pub isn: u32,
    /// Our TSval; not sent without timestamps.
    pub tsval: u32,
}

/// The fields of an ACK that may carry a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckFields {
    /// The client's ISN, C: SEG.SEQ − 1.
    pub client_isn: u32,
    /// Our ISN, K: SEG.ACK − 1.
    pub isn: u32,
    /// TSecr, if the ACK has timestamps.
    pub tsecr: Option<u32>,
}

/// The age of a cookie, from the low two bits of its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// Of an accepted epoch: the previous, the current or the next one.
    Fresh,
    /// Of the epoch before the previous one: recognised, but not accepted.
    Expired,
}

/// The form of a cookie, and what it says about the layout. 1 was a plain form with six bits of options: its cookies are
/// refused, not misread.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    Timestamps = 2,
    Plain = 3,
}

/// Bits of the MAC in a plain cookie.
pub const PLAIN_MAC_BITS: u32 = 30 - plain_code_book::BITS;
const PLAIN_MAC: u32 = (1 << PLAIN_MAC_BITS) - 1;

/// The variant of a cookie and the client's options as it encodes them. The MAC covers both, beside the flow and the
/// client's ISN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodedOptions {
    variant: Variant,
    options: u16,
}

impl EncodedOptions {
    /// The encoding for a client over IPv4 (`v4`) or IPv6; `timestamps`: whether they are negotiated.
    #[inline(always)]
    pub const fn new(options: &ClientOptions, timestamps: bool, v4: bool) -> Self {
        if timestamps {
            Self {
                variant: Variant::Timestamps,
                options: options.encode(v4),
            }
        } else {
            Self {
                variant: Variant::Plain,
                options: plain_code_book::encode(options, v4),
            }
        }
    }

    /// The option bits.
    #[inline(always)]
    pub const fn options(self) -> u16 {
        self.options
    }

    /// The cookie under `key`, the service's key for `epoch`.
    #[inline(always)]
    pub const fn cookie(self, key: &Key, epoch: u64, flow: &FlowKey, client_isn: u32) -> Cookie {
        self.into_cookie(self.mac(key, flow, client_isn), epoch, client_isn)
    }

    /// The last bytes of the message: variant and option bits.
    #[inline(always)]
    pub const fn message_tail(self) -> u64 {
        self.variant as u64 | (self.options as u64) << 8
    }

    #[inline(always)]
    const fn mac(self, key: &Key, flow: &FlowKey, client_isn: u32) -> u64 {
        flow.hash_into(Hasher::<2, 4>::new(key), client_isn.to_le())
            .finish(self.message_tail(), flow.hashed_bytes() + TAIL_BYTES)
    }

    /// The cookie with this MAC, of `epoch`.
    #[inline(always)]
    pub const fn into_cookie(self, mac: u64, epoch: u64, client_isn: u32) -> Cookie {
        let epoch = (epoch as u32 & 3) << 30;
        match self.variant {
            Variant::Timestamps => Cookie {
                isn: client_isn.wrapping_add(epoch | mac as u32 & 0x3fff_ffff),
                tsval: (self.options as u32) << 22 | (mac >> 30) as u32 & 0x3f_ffff,
            },
            Variant::Plain => {
                let layout =
                    epoch | (self.options as u32) << PLAIN_MAC_BITS | mac as u32 & PLAIN_MAC;
                Cookie {
                    isn: client_isn.wrapping_add(layout),
                    tsval: 0,
                }
            }
        }
    }
}

/// Bytes of the message after the client's ISN: variant and option bits.
pub const TAIL_BYTES: u8 = 3;

/// Makes the cookie for a SYN. `key` is the service's key for `epoch`; `timestamps`: whether they are negotiated.
#[inline(always)]
pub const fn make_cookie(
    key: &Key,
    epoch: u64,
    flow: &FlowKey,
    client_isn: u32,
    options: &ClientOptions,
    timestamps: bool,
) -> Cookie {
    let encoded = EncodedOptions::new(options, timestamps, flow.client.is_v4());
    encoded.cookie(key, epoch, flow, client_isn)
}

impl AckFields {
    /// The epoch of the cookie, as seen from the `current` one, and its age.
    #[inline(always)]
    pub const fn cookie_epoch(&self, current: u64) -> (u64, Age) {
        let named = self.isn.wrapping_sub(self.client_isn) >> 30;
        match named.wrapping_sub(current as u32) & 3 {
            0 => (current, Age::Fresh),
            1 => (current.wrapping_add(1), Age::Fresh),
            3 => (current.wrapping_sub(1), Age::Fresh),
            _ => (current.wrapping_sub(2), Age::Expired),
        }
    }

    /// The variant and the options that the ACK's cookie claims to encode. They are authentic only after a check.
    #[inline(always)]
    pub const fn encoded_options(&self) -> EncodedOptions {
        match self.tsecr {
            Some(tsecr) => EncodedOptions {
                variant: Variant::Timestamps,
                options: (tsecr >> 22) as u16,
            },
            None => EncodedOptions {
                variant: Variant::Plain,
                options: (self.isn.wrapping_sub(self.client_isn) >> PLAIN_MAC_BITS) as u16
                    & ((1 << plain_code_book::BITS) - 1),
            },
        }
    }

    /// Checks the cookie under `key`, the service's key for the epoch of [`Self::cookie_epoch`]. Returns the client's options
    /// if the cookie is valid.
    #[inline(always)]
    pub const fn check(&self, key: &Key, flow: &FlowKey) -> Option<ClientOptions> {
        let mac = self.encoded_options().mac(key, flow, self.client_isn);
        self.check_mac(mac, flow.client.is_v4())
    }

    /// [`Self::check`] with a MAC that was computed elsewhere, over [`Self::encoded_options`].
    #[inline(always)]
    pub const fn check_mac(&self, mac: u64, v4: bool) -> Option<ClientOptions> {
        let layout = self.isn.wrapping_sub(self.client_isn);
        match self.tsecr {
            Some(tsecr) => {
                let mac_bits = (layout & 0x3fff_ffff) as u64 | ((tsecr & 0x3f_ffff) as u64) << 30;
                if mac & ((1 << 52) - 1) != mac_bits {
                    return None;
                }
                Some(ClientOptions::decode(self.encoded_options().options, v4))
            }
            None => {
                if (mac as u32 ^ layout) & PLAIN_MAC != 0 {
                    return None;
                }
                Some(plain_code_book::decode(self.encoded_options().options, v4))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Address;
    use core::hash::Hasher as _;

    const KEY: Key = [0x1122_3344_5566_7788, 0x99aa_bbcc_ddee_ff00];
    const OPTIONS: ClientOptions = ClientOptions {
        mss: 1460,
        window_scale: Some(7),
        sack: true,
        ecn: false,
    };

    fn flows() -> [FlowKey; 2] {
        let v4 = |last: u8| Address::v4(u32::from_ne_bytes([192, 0, 2, last]));
        [
            FlowKey::new(v4(1), 40000, v4(2), 80),
            FlowKey::new(Address([1, 2, 3, 4]), 40000, Address([5, 6, 7, 8]), 443),
        ]
    }

    fn ack_fields(cookie: Cookie, client_isn: u32, timestamps: bool) -> AckFields {
        AckFields {
            client_isn,
            isn: cookie.isn,
            tsecr: timestamps.then_some(cookie.tsval),
        }
    }

    /// Hashes the message byte by byte with an independent implementation.
    #[test]
    fn the_mac_is_siphash_of_the_documented_message() {
        for flow in flows() {
            let cookie = make_cookie(&KEY, 5, &flow, 0xdead_beef, &OPTIONS, true);
            let mut oracle = siphasher::sip::SipHasher24::new_with_keys(KEY[0], KEY[1]);
            let skip = if flow.client.is_v4() { 12 } else { 0 };
            oracle.write(&flow.client.octets()[skip..]);
            oracle.write(&flow.server.octets()[skip..]);
            oracle.write(&flow.client_port().to_be_bytes());
            oracle.write(&flow.server_port().to_be_bytes());
            oracle.write(&0xdead_beefu32.to_le_bytes());
            oracle.write(&[2]);
            oracle.write(&OPTIONS.encode(flow.client.is_v4()).to_le_bytes());
            let mac = oracle.finish();
            let layout = cookie.isn.wrapping_sub(0xdead_beef);
            assert_eq!(layout & 0x3fff_ffff, mac as u32 & 0x3fff_ffff);
            assert_eq!(layout >> 30, 5 & 3);
            assert_eq!(cookie.tsval & 0x3f_ffff, (mac >> 30) as u32 & 0x3f_ffff);
        }
    }

    #[test]
    fn a_cookie_is_fresh_for_three_epochs_and_then_expired() {
        for timestamps in [true, false] {
            for flow in flows() {
                let fields = ack_fields(
                    make_cookie(&KEY, 100, &flow, 7, &OPTIONS, timestamps),
                    7,
                    timestamps,
                );
                let options = fields.check(&KEY, &flow).expect("our own cookie");
                assert_eq!(
                    ClientOptions {
                        mss: OPTIONS.mss,
                        ..options
                    },
                    OPTIONS
                );
                assert_eq!(fields.cookie_epoch(99), (100, Age::Fresh));
                assert_eq!(fields.cookie_epoch(100), (100, Age::Fresh));
                assert_eq!(fields.cookie_epoch(101), (100, Age::Fresh));
                assert_eq!(fields.cookie_epoch(102), (100, Age::Expired));
                assert_ne!(fields.cookie_epoch(103).0, 100);
            }
        }
    }

    #[test]
    fn a_cookie_is_invalid_after_any_field_is_altered() {
        for timestamps in [true, false] {
            for flow in flows() {
                let good = ack_fields(
                    make_cookie(&KEY, 1, &flow, 7, &OPTIONS, timestamps),
                    7,
                    timestamps,
                );
                let refused = |fields: AckFields, flow: FlowKey, key: Key| {
                    assert_eq!(fields.check(&key, &flow), None, "{fields:?} {flow:?}");
                };
                let mut moved = flow;
                moved.client.0[3] ^= 1 << 30;
                refused(good, moved, KEY);
                moved = flow;
                moved.server.0[3] ^= 1;
                refused(good, moved, KEY);
                for bit in [0, 15, 16, 31] {
                    refused(
                        good,
                        FlowKey {
                            ports: flow.ports ^ 1 << bit,
                            ..flow
                        },
                        KEY,
                    );
                    refused(
                        AckFields {
                            client_isn: good.client_isn ^ 1 << bit,
                            ..good
                        },
                        flow,
                        KEY,
                    );
                }
                // The two epoch bits select the key, so a change of them is noticed there.
                for bit in 0..30 {
                    refused(
                        AckFields {
                            isn: good.isn ^ 1 << bit,
                            ..good
                        },
                        flow,
                        KEY,
                    );
                }
                refused(good, flow, [KEY[0] ^ 1, KEY[1]]);
                if let Some(tsecr) = good.tsecr {
                    for bit in 0..32 {
                        refused(
                            AckFields {
                                tsecr: Some(tsecr ^ 1 << bit),
                                ..good
                            },
                            flow,
                            KEY,
                        );
                    }
                }
                let other = good.tsecr.is_none().then_some(0);
                refused(
                    AckFields {
                        tsecr: other,
                        ..good
                    },
                    flow,
                    KEY,
                );
            }
        }
    }
}
