//! The ACK of a validated client that waited for a worker ([`synward_core::waiting_client::WaitingClient`]).

use arrayvec::ArrayVec;
use synward_core::flow::FlowKey;
use synward_core::generated_segment::{MAX_OPTION_WORDS, Segment, padded_timestamps};
use synward_core::waiting_client::WaitingClient;
use synward_core::wire::tcp::{self, Repr, flags};
use synward_core::worker_request::{Meta, Request};

use super::link::Link;
use super::valid_ack::ValidAck;

/// Bytes of the longest packet of [`WaitingAck::packet`]: IPv6, TCP, timestamps.
const LONGEST: usize = 40 + tcp::LENGTH + 12;

/// The ACK of a client that waited. Its data, if it had any, is not kept: the client retransmits it.
#[derive(Clone, Copy, Debug)]
pub struct WaitingAck {
    /// The flow that it opens.
    pub key: FlowKey,
    /// Index of the service.
    pub service: u16,
    /// The epoch in which it came.
    pub epoch: u64,
    /// What it said.
    pub client: WaitingClient,
}

impl WaitingAck {
    /// The IP packet without data and the offset of its TCP header.
    pub(super) fn packet(&self) -> Option<(ArrayVec<u8, LONGEST>, u8)> {
        let (key, client) = (&self.key, &self.client);
        let (options, words) = match client.timestamps {
            0 => ([0; MAX_OPTION_WORDS], 0),
            _ => padded_timestamps(client.tsval, client.tsecr),
        };
        let segment = Segment {
            source: key.client,
            destination: key.server,
            tcp: Repr {
                source: key.client_port(),
                destination: key.server_port(),
                sequence: client.sequence,
                acknowledgement: client.acknowledgement,
                flags: flags::ACK,
                window: client.window,
                options: words * 4,
            },
            options,
        };
        let mut packet = ArrayVec::from([0; LONGEST]);
        let path = Link::KERNEL.with_ttl(client.ttl);
        let length = path.emit(&segment, &mut packet, &[])?;
        packet.truncate(length);
        Some((packet, if key.client.is_v4() { 20 } else { 40 }))
    }

    /// The request of the XDP program; `None` if it is none to open a connection.
    pub(super) fn valid_ack(&self) -> Option<ValidAck> {
        let meta = Meta::decode(&self.client.request, self.key.client.is_v4())?;
        let Request::Open {
            options,
            offered,
            hop,
        } = meta.request
        else {
            return None;
        };
        Some(ValidAck {
            service: self.service,
            options,
            offered,
            hop,
            epoch: self.epoch,
        })
    }
}
