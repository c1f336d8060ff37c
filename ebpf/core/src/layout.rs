//! The contents of the maps that the XDP program and the appliance share.
//!
//! Every type is `repr(C)` with explicit padding, so that both sides see the same bytes.

use crate::client_options::{ClientOptions, NO_SCALE};
use crate::cookie::Key;
use crate::flow::FlowKey;
use crate::flow_time::FlowTime;
use crate::multilinear;
use crate::queue_set::QueueSet;
use crate::wire::Address;
use crate::worker_request::META_WORDS;

/// Version of names and contents of the maps. A process takes over pinned maps only if they have its own version.
pub const SCHEMA: u32 = 16;

/// The most services.
pub const MAX_SERVICES: u32 = 1024;
/// The most addresses and prefixes that have a policy of their own ([`Endpoint::policy`]).
pub const MAX_WATCHED: u32 = 4096;
/// The most policies. Those of services come first.
pub const MAX_POLICIES: u32 = MAX_SERVICES + MAX_WATCHED;
/// The most interfaces that are steered.
pub const MAX_INTERFACES: u32 = 32;
/// The most receive queues of one interface that have a socket.
pub const MAX_QUEUES: u32 = 256;
/// Epochs for which the XDP program holds keys: it answers SYNs for more than an hour (256 epochs of 32 s) while no process
/// runs. A power of two.
pub const KEY_SLOTS: u32 = 256;
/// The most prefixes of allow and deny lists, of all services. The kernel allocates them one by one.
pub const MAX_LISTED: u32 = 1 << 22;
/// The most secrets that are accepted at a time.
pub const MAX_SECRETS: usize = 4;
/// The most neighbours that wait to be resolved ([`NextHop`]).
pub const MAX_UNRESOLVED: u32 = 256;
/// The most addresses and broadcast addresses of this machine that are known as sources of no client.
pub const MAX_OWN_SOURCES: u32 = 4096;
/// Nanoseconds without a heartbeat after which a worker counts as dead.
pub const HEARTBEAT_TIMEOUT: u64 = 1_000_000_000;

/// Nanoseconds without a heartbeat after which nobody is expected to serve a queue any more ([`when_absent`]).
pub const ABSENT_AFTER: u64 = 4 * HEARTBEAT_TIMEOUT;

/// Placeholder in the program at TC for the kernel function `bpf_sk_assign_tcp_reqsk`, whose BTF id differs from kernel to
/// kernel. The loader finds the call with this number and puts the id there.
pub const ASSIGN_KFUNC: u32 = 0x7379_6e77;

/// The TCP options that a server supports, and so what a SYN-ACK in its name may offer.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The server's MSS in bytes.
    pub mss: u16,
    /// Window of the SYN-ACK in bytes (never scaled, RFC 7323 §2.2): the data that synward buffers for a client whose server
    /// has not answered yet.
    pub window: u16,
    /// The server's window shift, 0–14, or [`NO_SCALE`].
    pub window_scale: u8,
    /// See [`profile_flags`].
    pub flags: u8,
    /// Padding, zero.
    pub reserved: [u8; 2],
}

/// Bits of [`Profile::flags`].
pub mod profile_flags {
    /// The server supports SACK.
    pub const SACK: u8 = 1;
    /// The server supports timestamps.
    pub const TIMESTAMPS: u8 = 2;
    /// The server supports ECN.
    pub const ECN: u8 = 4;
}

/// Ten segments of 1460 bytes: a client's initial window (RFC 6928), and so the most that it sends before the server has
/// answered.
pub const INITIAL_WINDOW: u16 = 14600;

impl Default for Profile {
    /// A stock Linux server on Ethernet, until the server's own options are known.
    fn default() -> Self {
        Self {
            mss: 1460,
            window: INITIAL_WINDOW,
            window_scale: 7,
            flags: profile_flags::SACK | profile_flags::TIMESTAMPS,
            reserved: [0; 2],
        }
    }
}

impl Profile {
    /// Whether the server supports timestamps.
    #[inline(always)]
    pub const fn timestamps(&self) -> bool {
        self.flags & profile_flags::TIMESTAMPS != 0
    }

    /// The client's options that this server supports too; MSS and window shift stay the client's.
    #[inline(always)]
    pub const fn negotiate(&self, client: &ClientOptions) -> ClientOptions {
        ClientOptions {
            mss: client.mss,
            window_scale: if self.window_scale == NO_SCALE {
                None
            } else {
                client.window_scale
            },
            sack: client.sack && self.flags & profile_flags::SACK != 0,
            ecn: client.ecn && self.flags & profile_flags::ECN != 0,
        }
    }
}

