//! Takes from each thread, after the start, what it no longer needs.
//!
//! | file | takes away |
//! |---|---|
//! | `capabilities` | capabilities (capabilities(7)) |
//! | `system_calls` | system calls, by a filter (seccomp(2)) |
//! | `files` | files and directories (landlock(7)) |
//!
//! All three hold for one thread and for those that it starts later, and none can be taken back. Threads that exist already
//! confine themselves: a worker when its sockets are open, the control thread just before `ready`.
//!
//! | thread | capabilities | system calls | files |
//! |---|---|---|---|
//! | worker | none | those of its loop; others fail with EPERM | none |
//! | control socket, metrics | none | those of a small server that reads maps and netlink | reads /proc and /sys |
//! | log | none | those of writing to an open file | none |
//! | control | CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF, CAP_IPC_LOCK | all but what a compromise would use | its own directories |

mod capabilities;
mod files;
mod system_calls;

use std::io;
use std::path::PathBuf;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use seccompiler::BpfProgram;

/// What a thread does, and so what it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreadKind {
    /// Handles packets on sockets that are open.
    Worker,
    /// Answers requests on the control socket or the metrics endpoint.
    Server,
    /// Writes the log.
    Log,
    /// Does everything else. It can bind sockets, attach programs and change routes' neighbours again.
    Control,
}

/// The directories that the control thread keeps. Those that do not exist are left out.
#[derive(Clone, Debug, Default)]
pub struct Directories {
    /// Read: of the configuration and the secret.
    pub read: Vec<PathBuf>,
    /// Read and changed: of the control socket and the pins.
    pub change: Vec<PathBuf>,
}

/// Why a thread keeps more than it needs.
#[derive(Debug, thiserror::Error)]
pub enum ConfinementError {
    /// capset(2) failed.
    #[error("capabilities cannot be given up: {0}")]
    Capabilities(#[from] caps::errors::CapsError),
    /// seccomp(2) failed.
    #[error("system calls cannot be filtered: {0}; use a kernel with CONFIG_SECCOMP_FILTER")]
    SystemCalls(#[from] seccompiler::Error),
    /// A filter is wrong.
    #[error("the filter of system calls is wrong: {0}")]
    Filter(#[from] seccompiler::BackendError),
    /// A Landlock system call failed.
    #[error("access to files cannot be given up: {0}")]
    Files(#[from] landlock::RulesetError),
}

/// Confines the calling thread. If that fails, it goes on with what it has, and the log says why.
pub fn confine_thread(kind: ThreadKind, directories: &Directories) {
    if let Err(error) = try_confine(kind, directories) {
        tracing::warn!(thread = ?kind, "the thread is not confined as it should be: {error}");
    }
}

fn try_confine(kind: ThreadKind, directories: &Directories) -> Result<(), ConfinementError> {
    let filter = system_calls::filter(kind)?;
    files::restrict(kind, directories)?;
    capabilities::give_up(kind)?;
    // The last: the filter allows none of the calls above.
    apply(&filter)
}

/// Filters the system calls of the calling thread, and takes nothing else from it: what a test then sees refused, is refused by the
/// filter, and not for want of a capability.
///
/// # Errors
/// The kernel filters no system calls.
pub fn filter_system_calls(kind: ThreadKind) -> Result<(), ConfinementError> {
    apply(&system_calls::filter(kind)?)
}

fn apply(filter: &BpfProgram) -> Result<(), ConfinementError> {
    seccompiler::apply_filter(&system_calls::general_filter())?;
    seccompiler::apply_filter(filter)?;
    Ok(())
}

/// Keeps keys out of core dumps, and other processes without CAP_SYS_PTRACE from reading this one's memory
/// (PR_SET_DUMPABLE, RLIMIT_CORE).
///
/// # Errors
/// The kernel refuses.
pub fn forbid_core_dumps() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    Ok(setrlimit(Resource::Core, none)?)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::thread;

    use super::*;

    /// Runs `check` in a thread that is confined as `kind`.
    fn confined<T: Send + 'static>(
        kind: ThreadKind,
        directories: Directories,
        check: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let thread = thread::spawn(move || {
            try_confine(kind, &directories).expect("this kernel can confine threads");
            check()
        });
        thread.join().expect("the check does not panic")
    }

    fn own_status() -> String {
        std::fs::read_to_string("/proc/thread-self/status").expect("readable")
    }

    #[test]
    fn a_worker_opens_no_socket_and_no_file() {
        let (socket, file) = confined(ThreadKind::Worker, Directories::default(), || {
            (
                UdpSocket::bind("127.0.0.1:0").map_err(|error| error.kind()),
                std::fs::read("/proc/self/status").map_err(|error| error.kind()),
            )
        });
        assert_eq!(socket.err(), Some(io::ErrorKind::PermissionDenied));
        assert_eq!(file.err(), Some(io::ErrorKind::PermissionDenied));
    }

    #[test]
    fn a_worker_still_allocates_waits_and_panics() {
        let message = confined(ThreadKind::Worker, Directories::default(), || {
            thread::sleep(std::time::Duration::from_millis(1));
            let large = vec![1_u8; 32 << 20];
            std::panic::catch_unwind(move || {
                assert_eq!(large.iter().map(|b| u64::from(*b)).sum::<u64>(), 0)
            })
            .is_err()
        });
        assert!(message);
    }

    #[test]
    fn servers_and_the_control_thread_start_no_program() {
        for kind in [ThreadKind::Server, ThreadKind::Control] {
            let started = confined(kind, Directories::default(), || {
                std::process::Command::new("/bin/true")
                    .spawn()
                    .map_err(|error| error.kind())
            });
            assert_eq!(
                started.err(),
                Some(io::ErrorKind::PermissionDenied),
                "{kind:?}"
            );
        }
    }

    #[test]
    fn the_control_thread_reaches_its_own_directories_only() {
        let own = tempfile::tempdir().expect("a directory");
        let other = tempfile::tempdir().expect("a directory");
        let (inside, outside) = (own.path().join("a"), other.path().join("a"));
        let directories = Directories {
            read: vec![],
            change: vec![own.path().to_owned()],
        };
        let (written, refused, capabilities) =
            confined(ThreadKind::Control, directories, move || {
                (
                    std::fs::write(inside, "x"),
                    std::fs::write(outside, "x"),
                    own_status(),
                )
            });
        written.expect("its own directory");
        assert_eq!(
            refused.map_err(|error| error.kind()),
            Err(io::ErrorKind::PermissionDenied)
        );
        // Bits 12, 13, 14 and 39 (linux/capability.h).
        let effective = capabilities
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:\t"));
        let effective = u64::from_str_radix(effective.expect("a line"), 16).expect("hex");
        assert_eq!(
            effective & !(1 << 12 | 1 << 13 | 1 << 14 | 1 << 39),
            0,
            "{effective:x}"
        );
        assert!(capabilities.contains("NoNewPrivs:\t1") && capabilities.contains("Seccomp:\t2"));
    }
}
