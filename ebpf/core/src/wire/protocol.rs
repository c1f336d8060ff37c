//! Protocol numbers: "protocol" of IPv4, "next header" of IPv6 (IANA, Assigned Internet Protocol Numbers).

/// ICMP for IPv4.
pub const ICMP: u8 = 1;
/// TCP.
pub const TCP: u8 = 6;
