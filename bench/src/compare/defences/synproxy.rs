//! netfilter's SYNPROXY on the edge, set up as nftables' documentation says, with the options that the server has.

use anyhow::{Context as _, Result};

use super::offers::window_scale;
use crate::compare::defence::{Defence, Started};
use crate::compare::netns_lab::{Lab, PATIENCE, Role};

/// With or without timestamps in its SYN-ACKs; each is better in some respect.
pub(super) struct Synproxy {
    pub(super) timestamps: bool,
}

impl<'a> Defence<'a> for Synproxy {
    fn start(&mut self, lab: &Lab<'a>) -> Result<Started> {
        let file = lab.folder().join("synproxy.nft");
        std::fs::write(
            &file,
            rules(lab.ports(), self.timestamps, window_scale(lab)?),
        )?;
        let file = file.to_string_lossy();
        lab.run(Role::Edge, "nft", ["-f", &file], PATIENCE)
            .context("nft is needed: apt-get install nftables")?;
        // A segment of an unknown connection goes to SYNPROXY; conntrack does not pick it up as a connection.
        lab.sysctl(Role::Edge, "net.netfilter.nf_conntrack_tcp_loose=0")?;
        lab.pass(Role::Edge, "out0")?;
        Ok(Started::Running)
    }

    fn carried(&self, lab: &Lab<'a>) -> Result<Option<u64>> {
        let statistics = lab.run(Role::Edge, "cat", ["/proc/net/stat/synproxy"], PATIENCE)?;
        valid_cookies(&statistics)
            .context("/proc/net/stat/synproxy has no cookie_valid")
            .map(Some)
    }
}

/// The MSS of Ethernet in each family, and the server's window scale: SYNPROXY offers it for the server and does not
/// translate windows.
fn rules(ports: &[u16], timestamps: bool, window_scale: u32) -> String {
    let ports: Vec<_> = ports.iter().map(ToString::to_string).collect();
    let ports = ports.join(", ");
    let timestamp = if timestamps { "timestamp " } else { "" };
    let options = format!("wscale {window_scale} {timestamp}sack-perm");
    format!(
        "table inet defence {{
    chain arriving {{
        type filter hook prerouting priority raw;
        iifname \"out0\" tcp dport {{ {ports} }} tcp flags & (fin|syn|rst|ack) == syn notrack
    }}
    chain forwarded {{
        type filter hook forward priority filter;
        iifname \"out0\" meta nfproto ipv4 tcp dport {{ {ports} }} ct state invalid,untracked synproxy mss 1460 {options}
        iifname \"out0\" meta nfproto ipv6 tcp dport {{ {ports} }} ct state invalid,untracked synproxy mss 1440 {options}
        ct state invalid drop
    }}
}}
"
    )
}

/// The column cookie_valid of /proc/net/stat/synproxy, a line for each CPU, hexadecimal.
fn valid_cookies(statistics: &str) -> Option<u64> {
    let mut lines = statistics.lines();
    let position = lines
        .next()?
        .split_whitespace()
        .position(|name| name == "cookie_valid")?;
    lines
        .map(|line| {
            let value = line.split_whitespace().nth(position)?;
            u64::from_str_radix(value, 16).ok()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_cookies_of_all_cpus_count() {
        let statistics =
            "entries\t\tsyn_received\tcookie_invalid\tcookie_valid\tcookie_retrans\tconn_reopened
00000000\t00000002\t00000000\t0000001f\t00000000\t00000000
00000000\t00000002\t00000000\t00000001\t00000000\t00000000
";
        assert_eq!(valid_cookies(statistics), Some(32));
        assert_eq!(valid_cookies("entries\n00000000\n"), None);
    }
}
