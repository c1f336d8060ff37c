//! What is counted per service and CPU, with the names that metrics show.

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Index of a counter in [`ServiceCounters`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Counter {
            $($(#[doc = $doc])+ $variant,)+
        }

        /// Name of each counter, in order; those that begin with `drop_` are reasons of drops.
        pub const NAMES: &[&str] = &[$($name,)+];

        /// What each counter counts, in order.
        pub const MEANINGS: &[&str] = &[$(concat!($($doc,)+),)+];
    };
}

counters! {
    /// SYNs that arrived from outside.
    Syn = "syn",
    /// SYN-ACKs that the XDP program sent.
    AnsweredXdp = "answered_xdp",
    /// SYNs given to a worker to answer.
    GivenToWorker = "given_to_worker",
    /// ACKs whose cookie is ours.
    CookieValid = "cookie_valid",
    /// ACKs whose cookie was ours two epochs ago.
    CookieExpired = "cookie_expired",
    /// ACKs whose cookie was never ours.
    CookieInvalid = "cookie_invalid",
    /// Segments translated towards the server.
    ToServer = "to_server",
    /// Segments translated towards the client.
    ToClient = "to_client",
    /// Segments given to the kernel as they were.
    Passed = "passed",
    /// Connections learned from a segment of the server.
    Learned = "learned",
    /// ICMP errors whose quoted numbers were translated.
    IcmpTranslated = "icmp_translated",
    /// RSTs sent for segments that belong to nothing.
    Reset = "reset",
    /// Fragments, of which ports cannot be read.
    DropFragment = "drop_fragment",
    /// Headers that are cut short or contradict themselves, or too many extension headers.
    DropMalformed = "drop_malformed",
    /// ACKs without a flow whose cookie is wrong.
    DropInvalidCookie = "drop_invalid_cookie",
    /// ACKs without a flow whose cookie is too old.
    DropExpiredCookie = "drop_expired_cookie",
    /// Segments without a flow that can carry no cookie (RST, FIN without ACK, …).
    DropUnknown = "drop_unknown",
    /// Sources on the deny-list.
    DropDenied = "drop_denied",
    /// A worker was needed and none is alive on that queue.
    DropNoWorker = "drop_no_worker",
    /// The driver left no room for metadata in front of the frame.
    DropNoMetadata = "drop_no_metadata",
    /// There is no key for the epoch: no process has refreshed the keys for too long.
    DropNoKey = "drop_no_key",
    /// The frame could not be resized to the answer.
    DropResize = "drop_resize",
    /// Connections of proven clients given to this machine's kernel.
    Assigned = "assigned",
    /// Proven clients that the kernel did not take: it resets them, or an old connection stayed in their way.
    AssignRefused = "assign_refused",
    /// SYNs for a listener whose accept queue is full.
    DropQueueFull = "drop_accept_queue_full",
    /// Segments of a service on another machine, sent on to it or back as they were.
    Forwarded = "forwarded",
    /// ACKs with a valid cookie whose connection has been and is over.
    DropReplayedCookie = "drop_replayed_cookie",
    /// Connections at this machine that its kernel still had, reset because their client has proven a new one.
    StaleReset = "renewed",
}

/// Slots of [`ServiceCounters`], a few more than are used.
pub const SLOTS: usize = 32;

/// The counters of one service on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceCounters(pub [u64; SLOTS]);

impl Default for ServiceCounters {
    fn default() -> Self {
        Self([0; SLOTS])
    }
}

impl ServiceCounters {
    /// Adds one.
    #[inline(always)]
    pub fn bump(&mut self, counter: Counter) {
        self.0[counter as usize] += 1;
    }

    /// Reads one.
    pub fn value(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }
}

const _: () = assert!(NAMES.len() <= SLOTS);
