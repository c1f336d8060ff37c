//! SYN → SYN-ACK, without a byte of state (RFC 4987 §3.6).
//!
//! The SYN-ACK is written over the SYN. It offers the options that the client asked for and the server supports
//! ([`Profile`]), in fixed slots of four bytes, so that the answer to the SYN of every common stack has the SYN's length.

use crate::client_options::{ClientOptions, DEFAULT_MSS_V4, DEFAULT_MSS_V6};
use crate::cookie::{Cookie, EncodedOptions, Key};
use crate::flow::FlowKey;
use crate::generated_segment::{HandshakeOptions, Segment};
use crate::layout::Profile;
use crate::plain_code_book;
use crate::wire::tcp::{Repr, flags};
use crate::wire::tcp_options::Found;

/// The fields of a SYN that its answer depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syn<'a> {
    /// Client and server.
    pub flow: &'a FlowKey,
    /// The client's ISN, C.
    pub isn: u32,
    /// The options that the client asked for.
    pub options: ClientOptions,
    /// The client's TSval, if it sent timestamps.
    pub tsval: Option<u32>,
}

/// The flags of a SYN that ask for ECN (RFC 3168 §6.1.1). An AccECN client (RFC 9768 §3.1.1) sets them too and accepts an
/// answer for classic ECN.
pub const ECN_SETUP: u8 = flags::ECE | flags::CWR;

impl<'a> Syn<'a> {
    /// A SYN from its parts; `found` and `tsval` come from a walk over its options. Without an MSS option it gets the default
    /// (RFC 9293 §3.7.1).
    #[inline(always)]
    pub const fn new(
        flow: &'a FlowKey,
        isn: u32,
        tcp_flags: u8,
        found: &Found,
        tsval: Option<u32>,
    ) -> Self {
        let default = if flow.client.is_v4() {
            DEFAULT_MSS_V4
        } else {
            DEFAULT_MSS_V6
        };
        let options = ClientOptions {
            mss: match found.mss() {
                Some(mss) => mss,
                None => default,
            },
            window_scale: found.window_scale(),
            sack: found.sack_permitted(),
            ecn: tcp_flags & ECN_SETUP == ECN_SETUP,
        };
        Self {
            flow,
            isn,
            options,
            tsval,
        }
    }
}

/// The SYN-ACK for `syn`, with a cookie under `key`, the service's key for `epoch`.
#[inline(always)]
pub const fn syn_ack(key: &Key, epoch: u64, syn: &Syn, profile: &Profile) -> Segment {
    let negotiated = Negotiated::new(&syn.options, syn.tsval, profile, syn.flow.client.is_v4());
    let cookie = negotiated.cookie(key, epoch, syn.flow, syn.isn);
    negotiated.syn_ack(syn.flow, syn.isn, cookie, profile)
}

/// The options that client and server both support.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// These options; MSS and window shift are the client's.
    pub options: ClientOptions,
    /// The client's TSval, if timestamps are negotiated.
    pub tsval: Option<u32>,
    /// The options as the cookie encodes them.
    pub encoded: EncodedOptions,
}

impl Negotiated {
    /// The options of a SYN over IPv4 (`v4`) or IPv6 that the server's `profile` supports and the cookie can hold.
    #[inline(always)]
    pub const fn new(
        options: &ClientOptions,
        tsval: Option<u32>,
        profile: &Profile,
        v4: bool,
    ) -> Self {
        let tsval = if profile.timestamps() { tsval } else { None };
        let mut options = profile.negotiate(options);
        let encoded = EncodedOptions::new(&options, tsval.is_some(), v4);
        if tsval.is_none() {
            // The SYN-ACK must not offer what a plain cookie cannot hold.
            let kept = plain_code_book::decode(encoded.options(), v4);
            options.sack = kept.sack;
            options.ecn = kept.ecn;
            if kept.window_scale.is_none() {
                options.window_scale = None;
            }
        }
        Self {
            options,
            tsval,
            encoded,
        }
    }

    /// The cookie that encodes them, under `key`, the service's key for `epoch`; `isn` is the client's.
    #[inline(always)]
    pub const fn cookie(&self, key: &Key, epoch: u64, flow: &FlowKey, isn: u32) -> Cookie {
        self.encoded.cookie(key, epoch, flow, isn)
    }

    /// The SYN-ACK that offers them, with `cookie`; `isn` is the client's.
    #[inline(always)]
    pub const fn syn_ack(
        &self,
        flow: &FlowKey,
        isn: u32,
        cookie: Cookie,
        profile: &Profile,
    ) -> Segment {
        let mut segment = Segment::NONE;
        self.write(&mut segment, flow, isn, cookie, profile);
        segment
    }

