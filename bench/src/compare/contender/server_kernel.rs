//! The server's kernel alone, behind an edge that forwards or nothing.

use anyhow::{Context as _, Result};

use super::{Defence, Raised};
use crate::compare::netns_lab::{Lab, PATIENCE, Role};

/// With cookies for every SYN, or with none.
#[derive(Default)]
pub(super) struct Kernel {
    pub(super) syncookies: bool,
    /// Behind XDP programs that let everything pass, wherever synward or its lab has one.
    pub(super) passes: bool,
}

impl<'a> Defence<'a> for Kernel {
    fn raise(&mut self, lab: &Lab<'a>) -> Result<Raised> {
        let value = if self.syncookies { 2 } else { 0 };
        lab.sysctl(Role::Server, &format!("net.ipv4.tcp_syncookies={value}"))?;
        if self.passes {
            lab.pass_through_edge()?;
            lab.pass(Role::Server, "server0")?;
        } else {
            // For the flood's frames, as everywhere where no program of the appliance is.
            let (role, interface) = lab.front();
            lab.pass(role, interface)?;
        }
        Ok(Raised::Up)
    }

    fn carried(&self, lab: &Lab<'a>) -> Result<Option<u64>> {
        match self.syncookies {
            true => proven(lab).map(Some),
            false => opened(lab).map(Some),
        }
    }
}

/// Connections that the server's kernel has opened, whoever answered their SYNs.
pub(super) fn opened(lab: &Lab<'_>) -> Result<u64> {
    statistic(lab, Role::Server, "/proc/net/snmp", "Tcp:", "PassiveOpens")
}

/// The same, or none if no cookie was among what opened them. Not every one has a cookie: the kernel makes none for a SYN
/// that follows a connection in TIME_WAIT (`tcp_conn_request`, net/ipv4/tcp_input.c).
pub(super) fn proven(lab: &Lab<'_>) -> Result<u64> {
    let file = "/proc/net/netstat";
    match statistic(lab, Role::Server, file, "TcpExt:", "SyncookiesRecv")? {
        0 => Ok(0),
        _ => opened(lab),
    }
}

/// A counter of a role's kernel, from /proc/net/netstat or /proc/net/snmp.
///
/// # Errors
/// That kernel has none of this name.
pub(in crate::compare) fn statistic(
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
