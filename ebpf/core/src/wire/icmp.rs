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

/// What an error says about the delivery of the quoted packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It may pass: a soft error (RFC 1122 §4.2.3.9).
    Soft,
    /// It stays: a hard error.
    Hard,
}

/// Why the quoted packet of an ICMP error was not delivered; `None` for other errors, "fragmentation needed" among them.
/// Which codes are hard is what Linux takes for it (`icmp_err_convert`, net/ipv4/icmp.c): also prohibitions and unknown
/// destinations, which RFC 1122 leaves open.
#[inline(always)]
pub const fn failure_v4(kind: u8, code: u8) -> Option<Failure> {
    match (kind, code) {
        (3, 0 | 1 | 5 | 11 | 12) | (11, _) => Some(Failure::Soft),
        (3, 2 | 3 | 6..=10 | 13..=15) => Some(Failure::Hard),
        _ => None,
    }
}

/// The same for an ICMPv6 error (`icmpv6_err_convert`, net/ipv6/icmp.c).
#[inline(always)]
pub const fn failure_v6(kind: u8, code: u8) -> Option<Failure> {
    match (kind, code) {
        (1, 0 | 2 | 3) | (3, _) => Some(Failure::Soft),
        (1, 1 | 4..=6) => Some(Failure::Hard),
        _ => None,
    }
}
