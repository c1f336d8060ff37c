//! What the maps hold: the contract between the XDP program and the appliance.
//!
//! Every type is `repr(C)` with explicit padding, so that its bytes are the same on both sides.

use crate::client_options::{ClientOptions, NO_SCALE};
use crate::cookie::Key;
use crate::flow::FlowKey;
use crate::flow_time::FlowTime;
use crate::multilinear;
use crate::wire::Address;

/// Changes whenever a map's meaning does; a process takes over pinned maps only if it matches.
pub const SCHEMA: u32 = 5;

/// At most this many services.
pub const MAX_SERVICES: u32 = 64;
/// At most this many interfaces are steered.
pub const MAX_INTERFACES: u32 = 16;
/// At most this many receive queues of one interface have a socket.
pub const MAX_QUEUES: u32 = 64;
/// Epochs for which the XDP program holds keys; it is answered right for more than an hour while no
/// process runs. A power of two.
pub const KEY_SLOTS: u32 = 256;
/// Secrets that are accepted at a time.
pub const MAX_SECRETS: usize = 4;
/// Nanoseconds without a heartbeat after which a worker counts as gone.
pub const HEARTBEAT_TIMEOUT: u64 = 1_000_000_000;

/// The program at TC calls this in place of the kernel function `bpf_sk_assign_tcp_reqsk`, whose number differs from
/// kernel to kernel: what the loader looks for, and replaces.
pub const ASSIGN_KFUNC: u32 = 0x7379_6e77;

/// What a server does with TCP options: what a SYN-ACK in its name may promise.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// MSS that the server announces, bytes.
    pub mss: u16,
    /// Window of the SYN-ACK (not scaled): what synward holds for a client whose server has not
    /// answered yet.
    pub window: u16,
    /// The server's window shift, 0–14, or [`NO_SCALE`].
    pub window_scale: u8,
    /// See [`profile_flags`].
    pub flags: u8,
    /// Zero.
    pub reserved: [u8; 2],
}

/// Bits of [`Profile::flags`].
pub mod profile_flags {
    /// The server does SACK.
    pub const SACK: u8 = 1;
    /// The server does timestamps.
    pub const TIMESTAMPS: u8 = 2;
    /// The server does ECN.
    pub const ECN: u8 = 4;
}

/// Ten segments of 1460 bytes: a client's initial window (RFC 6928), and so all that it sends before
/// the server itself has answered.
pub const INITIAL_WINDOW: u16 = 14600;

impl Default for Profile {
    /// A stock Linux server on Ethernet, for as long as nothing better is known.
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
    /// Whether the server does timestamps.
    #[inline(always)]
    pub const fn timestamps(&self) -> bool {
        self.flags & profile_flags::TIMESTAMPS != 0
    }

    /// The client's options that this server has as well; the client's own MSS and window shift.
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

/// Key of the exact look-up: a service's address and port. [`NO_PORT`] marks an address of which some
/// port is protected; it is asked for packets whose port cannot be read.
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
    /// The epoch (low 32 bits) from which `now` is promised; cookies of earlier epochs promised
    /// `before`. 0: the server has not said yet what it does.
    pub since: u32,
    /// What SYN-ACKs promise.
    pub now: Profile,
    /// What they promised until `since`.
    pub before: Profile,
}

impl Endpoint {
    /// What a SYN-ACK of `epoch` promises, or promised.
    #[inline(always)]
    pub const fn profile(&self, epoch: u64) -> &Profile {
        if (epoch as u32).wrapping_sub(self.since) as i32 >= 0 {
            &self.now
        } else {
            &self.before
        }
    }
}

/// Key of the prefix look-up (BPF_MAP_TYPE_LPM_TRIE): the prefix length counts from the start of the
/// 16-byte form, so IPv4 prefixes are 96 bits longer.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixKey {
    /// Bits that count, 0 to 128.
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

/// Stands for every port that is not named itself ([`PrefixPort`]).
pub const ANY_PORT: u32 = 0x1_0000;

/// Stands for the address itself: what decides about packets whose ports cannot be read.
pub const NO_PORT: u32 = 0x1_0001;

/// What is done with a service's traffic.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// See [`mode`].
    pub mode: u8,
    /// See [`unknown_policy`].
    pub unknown_policy: u8,
    /// 1: fragments go to the kernel; 0: they are dropped.
    pub pass_fragments: u8,
    /// 1: the service has an allow- or deny-list.
    pub listed: u8,
    /// How many entries of [`KeySlot::keys`] count.
    pub keys: u16,
    /// See [`handoff`].
    pub handoff: u8,
    /// See [`cookies`].
    pub cookies: u8,
    /// Until this time (boot-independent coarse clock, ns) segments of unknown connections pass.
    pub adopt_until: u64,
}

/// Values of [`Service::mode`].
pub mod mode {
    /// Challenge nobody; connections that are spliced go on.
    pub const OFF: u8 = 0;
    /// The same, by another name.
    pub const MONITOR: u8 = 1;
    /// Challenge every SYN.
    pub const ALWAYS: u8 = 2;
}

/// Values of [`Service::handoff`].
pub mod handoff {
    /// A connection of synward's own to the server, translated.
    pub const SPLICE: u8 = 0;
    /// This machine's kernel: its sockets say whose a segment is.
    pub const LOCAL: u8 = 1;
    /// Another machine's kernel, which shares the key: segments go there as they are.
    pub const FORWARD: u8 = 2;
}

/// Bits of [`Service::cookies`], of services with [`handoff::LOCAL`].
pub mod cookies {
    /// The kernel's own cookies rather than ours, because it takes no connection from us, or is not to.
    pub const KERNEL: u8 = 1;
    /// The kernel's clock of timestamps is bare, so that its cookies can hold all options.
    pub const TIMES: u8 = 2;
}

