//! Limits of a configuration. The data plane sizes its maps per service and interface by them.

use std::ops::RangeInclusive;

/// Maximum number of services.
pub const SERVICES: usize = 1024;
/// Maximum number of interfaces.
pub const INTERFACES: usize = 32;
/// Maximum number of queues of an interface: the highest queue number plus one, and the maximum number of workers.
pub const QUEUES: usize = 256;
/// Maximum number of endpoints of all services: pairs of an address or prefix and a port.
pub const ENDPOINTS: usize = 65_536;
/// Maximum number of addresses and prefixes of a service.
pub const ADDRESSES: usize = 256;
/// Maximum number of ports of a service that does not use `"any"`.
pub const PORTS: usize = 64;
/// Maximum number of prefixes in `allow` and in `deny` of a service.
pub const LISTED: usize = 1024;
/// Maximum number of prefixes in the file of `allow_file` or `deny_file`.
pub const LISTED_IN_FILE: usize = 1 << 20;
/// Maximum size of that file, bytes: a full one with the longest prefixes.
pub const LIST_FILE: u64 = 64 << 20;
/// Maximum length of an interface name: IFNAMSIZ (linux/if.h) without the terminating NUL.
pub const INTERFACE_NAME: usize = 15;
/// Maximum length of a UNIX socket's path, bytes: `sun_path` (linux/un.h) without the terminating NUL.
pub const SOCKET_PATH: usize = 107;
/// Maximum size of the configuration file, bytes: one with all endpoints, each with the longest address on a line of its own, has
/// half of that.
pub const FILE: u64 = 8 << 20;

/// CPU numbers. The kernel's limit is CONFIG_NR_CPUS, at most 8192.
pub const CORE: RangeInclusive<u64> = 0..=8191;
/// Ports. Port 0 is never on the wire.
pub const PORT: RangeInclusive<u64> = 1..=65535;
/// Queue numbers.
pub const QUEUE: RangeInclusive<u64> = 0..=QUEUES as u64 - 1;
/// Seconds after the start during which unknown connections are adopted.
pub const ADOPT_SECONDS: RangeInclusive<u64> = 0..=3600;
/// Entries of the flow table.
pub const CAPACITY: RangeInclusive<u64> = 1024..=1 << 24;
/// Idle timeout of a flow, seconds: from a minute to a week.
pub const IDLE_SECONDS: RangeInclusive<u64> = 60..=604_800;
/// Timeout of a closed flow, seconds: up to an hour. 2 MSL is 240 s (RFC 9293 §3.4.2).
pub const CLOSING_SECONDS: RangeInclusive<u64> = 1..=3600;
/// Bytes of client data held per opening: from one full segment to the largest unscaled window.
pub const HOLD_BYTES: RangeInclusive<u64> = 1460..=65536;
/// Openings of a source or a server at one receive queue: up to all of its worker's.
pub const OPENINGS: RangeInclusive<u64> = 1..=8192;
/// SYNs a second: up to more than any NIC receives (a frame of 64 bytes at 400 Gbit/s: 0.6 billion).
pub const SYN_RATE: RangeInclusive<u64> = 1..=1_000_000_000;
/// Seconds that an attack must be over: up to a day.
pub const HOLD_SECONDS: RangeInclusive<u64> = 1..=86_400;
/// Maximum number of words of a command: a program and its arguments.
pub const COMMAND_WORDS: usize = 32;
/// Maximum length of a word of a command, bytes.
pub const COMMAND_WORD: usize = 1024;
/// Replies to one client prefix in a second from one CPU; 0: no limit.
pub const REPLIES: RangeInclusive<u64> = 0..=1_000_000;
/// MSS: from IPv4's default (RFC 9293 §3.7.1) to the largest that fits into an IPv4 packet.
pub const MSS: RangeInclusive<u64> = 536..=65495;
/// Minimum MSS of a service with an IPv6 address (RFC 9293 §3.7.1).
pub const MSS_IPV6: u16 = 1220;
/// Window scale (RFC 7323 §2.3).
pub const WSCALE: RangeInclusive<u64> = 0..=14;
