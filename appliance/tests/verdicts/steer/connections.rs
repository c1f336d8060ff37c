//! What the program remembers of connections: flows, and handshakes in the replay cache.

use synward_core::flow::{FlowKey, Place, WAYS, entry_index};
use synward_core::layout::{Flow, state};
use synward_core::replay_cache::{ENTRIES_PER_SET, Event, Handshake};

use super::map_access::object_length;
use super::{EPOCH, Shared, Steer};
use crate::frame_builder::Segment;

impl Steer {
    /// Inserts a flow; returns its entry's index.
    pub(crate) fn place(&mut self, flow: Flow) -> u32 {
        let place = self.place_of(&flow.key);
        let mut tags: [u32; WAYS + 1] = self.array("TAGS").get(&place.bucket, 0).unwrap();
        let way = tags
            .iter()
            .position(|tag| *tag == 0 || *tag == place.tag)
            .unwrap();
        let entry = entry_index(place.bucket, way as u32);
        self.set("FLOWS", entry, Shared(flow));
        tags[way] = place.tag;
        self.set("TAGS", place.bucket, tags);
        entry
    }

    pub(crate) fn place_of(&self, key: &FlowKey) -> Place {
        Place::of(key.table_hash(&self.globals().table_key), self.mask)
    }

    /// A flow as the program left it.
    pub(crate) fn flow(&self, entry: u32) -> Flow {
        let flow: Shared<Flow> = self.array("FLOWS").get(&entry, 0).unwrap();
        flow.0
    }

    /// Removes a flow.
    pub(crate) fn clear(&mut self, entry: u32) {
        let Shared(flow) = self.array::<Shared<Flow>>("FLOWS").get(&entry, 0).unwrap();
        let flow = Flow {
            state: state::EMPTY,
            ..flow
        };
        self.set("FLOWS", entry, Shared(flow));
    }

    /// Records that the handshakes with the addresses and the ISN of a segment's had their connections, by cookies of these
    /// epochs.
    pub(crate) fn remember(&mut self, ack: &Segment, epochs: &[u64]) {
        let handshake = self.handshake_of(ack);
        let mut set = [0; ENTRIES_PER_SET];
        for (entry, epoch) in set.iter_mut().zip(epochs) {
            *entry = handshake.entry(*epoch);
        }
        self.set("REPLAY_CACHE", handshake.set, set);
    }

    /// Notes that the handshake of a segment was assigned at a time, ns.
    pub(crate) fn note_assignment(&mut self, ack: &Segment, at: u64) {
        let handshake = self.handshake_of(ack);
        let word = u64::from(handshake.entry(EPOCH)) << 32 | (at >> 20) & u64::from(u32::MAX);
        let notes = object_length(&self.object, "ASSIGNMENTS");
        self.set("ASSIGNMENTS", handshake.set & (notes - 1), word);
    }

    fn handshake_of(&self, ack: &Segment) -> Handshake {
        let (client, server) = (ack.source, ack.destination);
        let flow = FlowKey::new(
            client.ip().into(),
            client.port(),
            server.ip().into(),
            server.port(),
        );
        let isn = ack.sequence.wrapping_sub(1);
        Handshake::new(&self.globals().replay_key, &flow, isn, Event::Connected)
    }

    /// Has the edge forget that it has answered such SYNs.
    pub(crate) fn forget_answer(&mut self, syn: &Segment) {
        let (client, server) = (syn.source, syn.destination);
        let flow = FlowKey::new(
            client.ip().into(),
            client.port(),
            server.ip().into(),
            server.port(),
        );
        for isn in [syn.sequence, 0] {
            let key = self.globals().replay_key;
            let handshake = Handshake::new(&key, &flow, isn, Event::AnsweredByEdge);
            self.set("REPLAY_CACHE", handshake.set, [0u32; ENTRIES_PER_SET]);
        }
    }
}
