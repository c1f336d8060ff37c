//! How much a configuration may hold. What the data plane keeps per service or interface is sized by these.

use std::ops::RangeInclusive;

/// Services of one appliance.
pub const SERVICES: usize = 64;
/// Interfaces of one appliance.
pub const INTERFACES: usize = 16;
/// Queues of one interface, so also the highest queue number plus one, and the number of workers.
pub const QUEUES: usize = 64;
/// Addresses and prefixes of one service.
pub const ADDRESSES: usize = 256;
/// Ports of one service, unless it takes `"any"`.
pub const PORTS: usize = 64;
/// Prefixes in each of one service's `allow` and `deny`.
pub const LISTED: usize = 1024;
/// Characters of a service's name.
pub const SERVICE_NAME: usize = 32;
/// Characters of an interface's name: IFNAMSIZ (linux/if.h) without its closing NUL.
pub const INTERFACE_NAME: usize = 15;
/// Bytes of a UNIX socket's path: `sun_path` (linux/un.h) without its closing NUL.
pub const SOCKET_PATH: usize = 107;
/// Bytes of the configuration file.
pub const FILE: u64 = 1 << 20;

/// CPU numbers; the kernel's own bound is CONFIG_NR_CPUS, at most 8192.
pub const CORE: RangeInclusive<u64> = 0..=8191;
/// Ports; 0 is never on the wire.
pub const PORT: RangeInclusive<u64> = 1..=65535;
/// Queue numbers.
pub const QUEUE: RangeInclusive<u64> = 0..=QUEUES as u64 - 1;
/// Seconds for which unknown connections are adopted after the start.
pub const ADOPT_SECONDS: RangeInclusive<u64> = 0..=3600;
/// Entries of the flow table.
pub const CAPACITY: RangeInclusive<u64> = 1024..=1 << 24;
/// Seconds that an idle flow is kept: from a minute to a week.
pub const IDLE_SECONDS: RangeInclusive<u64> = 60..=604_800;
/// Seconds that a closed flow is kept: up to an hour; 2 MSL is 240 (RFC 9293 §3.4.2).
pub const CLOSING_SECONDS: RangeInclusive<u64> = 1..=3600;
/// Bytes of client data held per opening: from one full segment to the largest unscaled window.
pub const HOLD_BYTES: RangeInclusive<u64> = 1460..=65536;
/// MSS: from IPv4's default (RFC 9293 §3.7.1) to what fits an IPv4 packet.
pub const MSS: RangeInclusive<u64> = 536..=65495;
/// The least MSS where a service has an IPv6 address (RFC 9293 §3.7.1).
pub const MSS_IPV6: u16 = 1220;
/// Window scale (RFC 7323 §2.3).
pub const WSCALE: RangeInclusive<u64> = 0..=14;
