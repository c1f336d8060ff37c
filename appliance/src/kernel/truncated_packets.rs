//! Packets that were cut short before the kernel received them.
#![forbid(unsafe_code)]

use std::fs;

/// The packets of both IP versions that ended earlier than their header says, in this network namespace since it exists
/// (`InTruncatedPkts`, RFC 4293). `None`: the kernel does not say.
pub fn truncated_packets() -> Option<u64> {
    let v4 = fs::read_to_string("/proc/thread-self/net/netstat").ok()?;
    // Without IPv6 there is no such file.
    let v6 = fs::read_to_string("/proc/thread-self/net/snmp6").unwrap_or_default();
    Some(of_v4(&v4)? + of_v6(&v6))
}

/// A line of names is followed by a line of values.
fn of_v4(netstat: &str) -> Option<u64> {
    let mut lines = netstat.lines().filter(|line| line.starts_with("IpExt:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let mut named = names.split_whitespace().zip(values.split_whitespace());
    let (_, value) = named.find(|(name, _)| *name == "InTruncatedPkts")?;
    value.parse().ok()
}

fn of_v6(snmp6: &str) -> u64 {
    let of_line = |line: &str| line.strip_prefix("Ip6InTruncatedPkts")?.trim().parse().ok();
    snmp6.lines().find_map(of_line).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_are_read_by_name() {
        let netstat = "TcpExt: SyncookiesSent\nTcpExt: 5\nIpExt: InNoRoutes InTruncatedPkts InMcastPkts\nIpExt: 1 23 4\n";
        assert_eq!(of_v4(netstat), Some(23));
        assert_eq!(of_v4("TcpExt: SyncookiesSent\nTcpExt: 5\n"), None);
        assert_eq!(
            of_v6("Ip6InReceives   \t9\nIp6InTruncatedPkts              \t7\n"),
            7
        );
        assert_eq!(of_v6(""), 0);
    }

    #[test]
    fn this_kernel_counts_them() {
        assert!(truncated_packets().is_some());
    }
}
