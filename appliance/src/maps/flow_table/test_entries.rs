//! Entries in states that only the XDP program or a whole handshake brings about, for tests that begin there.

use std::sync::atomic::Ordering::SeqCst;

use synward_core::flow::FIRST_TAG;
use synward_core::flow_time::FlowTime;
use synward_core::layout::Flow;

use super::{Established, FlowTable, InsertError, LAST_SEEN, STATE};
use crate::maps::clock::flow_now;

impl FlowTable {
    /// Sets the state of an entry, as the XDP program does.
    pub(crate) fn set_state(&self, entry: u32, state: u8) {
        if let Some(words) = self.words(entry) {
            let [_, shift, flags, owner] = words[STATE].load(SeqCst).to_ne_bytes();
            let word = u32::from_ne_bytes([state, shift, flags, owner]);
            words[STATE].store(word, SeqCst);
        }
    }

    /// Removes whatever has an entry; `false` if nothing has.
    pub(crate) fn remove_entry(&self, entry: u32) -> bool {
        let Some(words) = self.words(entry) else {
            return false;
        };
        let last_seen = FlowTime::from_word(words[LAST_SEEN].load(SeqCst));
        let word = words[STATE].load(SeqCst);
        self.tag(entry).load(SeqCst) >= FIRST_TAG
            && self.remove_judged(entry, word, last_seen, flow_now())
    }

    /// Writes an established or closing flow, for tests that begin there.
    pub(crate) fn insert_established(&self, flow: &Flow) -> Result<u32, InsertError> {
        let opening = self.insert(flow)?;
        let found = Established {
            sequence_delta: flow.sequence_delta,
            timestamp_delta: flow.timestamp_delta,
            client_sequence: flow.client_sequence,
            server_sequence: flow.server_sequence,
            window_shift: flow.window_shift,
            client_shift: 0,
            flags: flow.flags,
        };
        self.establish(&opening, &found, flow.last_seen);
        self.set_state(opening.entry, flow.state);
        Ok(opening.entry)
    }
}
