//! System calls that confined threads must not make, by kind of thread: each fails with EPERM, and the process goes on.
#![allow(clippy::unwrap_used, missing_docs)]

use std::os::raw::{c_int, c_long};
use std::{io, thread};

use synward::confinement::{Directories, ThreadKind, confine_thread, filter_system_calls};

const KINDS: [ThreadKind; 4] = [
    ThreadKind::Worker,
    ThreadKind::Server,
    ThreadKind::Log,
    ThreadKind::Control,
];
/// The bit of calls of the x32 ABI.
#[cfg(target_arch = "x86_64")]
const X32: c_long = 0x4000_0000;

/// A system call that needs no memory of ours: name, number, arguments.
type Call = (&'static str, c_long, [c_long; 3]);

fn errno_of((_, number, [a, b, c]): Call) -> c_int {
    // SAFETY: all arguments are numbers, or addresses that the kernel checks before it uses them.
    let result = unsafe { libc::syscall(number, a, b, c, 0, 0, 0) };
    match result {
        -1 => io::Error::last_os_error().raw_os_error().unwrap(),
        _ => 0,
    }
}

/// The calls that a thread's filter does not refuse with EPERM, each with what it does instead. The thread keeps its capabilities:
/// without them the kernel refuses many calls by itself.
fn not_refused(kind: ThreadKind, calls: &'static [Call]) -> Vec<(&'static str, c_int)> {
    let check = move || {
        filter_system_calls(kind).unwrap();
        let errnos = calls.iter().map(|call| (call.0, errno_of(*call)));
        errnos.filter(|(_, errno)| *errno != libc::EPERM).collect()
    };
    thread::spawn(check).join().unwrap()
}

/// No process makes a new one of these flags: it would have handlers of signals without the memory that they are in (clone(2)).
const NO_CLONE: c_int = libc::CLONE_SIGHAND | libc::SIGCHLD;

/// What nobody may: programs, other processes and signals to them, modules, mounts, namespaces, keys, the clock, identities, eBPF
/// programs. The arguments do no harm where a call is let through: they are addresses, descriptors or lengths that are refused, and
/// where there are none of these, they change nothing.
const NOBODY: &[Call] = &[
    ("execve", libc::SYS_execve, [0; 3]),
    ("execveat", libc::SYS_execveat, [0; 3]),
    #[cfg(target_arch = "x86_64")]
    ("execve (x32)", X32 | 520, [0; 3]),
    #[cfg(target_arch = "x86_64")]
    ("getpid (x32)", X32 | 39, [0; 3]),
    ("ptrace", libc::SYS_ptrace, [16, -1, 0]),
    ("process_vm_readv", libc::SYS_process_vm_readv, [1, 0, 0]),
    ("kill", libc::SYS_kill, [1, 0, 0]),
    ("tkill", libc::SYS_tkill, [1, 0, 0]),
    ("tgkill", libc::SYS_tgkill, [1, 1, 0]),
    ("rt_sigqueueinfo", libc::SYS_rt_sigqueueinfo, [1, 0, 0]),
    (
        "fcntl (F_SETOWN)",
        libc::SYS_fcntl,
        [-1, libc::F_SETOWN as c_long, 1],
    ),
    ("fcntl (F_SETSIG)", libc::SYS_fcntl, [-1, 10, 9]),
    ("fcntl (F_SETOWN_EX)", libc::SYS_fcntl, [-1, 15, 0]),
    ("ioctl (FIOSETOWN)", libc::SYS_ioctl, [-1, 0x8901, 0]),
    ("ioctl (SIOCSPGRP)", libc::SYS_ioctl, [-1, 0x8902, 0]),
    (
        "ioctl (TIOCSTI)",
        libc::SYS_ioctl,
        [-1, libc::TIOCSTI as c_long, 0],
    ),
    (
        "ioctl (TIOCSIG)",
        libc::SYS_ioctl,
        [-1, libc::TIOCSIG as c_long, 9],
    ),
    ("prlimit64", libc::SYS_prlimit64, [1, 0, 0]),
    ("pidfd_open", libc::SYS_pidfd_open, [1, 0, 0]),
    ("pidfd_getfd", libc::SYS_pidfd_getfd, [-1, 0, 0]),
    ("init_module", libc::SYS_init_module, [0; 3]),
    ("finit_module", libc::SYS_finit_module, [-1, 0, 0]),
    ("kexec_load", libc::SYS_kexec_load, [0, -1, 0]),
    ("kexec_file_load", libc::SYS_kexec_file_load, [-1, -1, 0]),
    ("mount", libc::SYS_mount, [0; 3]),
    ("umount2", libc::SYS_umount2, [0; 3]),
    ("open_tree", libc::SYS_open_tree, [-1, 0, 0]),
    ("pivot_root", libc::SYS_pivot_root, [0; 3]),
    ("chroot", libc::SYS_chroot, [0; 3]),
    (
        "unshare",
        libc::SYS_unshare,
        [libc::CLONE_NEWUSER as c_long, 0, 0],
    ),
    ("setns", libc::SYS_setns, [-1, 0, 0]),
    (
        "clone (user)",
        libc::SYS_clone,
        [(libc::CLONE_NEWUSER | NO_CLONE) as c_long, 0, 0],
    ),
    (
        "clone (net)",
        libc::SYS_clone,
        [(libc::CLONE_NEWNET | NO_CLONE) as c_long, 0, 0],
    ),
    ("add_key", libc::SYS_add_key, [0; 3]),
    ("keyctl", libc::SYS_keyctl, [0; 3]),
    ("clock_settime", libc::SYS_clock_settime, [0; 3]),
    ("settimeofday", libc::SYS_settimeofday, [0; 3]),
    ("setuid", libc::SYS_setuid, [-1, 0, 0]),
    ("setreuid", libc::SYS_setreuid, [-1, -1, 0]),
    ("setgroups", libc::SYS_setgroups, [-1, 0, 0]),
    ("sethostname", libc::SYS_sethostname, [0, -1, 0]),
    ("reboot", libc::SYS_reboot, [0; 3]),
    ("swapoff", libc::SYS_swapoff, [0; 3]),
    ("io_uring_setup", libc::SYS_io_uring_setup, [1, 0, 0]),
    ("userfaultfd", libc::SYS_userfaultfd, [1, 0, 0]),
    ("perf_event_open", libc::SYS_perf_event_open, [0; 3]),
    ("personality", libc::SYS_personality, [-1, 0, 0]),
    ("BPF_PROG_LOAD", libc::SYS_bpf, [5, 0, 0]),
    ("BPF_BTF_LOAD", libc::SYS_bpf, [18, 0, 0]),
];

/// What the control thread alone may.
const CONTROL_ALONE: &[Call] = &[
    (
        "socket (packet)",
        libc::SYS_socket,
        [libc::AF_PACKET as c_long, 3, 0],
    ),
    (
        "socket (XDP)",
        libc::SYS_socket,
        [libc::AF_XDP as c_long, 3, 0],
    ),
    (
        "socket (IPv6)",
        libc::SYS_socket,
        [libc::AF_INET6 as c_long, 1, 0],
    ),
    ("connect", libc::SYS_connect, [-1, 0, 0]),
    ("unlinkat", libc::SYS_unlinkat, [-1, 0, 0]),
    ("prctl", libc::SYS_prctl, [4, 1, 0]),
    ("capset", libc::SYS_capset, [0; 3]),
    ("fork", libc::SYS_clone, [NO_CLONE as c_long, 0, 0]),
    ("BPF_OBJ_PIN", libc::SYS_bpf, [6, 0, 0]),
    ("BPF_LINK_CREATE", libc::SYS_bpf, [28, 0, 0]),
    ("BPF_MAP_CREATE", libc::SYS_bpf, [0, 0, 0]),
    ("fcntl (F_SETLEASE)", libc::SYS_fcntl, [-1, 1024, 0]),
    ("ioctl", libc::SYS_ioctl, [-1, 0, 0]),
    (
        "mmap (executable)",
        libc::SYS_mmap,
        [0, 4096, libc::PROT_EXEC as c_long],
    ),
    (
        "mprotect (executable)",
        libc::SYS_mprotect,
        [0, 4096, libc::PROT_EXEC as c_long],
    ),
];

/// What workers and the log may not either.
const SERVERS_ALONE: &[Call] = &[
    ("openat", libc::SYS_openat, [-1, 0, 0]),
    (
        "socket (netlink)",
        libc::SYS_socket,
        [libc::AF_NETLINK as c_long, 3, 0],
    ),
    ("bind", libc::SYS_bind, [-1, 0, 0]),
    ("accept", libc::SYS_accept, [-1, 0, 0]),
    ("fcntl", libc::SYS_fcntl, [-1, libc::F_GETFD as c_long, 0]),
    (
        "ioctl (SIOCETHTOOL)",
        libc::SYS_ioctl,
        [-1, libc::SIOCETHTOOL as c_long, 0],
    ),
];

#[test]
fn what_no_thread_may_do_is_refused() {
    for kind in KINDS {
        assert_eq!(not_refused(kind, NOBODY), [], "{kind:?}");
    }
}

/// With all that is taken from a thread.
#[test]
fn a_confined_thread_is_refused_the_same() {
    for kind in KINDS {
        let check = move || {
            confine_thread(kind, &Directories::default());
            NOBODY.iter().all(|call| errno_of(*call) == libc::EPERM)
        };
        assert!(thread::spawn(check).join().unwrap(), "{kind:?}");
    }
}

#[test]
fn each_kind_has_its_own_calls() {
    use ThreadKind::{Log, Server, Worker};
    for kind in [Worker, Server, Log] {
        assert_eq!(not_refused(kind, CONTROL_ALONE), [], "{kind:?}");
    }
    for kind in [Worker, Log] {
        assert_eq!(not_refused(kind, SERVERS_ALONE), [], "{kind:?}");
    }
    let log = &[("BPF_MAP_LOOKUP_ELEM", libc::SYS_bpf, [1, 0, 0])];
    assert_eq!(not_refused(Log, log), []);
    // The opposite: with these a thread does its work, so they fail for another reason or not at all.
    assert_ne!(not_refused(Worker, log), []);
    assert_eq!(
        not_refused(Server, SERVERS_ALONE).len(),
        SERVERS_ALONE.len()
    );
    let pid = std::process::id();
    let own = thread::spawn(move || {
        confine_thread(Worker, &Directories::default());
        errno_of((
            "tgkill",
            libc::SYS_tgkill,
            [c_long::from(pid), c_long::from(pid), 0],
        ))
    });
    assert_eq!(
        own.join().unwrap(),
        0,
        "a panic that aborts sends itself a signal"
    );
}

/// Threads that the control thread starts have what it has.
#[test]
fn the_control_thread_starts_threads_that_are_confined_too() {
    let started = thread::spawn(|| {
        filter_system_calls(ThreadKind::Control).unwrap();
        let again = thread::spawn(|| {
            NOBODY
                .iter()
                .map(|call| errno_of(*call))
                .collect::<Vec<_>>()
        });
        again.join().unwrap()
    });
    let errnos = started.join().unwrap();
    assert!(
        errnos.iter().all(|errno| *errno == libc::EPERM),
        "{errnos:?}"
    );
}
