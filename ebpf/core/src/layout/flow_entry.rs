//! An entry of the flow table.

use crate::flow::FlowKey;
use crate::flow_time::FlowTime;

/// A spliced flow: one cache line, found by the tags of [`crate::flow`]. The appliance writes it; the XDP program reads it and
/// updates `last_seen`, `state`, `flags` and the two sequence numbers ([`crate::flow_state`]).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Addresses and ports.
    pub key: FlowKey,
    /// Added to the server's sequence numbers, K − S. While opening: the index of the opening.
    pub sequence_delta: u32,
    /// Added to the server's TSval.
    pub timestamp_delta: u32,
    /// The client's number that the server expects next, as it acknowledged it lately. While opening: the client's ISN, C.
    pub client_sequence: u32,
    /// A recent number of the server's, in its own sequence space. While opening: our ISN, K.
    pub server_sequence: u32,
    /// When it last carried a segment.
    pub last_seen: FlowTime,
    /// See [`state`].
    pub state: u8,
    /// Left shift of the server's windows; negative: right shift. While opening: the generation.
    pub window_shift: i8,
    /// See [`flow_flags`].
    pub flags: u8,
    /// While opening: the low bits of the number of the worker that owns it ([`Self::worker`]). Afterwards the lowest four bits
    /// are the left shift of the client's windows, for a server that has refused the client's window scaling. See [`owner`] for
    /// the others.
    pub owner: u8,
    /// Index of the service.
    pub service: u16,
    /// Which of the openings in this way it is, or was.
    pub generation: u8,
    /// The other bits of the number of the worker that opens, or opened it.
    pub owner_high: u8,
}

impl Flow {
    /// While opening: the number of the worker that owns it.
    pub const fn worker(&self) -> u16 {
        (self.owner_high as u16) << owner::WORKER_BITS | (self.owner & owner::WORKER) as u16
    }

    /// The flow as an opening of a worker.
    #[must_use]
    pub const fn owned_by(self, worker: u16) -> Self {
        let (owner, owner_high) = owner::of(worker);
        Self {
            owner,
            owner_high,
            ..self
        }
    }
}

/// Bits of [`Flow::owner`] above a worker's number or a shift.
pub mod owner {
    /// The flow is not opening: no worker owns it.
    pub const NO_WORKER: u8 = 0x80;
    /// A thread of the appliance is changing the entry, and nobody else may.
    pub const BUSY: u8 = 0x40;
    /// The bits of a worker's number. The others are in [`Flow::owner_high`](super::Flow::owner_high).
    pub const WORKER: u8 = 0x3f;
    /// How many these are.
    pub(super) const WORKER_BITS: u32 = WORKER.count_ones();
    /// The bits of the shift.
    pub const SHIFT: u8 = 0x0f;

    const _: () = assert!(crate::queue_set::MAX_QUEUES <= 1 << (WORKER_BITS + u8::BITS));

    /// The two parts of a worker's number.
    pub const fn of(worker: u16) -> (u8, u8) {
        (worker as u8 & WORKER, (worker >> WORKER_BITS) as u8)
    }
}

/// Values of [`Flow::state`].
pub mod state {
    /// No flow.
    pub const EMPTY: u8 = 0;
    /// The server has not answered yet; segments of both sides go to the worker that owns the opening.
    pub const OPENING: u8 = 1;
    /// Translated and forwarded.
    pub const ESTABLISHED: u8 = 2;
    /// Both sides have sent a FIN, or one a RST: segments are still translated, but a new connection may replace the flow.
    pub const CLOSING: u8 = 3;
}

/// Bits of [`Flow::flags`].
pub mod flow_flags {
    /// The client has sent a FIN.
    pub const CLIENT_FIN: u8 = 1;
    /// The server has sent a FIN.
    pub const SERVER_FIN: u8 = 2;
    /// Either side has sent a RST, and nobody has gone on since.
    pub const RESET: u8 = 4;
    /// Timestamps are negotiated.
    pub const TIMESTAMPS: u8 = 8;
    /// The server's FIN came before the client's: the server is in TIME_WAIT after both.
    pub const SERVER_FIRST: u8 = 16;
    /// The RST may have been out of the receiver's window, who then has ignored it without a word.
    pub const UNSURE: u8 = 32;
}