/// Key of the exact look-up: the address and port of a service. [`NO_PORT`] stands for an address that has a protected port;
/// it is looked up for packets whose port cannot be read.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct EndpointKey {
    /// The protected address.
    pub address: Address,
    /// The port in host order, as 32 bits so that no padding is hashed, or [`NO_PORT`].
    pub port: u32,
}

/// A protected address and port.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Index of the service.
    pub service: u32,
    /// Index of the policy: that of the service, or from [`MAX_SERVICES`] on that of one of its addresses, which differs from the
    /// service's while one of the two is under attack.
    pub policy: u32,
    /// The epoch (low 32 bits) from which SYN-ACKs offer `now`; those of earlier epochs offered `before`. 0: the server's
    /// options are not known yet.
    pub since: u32,
    /// What SYN-ACKs offer.
    pub now: Profile,
    /// What they offered until `since`.
    pub before: Profile,
}

impl Endpoint {
    /// Whether both have the same service and policy.
    pub const fn belongs_as(&self, other: &Self) -> bool {
        self.service == other.service && self.policy == other.policy
    }

    /// What a SYN-ACK of `epoch` offers, or offered.
    #[inline(always)]
    pub const fn profile(&self, epoch: u64) -> &Profile {
        if (epoch as u32).wrapping_sub(self.since) as i32 >= 0 {
            &self.now
        } else {
            &self.before
        }
    }
}

/// Key of the prefix look-up (BPF_MAP_TYPE_LPM_TRIE). The prefix length counts from the start of the 16-byte form, so that
/// of an IPv4 prefix is 96 higher.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixKey {
    /// Prefix length in bits, 0 to 128.
    pub length: u32,
    /// The address.
    pub address: Address,
}

/// Key of the ports of a prefix.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixPort {
    /// Index of the prefix, the value of the prefix look-up.
    pub prefix: u32,
    /// The port in host order, [`ANY_PORT`] or [`NO_PORT`].
    pub port: u32,
}

/// Stands for every port that has no entry of its own ([`PrefixPort`]).
pub const ANY_PORT: u32 = 0x1_0000;

/// Stands for the address itself, for packets whose port cannot be read.
pub const NO_PORT: u32 = 0x1_0001;

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
    /// Bit i: cookies of [`KeySlot::keys`]\[i\] are accepted.
    pub keys: u8,
    /// See [`plain_cookies`].
    pub plain_cookies: u8,
    /// See [`handoff`].
    pub handoff: u8,
    /// See [`cookies`].
    pub cookies: u8,
    /// Until this time (coarse monotonic clock, ns) segments of unknown connections pass.
    pub adopt_until: u64,
    /// Until this time a few of them still pass, for the server to judge.
    pub judge_until: u64,
    /// While the service challenges nobody: until this time cookies that it issued before still open connections.
    pub cookies_until: u64,
    /// See [`when_absent`].
    pub when_absent: u8,
    /// 1: SYNs are dropped, because the process is about to end.
    pub draining: u8,
    /// The entry of [`KeySlot::keys`] that makes cookies.
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

/// Values of the lists: what happens to segments from a prefix that match no flow.
pub mod listed {
    /// The same as without the entry: a hole in a shorter prefix.
    pub const NEITHER: u32 = 0;
    /// They pass to the kernel unchallenged.
    pub const ALLOWED: u32 = 1;
    /// They are dropped.
    pub const DENIED: u32 = 2;
}

