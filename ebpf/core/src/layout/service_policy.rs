//! The policy of a service, the values of its fields, and its place in the two banks of policies.

/// The most services.
pub const MAX_SERVICES: u32 = 1024;
/// The most addresses and prefixes that have a policy of their own ([`Endpoint::policy`](super::Endpoint::policy)).
pub const MAX_WATCHED: u32 = 4096;
/// The most policies. Those of services come first.
pub const MAX_POLICIES: u32 = MAX_SERVICES + MAX_WATCHED;

/// The place of a policy. There are two banks of policies: the one that [`Globals::generation`](super::Globals::generation)
/// names is in force, the other is written before it is. So a change of any number of services takes effect with one word, on
/// all CPUs.
#[inline(always)]
pub const fn policy_slot(policy: u32, generation: u32) -> u32 {
    policy + (generation & 1) * MAX_POLICIES
}

/// The policy of a service.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// See [`mode`].
    pub mode: u8,
    /// See [`unknown_policy`].
    pub unknown_policy: u8,
    /// 1: fragments go to the kernel; 0: they are dropped.
    pub pass_fragments: u8,
    /// 1: the service has an allow-list or a deny-list.
    pub listed: u8,
    /// Bit i: cookies of [`KeySlot::keys`](super::KeySlot::keys)\[i\] are accepted.
    pub keys: u8,
    /// See [`plain_cookies`].
    pub plain_cookies: u8,
    /// See [`handoff`].
    pub handoff: u8,
    /// See [`cookies`].
    pub cookies: u8,
    /// Until this time (coarse monotonic clock, ns) segments of unknown connections pass.
    pub adopt_until: u64,
    /// Until this time a few of them still pass, and the server decides.
    pub judge_until: u64,
    /// While the service challenges nobody: until this time cookies that it issued before still open connections.
    pub cookies_until: u64,
    /// See [`when_absent`].
    pub when_absent: u8,
    /// 1: SYNs are dropped, because the process is about to end.
    pub draining: u8,
    /// The entry of [`KeySlot::keys`](super::KeySlot::keys) that makes cookies.
    pub issuer: u8,
    /// 1: the service is under attack, and where its SYNs come from is sampled ([`crate::source_sample`]).
    pub under_attack: u8,
    /// 1: SYNs and handshakes are counted for the address too ([`crate::address_counts`]).
    pub watched: u8,
    /// Padding, zero.
    pub reserved: [u8; 3],
    /// Replies to one client prefix in a second from one CPU ([`crate::reply_budget`]); 0: no limit.
    pub replies: u32,
    /// Padding, zero.
    pub padding: u32,
}

/// Values of [`Service::mode`].
pub mod mode {
    /// Challenge no SYN; spliced connections continue. Also mode `auto` without an attack.
    pub const OFF: u8 = 0;
    /// The same, also for the sources on a deny-list. What [`ALWAYS`] would have done is counted.
    pub const MONITOR: u8 = 1;
    /// Challenge every SYN.
    pub const ALWAYS: u8 = 2;
}

/// Values of [`Service::unknown_policy`]: what happens to a segment that matches no flow.
pub mod unknown_policy {
    /// It is dropped.
    pub const DROP: u8 = 0;
    /// It goes to the kernel.
    pub const PASS: u8 = 1;
    /// It is answered with a RST (RFC 9293 §3.10.7.1).
    pub const RESET: u8 = 2;
}

/// Values of [`Service::plain_cookies`]: what happens to clients without timestamps.
pub mod plain_cookies {
    /// Wrong cookies of a client prefix are checked within [`crate::plain_ack_limit`].
    pub const LIMIT: u8 = 0;
    /// All their cookies are checked.
    pub const ACCEPT: u8 = 1;
    /// Their SYNs and cookies are dropped.
    pub const REFUSE: u8 = 2;
}

/// Values of [`Service::handoff`].
pub mod handoff {
    /// synward opens its own connection to the server and translates between the two.
    pub const SPLICE: u8 = 0;
    /// The kernel of this machine; its sockets decide which segments have a connection.
    pub const LOCAL: u8 = 1;
    /// The kernel of another machine that shares the key; segments are forwarded unchanged.
    pub const FORWARD: u8 = 2;
}

/// Bits of [`Service::cookies`], for services with [`handoff::LOCAL`].
pub mod cookies {
    /// SYN-ACKs carry the kernel's own cookies: it accepts no connection from us, or is configured not to.
    pub const KERNEL: u8 = 1;
    /// The kernel's timestamps have no offset, so that its cookies can encode all options.
    pub const TIMES: u8 = 2;
}

/// Values of [`Service::when_absent`]: what happens to SYNs on a queue that no worker has served for
/// [`ABSENT_AFTER`](super::ABSENT_AFTER).
pub mod when_absent {
    /// They are answered: the service needs no worker.
    pub const ANSWER: u8 = 0;
    /// They are dropped: nobody could open the connection.
    pub const DROP: u8 = 1;
    /// They go to the kernel, as all segments without a flow do then.
    pub const PASS: u8 = 2;
}

/// The most prefixes of allow and deny lists, of all services. The kernel allocates them one by one.
pub const MAX_LISTED: u32 = 1 << 22;

/// Values of the lists: what happens to segments from a prefix that match no flow.
pub mod listed {
    /// The same as without the entry: a hole in a shorter prefix.
    pub const NEITHER: u32 = 0;
    /// They pass to the kernel unchallenged.
    pub const ALLOWED: u32 = 1;
    /// They are dropped.
    pub const DENIED: u32 = 2;
}
