//! The counters of each service and CPU, with the names that metrics show.

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Index of a counter in [`ServiceCounters`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Counter {
            $($(#[doc = $doc])+ $variant,)+
        }

        /// The name of each counter, in order; names that begin with `drop_` are reasons of drops.
        pub const NAMES: &[&str] = &[$($name,)+];

        /// What each counter counts, in order.
        pub const MEANINGS: &[&str] = &[$(concat!($($doc,)+),)+];
    };
}

counters! {
    /// SYNs from outside.
    Syn = "syn",
    /// SYN-ACKs that the XDP program sent.
    AnsweredXdp = "answered_xdp",
    /// SYNs given to a worker to answer.
    GivenToWorker = "given_to_worker",
    /// ACKs with a valid cookie.
    CookieValid = "cookie_valid",
    /// ACKs with a cookie of ours from two epochs ago, which has expired.
    CookieExpired = "cookie_expired",
    /// ACKs with an invalid cookie.
    CookieInvalid = "cookie_invalid",
    /// Segments translated towards the server.
    ToServer = "to_server",
    /// Segments translated towards the client.
    ToClient = "to_client",
    /// Segments given to the kernel unchanged.
    Passed = "passed",
    /// Connections learned from a segment of the server.
    Learned = "learned",
    /// ICMP errors whose quoted segment was translated.
    IcmpTranslated = "icmp_translated",
    /// RSTs sent for segments that match no flow.
    Reset = "reset",
    /// Fragments: their ports cannot be read.
    DropFragment = "drop_fragment",
    /// Headers that are truncated or inconsistent, or too many extension headers.
    DropMalformed = "drop_malformed",
    /// ACKs that match no flow and have an invalid cookie.
    DropInvalidCookie = "drop_invalid_cookie",
    /// ACKs that match no flow and have an expired cookie.
    DropExpiredCookie = "drop_expired_cookie",
    /// Segments that match no flow and cannot carry a cookie (RST, FIN without ACK, …).
    DropUnknown = "drop_unknown",
    /// Sources on the deny-list.
    DropDenied = "drop_denied",
    /// Packets that need a worker on a queue that has none alive.
    DropNoWorker = "drop_no_worker",
    /// Frames of a driver that leaves no room in front of them, where the request to a worker goes.
    DropNoMetadata = "drop_no_metadata",
    /// No key for the epoch: no process has refreshed the keys for too long.
    DropNoKey = "drop_no_key",
    /// Frames that could not be resized to the reply.
    DropResize = "drop_resize",
    /// Connections of validated clients assigned to a listener of this machine.
    Assigned = "assigned",
    /// Validated clients that the kernel did not accept: it resets them, or a stale connection was still there.
    AssignRefused = "assign_refused",
    /// SYNs for a listener whose accept queue is full.
    DropQueueFull = "drop_accept_queue_full",
    /// Segments of a service on another machine, forwarded unchanged in either direction.
    Forwarded = "forwarded",
    /// ACKs with a valid cookie whose connection is already closed.
    DropReplayedCookie = "drop_replayed_cookie",
    /// Stale connections of this machine's kernel that were reset because their client opened a new one with a valid cookie.
    StaleReset = "stale_reset",
    /// Packets from a source that no client can have: multicast, loopback, unspecified, the destination itself, an address of
    /// this machine or the broadcast address of one of its networks, 240.0.0.0/4 (unless this machine has an address there),
    /// fe80::/10 to another destination.
    DropImpossibleSource = "drop_impossible_source",
    /// Frames with more VLAN tags than are parsed.
    DropTooManyTags = "drop_too_many_tags",
    /// SYNs while the appliance drains (`synward drain`).
    DropDraining = "drop_draining",
    /// SYNs with an MSS below the least that the kernel takes from synward, beyond those that are left to the kernel: answered, and
    /// their connections have that least, as with the kernel's own cookies.
    SmallMss = "small_mss",
    /// SYNs signed with TCP-MD5 or TCP-AO: `splice` cannot sign in the server's name, and only a few are left to the kernel.
    DropSigned = "drop_signed",
    /// ACKs without timestamps whose cookie was not checked: too many wrong ones came from the same client prefix.
    DropPlainLimit = "drop_plain_limit",
    /// SYNs and ACKs of clients without timestamps, to a service with `plain_cookies = "refuse"`.
    DropPlainRefused = "drop_plain_refused",
    /// SYNs and other segments that were not answered: too many replies went to the same client prefix.
    DropReplyBudget = "drop_reply_budget",
    /// ACKs with a valid cookie on a queue without a worker, or beyond the client's share of it: the client waits for a worker or
    /// the next process.
    Waiting = "waiting",
    /// SYNs that mode `monitor` let pass and mode `always` would have answered.
    WouldAnswer = "would_answer",
    /// The same for drops; each has the reason of the drop that it would have been.
    WouldDropDenied = "would_drop_denied",
    /// As above.
    WouldDropImpossibleSource = "would_drop_impossible_source",
    /// As above.
    WouldDropPlainRefused = "would_drop_plain_refused",
    /// As above.
    WouldDropReplyBudget = "would_drop_reply_budget",
    /// As above.
    WouldDropUnknown = "would_drop_unknown",
    /// As above.
    WouldDropFragment = "would_drop_fragment",
    /// As above.
    WouldDropMalformed = "would_drop_malformed",
    /// As above.
    WouldDropTooManyTags = "would_drop_too_many_tags",
    /// Segments of a client whose server has not answered, beyond the share of one connection or one client in a worker's ring.
    DropWorkerShare = "drop_worker_share",
}

/// Slots of [`ServiceCounters`]; a few are unused.
pub const SLOTS: usize = 64;

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