/// Values of [`Service::when_absent`]: what happens to SYNs on a queue that no worker has served for [`ABSENT_AFTER`].
pub mod when_absent {
    /// They are answered: the service needs no worker.
    pub const ANSWER: u8 = 0;
    /// They are dropped: nobody could open the connection.
    pub const DROP: u8 = 1;
    /// They go to the kernel, as all segments without a flow do then.
    pub const PASS: u8 = 2;
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

/// Values of [`Service::handoff`].
pub mod handoff {
    /// synward opens its own connection to the server and translates between the two.
    pub const SPLICE: u8 = 0;
    /// The kernel of this machine; its sockets decide which segments have a connection.
    pub const LOCAL: u8 = 1;
    /// The kernel of another machine that shares the key; segments are forwarded unchanged.
    pub const FORWARD: u8 = 2;
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

/// Bits of [`Service::cookies`], for services with [`handoff::LOCAL`].
pub mod cookies {
    /// SYN-ACKs carry the kernel's own cookies: it accepts no connection from us, or is configured not to.
    pub const KERNEL: u8 = 1;
    /// The kernel's timestamps have no offset, so that its cookies can encode all options.
    pub const TIMES: u8 = 2;
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

/// The keys of one service for one epoch, in the slot of [`key_slot`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeySlot {
    /// The epoch; another one means that the slot was not refreshed.
    pub epoch: u64,
    /// One key for each secret, in no order; see [`Service::keys`] and [`Service::issuer`].
    pub keys: [Key; MAX_SECRETS],
}

impl KeySlot {
    /// The key that makes cookies.
    #[inline(always)]
    pub const fn issuing_key(&self, service: &Service) -> &Key {
        &self.keys[service.issuer as usize % MAX_SECRETS]
    }
}

/// The place of a policy. There are two banks of policies: the one that [`Globals::generation`] names is in force,
/// the other is written before it is. So a change of any number of services takes effect with one word, on all CPUs.
#[inline(always)]
pub const fn policy_slot(policy: u32, generation: u32) -> u32 {
    policy + (generation & 1) * MAX_POLICIES
}

/// The index of a key slot: `service * KEY_SLOTS + epoch % KEY_SLOTS`.
#[inline(always)]
pub const fn key_slot(service: u32, epoch: u64) -> u32 {
    service * KEY_SLOTS + (epoch as u32 & (KEY_SLOTS - 1))
}

/// The time as the control thread last set it, on the clock of `bpf_ktime_get_coarse_ns` (CLOCK_MONOTONIC_COARSE). Reading it
/// costs a tenth of a fine clock, and it is exact enough for epochs of 32 s.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// An epoch.
    pub epoch: u64,
    /// When that epoch began, ns.
    pub epoch_start: u64,
}

impl Clock {
    /// The epoch at `now` (ns). It advances without the control thread.
    #[inline(always)]
    pub const fn epoch_at(&self, now: u64) -> u64 {
        let passed = now.wrapping_sub(self.epoch_start);
        // A program may have read its time just before the control thread began this epoch.
        if passed < crate::cookie::EPOCH_NANOSECONDS || passed.cast_signed() < 0 {
            self.epoch
        } else {
            self.epoch
                .wrapping_add(passed / crate::cookie::EPOCH_NANOSECONDS)
        }
    }
}

/// A steered interface.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// See [`side`].
    pub side: u32,
    /// Its row of sockets: queue q has the socket `slot * MAX_QUEUES + q`.
    pub slot: u32,
    /// The queues on which a worker answers the SYNs, not the XDP program.
    pub afxdp: QueueSet,
}

/// All steered interfaces. They are few: a linear search is faster than a hash.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// Their kernel indices (ifindex), by slot; 0 from the first free slot on.
    pub index: [u32; MAX_INTERFACES as usize],
    /// How each of them is steered, by slot.
    pub interface: [Interface; MAX_INTERFACES as usize],
}

/// Bits of [`Interface::side`]: where an interface leads, and what it can do.
pub mod side {
    /// Clients are reached through this interface.
    pub const OUTSIDE: u32 = 1;
    /// Servers are reached through this interface.
    pub const INSIDE: u32 = 2;
    /// It transmits frames in several buffers that are redirected to it.
    pub const TAKES_FRAGS: u32 = 4;
}

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
    /// While opening: the low bits of the number of the worker that owns it ([`Self::worker`]). Afterwards the lowest four bits are
    /// the left shift of the client's windows, for a server that has refused the client's window scaling. See [`owner`] for
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

    const _: () = assert!(super::MAX_QUEUES <= 1 << (WORKER_BITS + u8::BITS));

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
}

/// A connection that passes through untranslated: adopted at start, or opened by the server.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// When it last carried a segment.
    pub last_seen: FlowTime,
    /// Bits of [`flow_flags`], as in [`Flow::flags`].
    pub flags: u32,
}

/// A neighbour that the XDP program could not send to, because the kernel has no hardware address of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// Its address.
    pub address: Address,
    /// The kernel's index of the interface that it is on.
    pub interface: u32,
}

/// VLAN tags for which this machine has a device.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VlanTags {
    /// The tags, see [`push_vlan_tag`]; [`ANY_VLAN`]: whatever they are.
    pub tags: u64,
    /// The kernel's index of the interface that the frames arrive on.
    pub interface: u32,
    /// Padding, zero.
    pub reserved: u32,
}

/// As [`VlanTags::tags`]: the interface is a port of a bridge, which forwards tagged frames without a device for them.
pub const ANY_VLAN: u64 = 0;

