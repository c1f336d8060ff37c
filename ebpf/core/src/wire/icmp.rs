//! ICMP (RFC 792) and ICMPv6 (RFC 4443) errors. They quote the packet that caused them.

/// Bytes of the header before the quoted packet.
pub const LENGTH: usize = 8;
/// Bytes of the quoted TCP header that every error contains: ports and sequence number (RFC 792).
pub const QUOTED_TCP: usize = 8;

/// Whether an ICMP type is an error that quotes a packet: unreachable (including "fragmentation needed"), source quench,
/// time exceeded, parameter problem.
#[inline(always)]
pub const fn is_error_v4(kind: u8) -> bool {
    matches!(kind, 3 | 4 | 11 | 12)
}

/// Whether an ICMPv6 type is an error: unreachable, packet too big, time exceeded, parameter problem.
#[inline(always)]
pub const fn is_error_v6(kind: u8) -> bool {
    matches!(kind, 1..=4)
}
