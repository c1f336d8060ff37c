//! How often listeners of this network namespace had no room (TcpExt of /proc/net/netstat, net/ipv4/proc.c).

use std::fs;
use std::io::{self, ErrorKind};

/// SYNs for a full queue of handshakes, answered with the kernel's cookies or dropped, and SYNs and ACKs for a full accept
/// queue.
const COUNTERS: [&str; 3] = ["TCPReqQFullDoCookies", "TCPReqQFullDrop", "ListenOverflows"];

/// The sum of these counters since the namespace exists. The kernel does not tell which listener it was.
///
/// # Errors
/// The file cannot be read, or has none of the counters.
pub fn listen_overflows() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/thread-self/net/netstat")?;
    sum(&text).ok_or_else(|| {
        let what = "/proc/net/netstat has no counters of full listeners";
        io::Error::new(ErrorKind::InvalidData, what)
    })
}

/// Each group is a line of names and a line of numbers.
fn sum(text: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let pairs = names.split_whitespace().zip(numbers.split_whitespace());
    let found = pairs.filter(|(name, _)| COUNTERS.contains(name));
    found
        .map(|(_, number)| number.parse::<u64>().ok())
        .reduce(|sum, one| sum?.checked_add(one?))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_name() {
        let text = "TcpExt: SyncookiesSent ListenOverflows TCPReqQFullDoCookies TCPReqQFullDrop X\n\
                    TcpExt: 1 20 300 4000 5\nIpExt: ListenOverflows\nIpExt: 7\n";
        assert_eq!(sum(text), Some(4_320));
        assert_eq!(sum("TcpExt: X\nTcpExt: 1\n"), None);
        assert_eq!(sum("TcpExt: ListenOverflows\nTcpExt: many\n"), None);
        assert_eq!(sum(""), None);
    }

    #[test]
    fn this_kernel_has_them() {
        listen_overflows().expect("counters");
    }
}
