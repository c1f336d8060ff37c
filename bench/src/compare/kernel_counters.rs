//! TCP counters of a namespace's kernel.

use anyhow::{Context as _, Result};

use super::netns_lab::{Lab, PATIENCE, Role};

/// Connections that the server's kernel has opened, regardless of what answered their SYNs.
pub(super) fn passive_opens(lab: &Lab<'_>) -> Result<u64> {
    kernel_counter(lab, Role::Server, "/proc/net/snmp", "Tcp:", "PassiveOpens")
}

/// The same; 0 if no connection was opened by a cookie. The kernel sends no cookie for a SYN that follows a connection
/// in TIME_WAIT, so the two counts differ (`tcp_conn_request`, net/ipv4/tcp_input.c).
pub(super) fn cookie_opens(lab: &Lab<'_>) -> Result<u64> {
    let file = "/proc/net/netstat";
    match kernel_counter(lab, Role::Server, file, "TcpExt:", "SyncookiesRecv")? {
        0 => Ok(0),
        _ => passive_opens(lab),
    }
}

/// Reads a counter of a role's kernel from /proc/net/netstat or /proc/net/snmp.
///
/// # Errors
/// The kernel has no counter of this name.
pub(super) fn kernel_counter(
    lab: &Lab<'_>,
    role: Role,
    file: &str,
    group: &str,
    name: &str,
) -> Result<u64> {
    let statistics = lab.run(role, "cat", [file], PATIENCE)?;
    counter(&statistics, group, name).with_context(|| format!("{file} has no {name}"))
}

/// A value of /proc/net/netstat or /proc/net/snmp: lines come in pairs, names and values.
fn counter(statistics: &str, group: &str, name: &str) -> Option<u64> {
    let mut lines = statistics.lines().filter(|line| line.starts_with(group));
    let (names, values) = (lines.next()?, lines.next()?);
    let position = names.split_whitespace().position(|found| found == name)?;
    values.split_whitespace().nth(position)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_name() {
        let statistics =
            "TcpExt: SyncookiesSent SyncookiesRecv\nTcpExt: 7 5\nIpExt: InOctets\nIpExt: 9\n";
        assert_eq!(counter(statistics, "TcpExt:", "SyncookiesRecv"), Some(5));
        assert_eq!(counter(statistics, "IpExt:", "InOctets"), Some(9));
        assert_eq!(counter(statistics, "IpExt:", "SyncookiesRecv"), None);
        assert_eq!(counter("", "IpExt:", "InOctets"), None);
    }
}
