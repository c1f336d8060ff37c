//! An opening: a client with a valid cookie whose server has not answered yet.

use super::link::Link;
use super::pending_data::PendingData;
use super::server_syn_ack::Requested;
use synward_core::flow::FlowKey;
use synward_core::generated_segment::{
    HandshakeOptions, MAX_OPTION_WORDS, Segment, padded_timestamps,
};
use synward_core::layout::Profile;
use synward_core::wire::tcp::{Repr, flags};

/// Nanoseconds until the SYN to the server is sent again; doubled each time.
pub const RETRY: u64 = 250_000_000;
/// SYNs to the server at most; with the doubling, about four seconds.
pub const TRIES: u8 = 4;

/// How far an opening is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The SYN to the server is out.
    SynSent,
    /// The server has answered; the client is asked for one more ACK, so that the server measures the
    /// round trip to the client and not to us (`rtt = "true"`).
    Measuring {
        /// S.
        server_isn: u32,
        /// The TSval of the server's SYN-ACK.
        server_tsval: u32,
        /// See `Flow::window_shift`.
        window_shift: i8,
    },
}

/// A connection in the making.
#[derive(Debug)]
pub struct Opening {
    /// Whose it is.
    pub key: FlowKey,
    /// Its entry in the flow table.
    pub entry: u32,
    /// Index of the service.
    pub service: u8,
    /// The client's ISN, C.
    pub client_isn: u32,
    /// Our ISN, K.
    pub isn: u32,
    /// What the client asked for and was promised.
    pub requested: Requested,
    /// The profile by which it was promised.
    pub offered: Profile,
    /// The client's latest TSval.
    pub client_tsval: u32,
    /// Our TSval, as the client echoed it.
    pub our_tsval: u32,
    /// The client's latest window, not scaled.
    pub window: u16,
    /// The way to the client.
    pub client: Link,
    /// The way to the server.
    pub server: Link,
    /// How far it is.
    pub phase: Phase,
    /// The client's data.
    pub pending: PendingData,
    /// When it began, ns.
    pub began: u64,
    /// When the SYN is sent again or the server given up, ns.
    pub due: u64,
    /// SYNs sent.
    pub tries: u8,
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

    /// The SYN to the server: the client's own, as far as the cookie kept it.
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
        // A SYN's window is not scaled (RFC 7323 §2.2), the one of the client's ACK is.
        let scaled = u32::from(self.window) << options.window_scale.unwrap_or(0);
        let window = scaled.min(u32::from(u16::MAX)) as u16;
        let mut syn = self.to_server(self.client_isn, 0, flags::SYN | ecn, window);
        syn.tcp.options = count * 4;
        syn.options = words;
        syn
    }

    /// A segment of the client to the server, in the server's numbers. `server_tsval` is echoed to the
    /// letter: Linux ≥ 6.15 takes nothing else for the third ACK.
    pub fn segment(&self, sequence: u32, flags: u8, server_isn: u32, server_tsval: u32) -> Segment {
        let acknowledgement = server_isn.wrapping_add(1);
        let mut segment =
            self.to_server(sequence, acknowledgement, flags | flags::ACK, self.window);
        if self.requested.timestamps {
            let (words, count) = padded_timestamps(self.client_tsval, server_tsval);
            segment.options = words;
            segment.tcp.options = count * 4;
        }
        segment
    }

    /// A zero-length segment at K, which every client answers with an ACK (RFC 9293 §3.10.7.4).
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

    /// The shift that the client applies to the windows it is sent.
    pub fn offered_scale(&self) -> u8 {
        if self.requested.options.window_scale.is_some() {
            self.offered.window_scale
        } else {
            0
        }
    }

    /// The RST that tells the client that there is no server.
    pub fn refuse_client(&self) -> Segment {
        let next = self.client_isn.wrapping_add(1);
        self.to_client(self.isn.wrapping_add(1), next, flags::RST | flags::ACK)
    }

    /// The RST that ends the connection at the server, at the number that it expects next.
    pub fn abort_server(&self) -> Segment {
        self.to_server(self.client_isn.wrapping_add(1), 0, flags::RST, 0)
    }

    /// The RST for a connection that the server still remembers (RFC 9293 §3.10.7.3): at the number
    /// that the server said it expects.
    pub fn reset_stale(&self, acknowledgement: u32) -> Segment {
        self.to_server(acknowledgement, 0, flags::RST, 0)
    }
}