/// Values of [`Service::unknown_policy`]: what happens to a segment that matches no flow.
pub mod unknown_policy {
    /// Dropped.
    pub const DROP: u8 = 0;
    /// Given to the kernel.
    pub const PASS: u8 = 1;
    /// Answered with a RST (RFC 9293 §3.10.7.1).
    pub const RESET: u8 = 2;
}

/// The keys of one service for one epoch; slot `service * KEY_SLOTS + epoch % KEY_SLOTS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeySlot {
    /// The epoch, to tell a slot that was not refreshed.
    pub epoch: u64,
    /// One key per secret; the first makes cookies, all are accepted.
    pub keys: [Key; MAX_SECRETS],
}

/// The index of a key slot.
#[inline(always)]
pub const fn key_slot(service: u32, epoch: u64) -> u32 {
    service * KEY_SLOTS + (epoch as u32 & (KEY_SLOTS - 1))
}

/// Time as the control thread last set it; the clock is `bpf_ktime_get_coarse_ns`
/// (CLOCK_MONOTONIC_COARSE), which costs a tenth of a fine clock and is exact enough for 32 s.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// An epoch …
    pub epoch: u64,
    /// … and when it began, ns.
    pub epoch_start: u64,
}

impl Clock {
    /// The epoch at `now`, ns.
    #[inline(always)]
    pub const fn epoch_at(&self, now: u64) -> u64 {
        let passed = now.wrapping_sub(self.epoch_start);
        // A program may have read its time just before the epoch began.
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
    /// Its row of sockets: the socket of queue q is `slot * MAX_QUEUES + q`.
    pub slot: u32,
    /// The queues (bit q) on which a worker answers SYNs rather than the XDP program.
    pub afxdp: u64,
}

/// All steered interfaces: few enough to be looked through faster than a hash is made.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// Their indices in the kernel, by slot; 0 from the first one that is free.
    pub index: [u32; MAX_INTERFACES as usize],
    /// What is done with them.
    pub interface: [Interface; MAX_INTERFACES as usize],
}

/// Bits of [`Interface::side`].
pub mod side {
    /// Clients are out there.
    pub const OUTSIDE: u32 = 1;
    /// Servers are in there.
    pub const INSIDE: u32 = 2;
}

/// A spliced flow: one cache line, found by the tags of [`crate::flow`]. The appliance writes it,
/// the XDP program reads it and marks `last_seen`, `state` and `flags`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Whose it is.
    pub key: FlowKey,
    /// Added to the server's sequence numbers: K − S. While opening: the opening's index.
    pub sequence_delta: u32,
    /// Added to the server's timestamps.
    pub timestamp_delta: u32,
    /// The client's ISN, C.
    pub client_isn: u32,
    /// Our ISN, K.
    pub isn: u32,
    /// When it last carried a segment.
    pub last_seen: FlowTime,
    /// See [`state`].
    pub state: u8,
    /// Left shift of the windows that the server sends; negative: right.
    pub window_shift: i8,
    /// See [`flow_flags`].
    pub flags: u8,
    /// The worker that owns the opening.
    pub owner: u8,
    /// Index of the service.
    pub service: u16,
    /// Zero.
    pub reserved: u16,
}

/// Values of [`Flow::state`].
pub mod state {
    /// Nothing here.
    pub const EMPTY: u8 = 0;
    /// The server has not answered yet; its segments and the client's go to the owning worker.
    pub const OPENING: u8 = 1;
    /// Translated and forwarded.
    pub const ESTABLISHED: u8 = 2;
    /// A FIN or RST was seen: forwarded as before, but a new connection may take its place.
    pub const CLOSING: u8 = 3;
}

/// Bits of [`Flow::flags`].
pub mod flow_flags {
    /// The client has sent a FIN.
    pub const CLIENT_FIN: u8 = 1;
    /// The server has sent a FIN.
    pub const SERVER_FIN: u8 = 2;
    /// Someone has sent a RST.
    pub const RESET: u8 = 4;
    /// Timestamps are negotiated.
    pub const TIMESTAMPS: u8 = 8;
}

/// A connection that is not spliced and passes as it is: adopted at start, or begun by the server.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// When it last carried a segment.
    pub last_seen: FlowTime,
    /// As in [`Flow::flags`].
    pub flags: u32,
}

/// Numbers that the appliance sets once, before any packet is steered.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Globals {
    /// Key of the flow table's hash.
    pub table_key: multilinear::Key,
    /// Key of the marks of [`crate::replay_cache`].
    pub replay_key: Key,
    /// Buckets of the flow table less one.
    pub bucket_mask: u32,
    /// Units of [`FlowTime`] after which an idle passed connection no longer counts.
    pub passed_idle: u32,
    /// 1: some service is given by prefix or by "any" port.
    pub prefixes: u32,
    /// Another number, never 0, each time that an endpoint or a service has changed: until then a program need not look up
    /// again what it has found.
    pub generation: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        assert_eq!(size_of::<Flow>(), 64);
        assert_eq!(size_of::<Profile>(), 8);
        assert_eq!(size_of::<Endpoint>(), 24);
        assert_eq!(size_of::<Service>(), 16);
        assert_eq!(size_of::<KeySlot>(), 8 + 16 * MAX_SECRETS);
    }

    #[test]
    fn a_promise_is_kept_for_older_cookies() {
        let (now, before) = (
            Profile {
                mss: 1,
                ..Profile::default()
            },
            Profile::default(),
        );
        let endpoint = Endpoint {
            service: 0,
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
    fn epochs_go_on_without_a_control_thread() {
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
