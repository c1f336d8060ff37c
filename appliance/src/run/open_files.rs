//! The limit of open files: each queue with a socket takes about five descriptors, and shells start with a limit of 1,024.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors of a queue: that of its socket, and those with which it is bound.
const OF_QUEUE: u64 = 5;
/// Descriptors of a process that serves, for other things: connections of the control socket and of the metrics endpoint, files,
/// netlink sockets.
const OTHERS: u64 = 128;

/// Raises the limit of this process to the highest that it may have. Nothing here uses `select`, which would not stand that.
///
/// # Errors
/// The kernel refuses.
pub(super) fn allow_most() -> rustix::io::Result<()> {
    let most = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: most,
        maximum: most,
    };
    setrlimit(Resource::Nofile, limit)
}

/// Checks that a process with sockets on so many queues can open what it needs. Without room it would steer, and then fail.
///
/// # Errors
/// The limit is too low: a sentence with the cure.
pub(super) fn require_room(queues: usize) -> anyhow::Result<()> {
    let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let needed = needed(open as u64, queues as u64);
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < needed => anyhow::bail!(
            "this process may open {limit} files, and needs up to {needed} with sockets on {queues} queue(s): \
             `ulimit -n {needed}`, or LimitNOFILE={needed} in its unit"
        ),
        _ => Ok(()),
    }
}

const fn needed(open: u64, queues: u64) -> u64 {
    open + OF_QUEUE * queues + OTHERS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_for_queues_and_observers() {
        assert!(require_room(4).is_ok());
        let refused = require_room(1 << 40).map_err(|error| error.to_string());
        assert!(refused.is_err_and(|error| error.contains("LimitNOFILE=")));
        // The highest limit that a shell has without asking (Linux, INR_OPEN_MAX) does for a machine of usual size.
        assert!(needed(90, 2 * 64) <= 4_096);
    }

    #[test]
    fn the_limit_is_the_highest_afterwards() {
        assert_eq!(allow_most(), Ok(()));
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
