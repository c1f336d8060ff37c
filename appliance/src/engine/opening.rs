//! An opening: a connection of a validated client whose server has not answered yet.

use super::link::Link;
use super::pending_data::PendingData;
use super::server_syn_ack::Requested;
use crate::maps::OpeningEntry;
use synward_core::flow::FlowKey;
use synward_core::generated_segment::{
    HandshakeOptions, MAX_OPTION_WORDS, Segment, padded_timestamps,
};
use synward_core::layout::Profile;
use synward_core::translate::shift_window;
use synward_core::wire::tcp::{Repr, flags};

/// Nanoseconds until the SYN to the server is retransmitted; doubled each time.
pub const RETRY: u64 = 250_000_000;
/// Maximum number of SYNs to the server. With the backoff an opening lasts 31.75 s: the first retransmissions are quick, and the
/// later ones come as those of a TCP with an initial timeout of one second (RFC 6298 §2).
pub const TRIES: u8 = 7;
/// Nanoseconds after which the SYN to the server is sent though others are on their way.
pub const LONGEST_WAIT: u64 = 1_000_000_000;

/// The phase of an opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The SYN to the server waits for its turn (`opening_shares`).
    Queued,
    /// The SYN to the server was sent.
    SynSent,
    /// The server has answered, and a probe requests one more ACK from the client, so that the server measures
    /// the round trip to the client and not to us (`rtt = "true"`).
    Measuring {
        /// The server's ISN, S.
        server_isn: u32,
        /// The TSval of the server's SYN-ACK.
        server_tsval: u32,
        /// See `Flow::window_shift`.
        window_shift: i8,
    },
}

/// A connection that is being opened.
#[derive(Debug)]
pub struct Opening {
    /// Its flow.
    pub key: FlowKey,
    /// Its entry in the flow table.
    pub entry: OpeningEntry,
    /// Index of the service.
    pub service: u16,
    /// The client's ISN, C.
    pub client_isn: u32,
    /// Our ISN, K.
    pub isn: u32,
    /// The epoch of its cookie.
    pub epoch: u64,
    /// The options that the client requested and our SYN-ACK offered.
    pub requested: Requested,
    /// The profile of our SYN-ACK.
    pub offered: Profile,
    /// The client's latest TSval.
    pub client_tsval: u32,
    /// Our TSval, as the client echoed it.
    pub our_tsval: u32,
    /// The client's latest window, unscaled.
    pub window: u16,
    /// Left shift of the client's windows for the server, which has refused the client's window scaling.
    pub client_shift: u8,
    /// The path to the client.
    pub client: Link,
    /// The path to the server.
    pub server: Link,
    /// Its phase.
    pub phase: Phase,
    /// The client's data so far.
    pub pending: PendingData,
    /// Start time, ns.
    pub began: u64,
    /// Time of the next retransmission or of giving up, ns.
    pub due: u64,
    /// Number of SYNs sent; of probes, in [`Phase::Measuring`].
    pub tries: u8,
    /// Number of SYNs sent before the first ICMP error that may pass; 0: there was none.
    pub soft_error_after: u8,
}

impl Opening {
    fn to_server(&self, sequence: u32, acknowledgement: u32, flags: u8, window: u16) -> Segment {
        Segment {
            source: self.key.client,
            destination: self.key.server,
            tcp: Repr {
                source: self.key.client_port(),
                destination: self.key.server_port(),
                sequence,
                acknowledgement,
                flags,
                window,
                options: 0,
            },
            options: [0; MAX_OPTION_WORDS],
        }
    }

    fn to_client(&self, sequence: u32, acknowledgement: u32, flags: u8) -> Segment {
        Segment {
            source: self.key.server,
            destination: self.key.client,
            tcp: Repr {
                source: self.key.server_port(),
                destination: self.key.client_port(),
                sequence,
                acknowledgement,
                flags,
                window: 0,
                options: 0,
            },
            options: [0; MAX_OPTION_WORDS],
        }
    }

    /// The SYN to the server: the client's own, as far as the cookie preserves it.
    pub fn syn(&self) -> Segment {
        let options = &self.requested.options;
        let (words, count) = HandshakeOptions {
            mss: options.mss,
            sack: options.sack,
            times: self.requested.timestamps.then_some((self.client_tsval, 0)),
            scale: options.window_scale,
        }
        .words();
        let ecn = if options.ecn {
            flags::ECE | flags::CWR
        } else {
            0
        };
        // The window of a SYN is not scaled (RFC 7323 §2.2), that of the client's ACK is.
        let scaled = u32::from(self.window) << options.window_scale.unwrap_or(0);
        let window = scaled.min(u32::from(u16::MAX)) as u16;
        let mut syn = self.to_server(self.client_isn, 0, flags::SYN | ecn, window);
        syn.tcp.options = count * 4;
        syn.options = words;
        syn
    }

    /// A segment from the client to the server, in the server's sequence space. It echoes `server_tsval`
    /// unchanged: Linux ≥ 6.15 accepts nothing else in the third ACK.
    pub fn segment(&self, sequence: u32, flags: u8, server_isn: u32, server_tsval: u32) -> Segment {
        let acknowledgement = server_isn.wrapping_add(1);
        let window = shift_window(self.window, self.client_shift as i8);
        let mut segment = self.to_server(sequence, acknowledgement, flags | flags::ACK, window);
        if self.requested.timestamps {
            let (words, count) = padded_timestamps(self.client_tsval, server_tsval);
            segment.options = words;
            segment.tcp.options = count * 4;
        }
        segment
    }

    /// A probe: a zero-length segment at K, which every client answers with an ACK (RFC 9293 §3.10.7.4).
    pub fn probe(&self) -> Segment {
        let mut probe = self.to_client(self.isn, self.client_isn.wrapping_add(1), flags::ACK);
        probe.tcp.window = self.offered.window >> self.offered_scale();
        if self.requested.timestamps {
            let (words, count) = padded_timestamps(self.our_tsval, self.client_tsval);
            probe.options = words;
            probe.tcp.options = count * 4;
        }
        probe
    }

    /// The shift that the client applies to windows that it receives.
    pub fn offered_scale(&self) -> u8 {
        if self.requested.options.window_scale.is_some() {
            self.offered.window_scale
        } else {
            0
        }
    }

    /// The RST that reports a failed opening to the client.
    pub fn refuse_client(&self) -> Segment {
        let next = self.client_isn.wrapping_add(1);
        self.to_client(self.isn.wrapping_add(1), next, flags::RST | flags::ACK)
    }

    /// The RST that ends the connection at the server, at the sequence number that the server expects next.
    pub fn abort_server(&self) -> Segment {
        self.to_server(self.client_isn.wrapping_add(1), 0, flags::RST, 0)
    }

    /// The RST for a stale connection at the server (RFC 9293 §3.10.7.3), at the sequence number that the
    /// server acknowledged.
    pub fn reset_stale(&self, acknowledgement: u32) -> Segment {
        self.to_server(acknowledgement, 0, flags::RST, 0)
    }
}