/// Adds a tag behind those before it, the outermost first. A tag with VID 0 says nothing but a priority and is not added.
#[inline(always)]
pub const fn push_vlan_tag(tags: u64, protocol: u16, control: u16) -> u64 {
    match control & 0xfff {
        0 => tags,
        vid => tags << 32 | (protocol as u64) << 16 | vid as u64,
    }
}

/// The most entries of [`VlanTags`].
pub const MAX_VLANS: u32 = 8192;
/// The most segments of unknown connections from one prefix that a server judges in a unit of [`FlowTime`].
pub const JUDGED_PER_PREFIX: u32 = 4;
/// Counters of judged segments. A power of two.
pub const JUDGED_PREFIXES: u32 = 1024;

/// What the ACK of a validated client said whose queue had no worker. It waits for a process under its flow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WaitingClient {
    /// When the ACK came, coarse clock, ns.
    pub since: u64,
    /// The request to a worker ([`crate::worker_request::Meta`]).
    pub request: [u32; META_WORDS],
    /// SEG.SEQ.
    pub sequence: u32,
    /// SEG.ACK.
    pub acknowledgement: u32,
    /// TSval, if there are `timestamps`.
    pub tsval: u32,
    /// TSecr, if there are `timestamps`.
    pub tsecr: u32,
    /// SEG.WND, unscaled.
    pub window: u16,
    /// TTL or hop limit of the packet.
    pub ttl: u8,
    /// 1: the segment has timestamps.
    pub timestamps: u8,
    /// Padding, zero.
    pub reserved: u32,
}

/// The most clients that wait for a process ([`WaitingClient`]).
pub const MAX_WAITING: u32 = 4096;
/// The most of them that one client prefix adds in a period of [`waiting_period`].
pub const WAITING_PER_PREFIX: u32 = MAX_WAITING / 2;
/// Counters of waiting clients by their prefix. A power of two.
pub const WAITING_PREFIXES: u32 = 1024;

/// The period of a time (ns) in which waiting clients are counted: 68.7 s, longer than a client waits.
#[inline(always)]
pub const fn waiting_period(now: u64) -> u32 {
    (now >> 36) as u32
}

/// Numbers that the appliance sets before any packet is steered.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Globals {
    /// Key of the flow table's hash.
    pub table_key: multilinear::Key,
    /// Key of the fingerprints of [`crate::replay_cache`] and the places of [`crate::prefix_counts`].
    pub replay_key: Key,
    /// Buckets of the flow table minus one: a mask.
    pub bucket_mask: u32,
    /// Units of [`FlowTime`] without a segment after which a passed-through connection no longer counts.
    pub passed_idle: u32,
    /// 1: some service is configured by prefix or for any port.
    pub prefixes: u32,
    /// Changes, but never to 0 or 1, with every change of an endpoint or a service. While it is the same, what the programs have
    /// looked up stays valid. Its lowest bit names the bank of policies that is in force ([`policy_slot`]).
    pub generation: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_maps() {
        assert_eq!(size_of::<Flow>(), 64);
        assert_eq!(size_of::<Profile>(), 8);
        assert_eq!(size_of::<NextHop>(), 20);
        assert_eq!(size_of::<Endpoint>(), 28);
        assert_eq!(size_of::<Service>(), 48);
        assert_eq!(size_of::<VlanTags>(), 16);
        assert_eq!(size_of::<WaitingClient>(), 64);
        assert_eq!(size_of::<KeySlot>(), 8 + 16 * MAX_SECRETS);
    }

    #[test]
    fn older_cookies_keep_the_profile_that_they_offered() {
        let (now, before) = (
            Profile {
                mss: 1,
                ..Profile::default()
            },
            Profile::default(),
        );
        let endpoint = Endpoint {
            service: 0,
            policy: 0,
            since: 100,
            now,
            before,
        };
        assert_eq!(endpoint.profile(99), &before);
        assert_eq!(endpoint.profile(100), &now);
        assert_eq!(
            Endpoint {
                since: 0,
                ..endpoint
            }
            .profile(58_000_000),
            &now
        );
    }

    #[test]
    fn epochs_advance_without_the_control_thread() {
        let clock = Clock {
            epoch: 10,
            epoch_start: 1_000,
        };
        assert_eq!(clock.epoch_at(1_000), 10);
        assert_eq!(clock.epoch_at(999), 10);
        assert_eq!(clock.epoch_at(999 + 32_000_000_000), 10);
        assert_eq!(clock.epoch_at(1_000 + 32_000_000_000 * 70), 80);
    }
}