    /// [`Self::syn_ack`] in place: the XDP program has no room for a segment on its stack.
    #[inline(always)]
    pub const fn write(
        &self,
        segment: &mut Segment,
        flow: &FlowKey,
        isn: u32,
        cookie: Cookie,
        profile: &Profile,
    ) {
        let times = match self.tsval {
            Some(tsval) => Some((cookie.tsval, tsval)),
            None => None,
        };
        let scale = if self.options.window_scale.is_some() {
            Some(profile.window_scale)
        } else {
            None
        };
        let options = HandshakeOptions {
            mss: profile.mss,
            sack: self.options.sack,
            times,
            scale,
        };
        let (options, words) = options.words();

        segment.options = options;
        let ecn = if self.options.ecn { flags::ECE } else { 0 };
        segment.source = flow.server;
        segment.destination = flow.client;
        segment.tcp = Repr {
            source: flow.server_port(),
            destination: flow.client_port(),
            sequence: cookie.isn,
            acknowledgement: isn.wrapping_add(1),
            flags: flags::SYN | flags::ACK | ecn,
            window: profile.window,
            options: words * 4,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::profile_flags;
    use crate::wire::Address;
    use crate::wire::checksum::segment_is_intact;

    fn flow(v4: bool) -> FlowKey {
        let (client, server) = if v4 {
            (Address::v4(0x0102_0304), Address::v4(0x0506_0708))
        } else {
            (Address([1, 2, 3, 4]), Address([5, 6, 7, 8]))
        };
        FlowKey::new(client, 40000, server, 80)
    }

    fn syn(flow: &FlowKey, timestamps: bool) -> Syn<'_> {
        Syn {
            flow,
            isn: 0xffff_ffff,
            options: ClientOptions {
                mss: 1460,
                window_scale: Some(7),
                sack: true,
                ecn: true,
            },
            tsval: timestamps.then_some(77),
        }
    }

    /// Checks lengths, checksums and fields with an independent parser.
    #[test]
    fn etherparse_reads_the_fields_that_were_written() {
        let profile = Profile::default();
        for (v4, timestamps) in [(true, true), (true, false), (false, true), (false, false)] {
            let flow = flow(v4);
            let syn = syn(&flow, timestamps);
            let answer = syn_ack(&[1, 2], 9, &syn, &profile);
            let mut packet = [0u8; 100];
            let ip_length = if v4 { 20 } else { 40 };
            let mut segment = [0u8; 20];
            if v4 {
                let mut ip = [0u8; 20];
                answer.emit_v4(&mut ip, &mut segment);
                packet[..20].copy_from_slice(&ip);
            } else {
                let mut ip = [0u8; 40];
                answer.emit_v6(&mut ip, &mut segment);
                packet[..40].copy_from_slice(&ip);
            }
            packet[ip_length..ip_length + 20].copy_from_slice(&segment);
            answer.emit_options(&mut packet[ip_length + 20..]);
            let packet = &packet[..ip_length + answer.header_length()];
            assert!(segment_is_intact(
                &syn.flow.server,
                &syn.flow.client,
                &packet[ip_length..]
            ));

            let sliced = etherparse::SlicedPacket::from_ip(packet).expect("a sound packet");
            let Some(etherparse::TransportSlice::Tcp(tcp)) = sliced.transport else {
                panic!("not TCP");
            };
            assert!(tcp.syn() && tcp.ack() && !tcp.ece() && !tcp.rst());
            assert_eq!((tcp.source_port(), tcp.destination_port()), (80, 40000));
            assert_eq!(
                (tcp.acknowledgment_number(), tcp.window_size()),
                (0, profile.window)
            );
            use etherparse::TcpOptionElement::*;
            let tsval = crate::cookie::make_cookie(
                &[1, 2],
                9,
                syn.flow,
                syn.isn,
                &profile.negotiate(&syn.options),
                true,
            )
            .tsval;
            let options: std::vec::Vec<_> = tcp
                .options_iterator()
                .filter_map(Result::ok)
                .filter(|option| *option != Noop)
                .collect();
            let mut expected = std::vec![
                MaximumSegmentSize(profile.mss),
                SelectiveAcknowledgementPermitted
            ];
            if timestamps {
                expected.push(Timestamp(tsval, 77));
            }
            expected.push(WindowScale(profile.window_scale));
            assert_eq!(options, expected);
        }
    }

    /// The cookie has to bring back what the SYN-ACK offers.
    #[test]
    fn ecn_is_offered_only_if_the_cookie_encodes_it() {
        let profile = Profile {
            flags: profile_flags::TIMESTAMPS | profile_flags::ECN,
            ..Profile::default()
        };
        for timestamps in [true, false] {
            let flow = flow(true);
            let answer = syn_ack(&[1, 2], 9, &syn(&flow, timestamps), &profile);
            assert_eq!(answer.tcp.flags & flags::ECE != 0, timestamps);
        }
    }

    #[test]
    fn only_options_that_the_client_asked_for_are_offered() {
        let flow = flow(true);
        let mut bare = syn(&flow, false);
        bare.options = ClientOptions {
            mss: 536,
            ..ClientOptions::default()
        };
        let answer = syn_ack(&[1, 2], 9, &bare, &Profile::default());
        assert_eq!(answer.option_words(), 1);
    }

    extern crate std;
}
