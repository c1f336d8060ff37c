//! Sources that no client has. A SYN-ACK to one would go to this machine itself, to all hosts of a network, or nowhere.

use crate::cpu_scratch::CpuScratch;
use crate::maps;

/// Whether the current packet cannot come from a client:
///
/// - from a source that Linux takes for martian whatever its routes say (`Address::is_impossible_source`);
/// - from its own destination (LAND, CVE-1999-0016), whatever its ports;
/// - from an address of this machine, or the broadcast address of one of its networks: Linux drops these by its routes
///   (`fib_validate_source` in net/ipv4/fib_frontend.c), but only over IPv4, and only behind XDP;
/// - from 240.0.0.0/4, unless this machine has an address there;
/// - from fe80::/10 to an address that is not: no router forwards such a packet (RFC 4291 §2.5.6), and a client on the link
///   has an address of the destination's scope (RFC 6724 §5, rule 2).
#[inline(never)]
pub fn is_impossible(cpu: &CpuScratch) -> bool {
    let (source, destination) = (&cpu.packet.source, &cpu.packet.destination);
    if source.is_impossible_source()
        || source == destination
        || (source.is_link_local_v6() && !destination.is_link_local_v6())
    {
        return true;
    }
    let Some(filter) = maps::SOURCE_FILTER.get(0) else {
        return false;
    };
    if source.is_reserved_v4() && filter.has_reserved == 0 {
        return true;
    }
    // SAFETY: the value is not read.
    filter.may_hold(source) && unsafe { maps::OWN_SOURCES.get(source) }.is_some()
}
