//! System calls that a thread can use (seccomp(2), Documentation/userspace-api/seccomp_filter.rst).
//!
//! Other calls fail with EPERM. They do not kill the process: a flow is worth more than the alarm, and a call that fails
//! gives an attacker as little.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen::Dword, SeccompCmpOp,
    SeccompCondition, SeccompFilter, SeccompRule, sock_filter,
};

use super::ThreadKind;

/// By number of the call: any arguments if empty, otherwise those of one of the rules.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Memory, time, locks and the end of every thread. Memory is not made executable: see [`not_executable`].
const EVERY: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_write,
    libc::SYS_writev,
];

/// Frames, segments through raw sockets, and messages of other workers, on what is open.
const WORKER: &[i64] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_getsockopt,
    libc::SYS_read,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
];

/// Clients, and what a snapshot asks the kernel: statistics of sockets and interfaces, files of /proc and /sys.
const SERVER: &[i64] = &[
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_fstat,
    libc::SYS_getdents64,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_lseek,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_readlinkat,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_statx,
];

/// Commands of fcntl(2) that servers use: flags of a file and of its descriptor, and a copy of the descriptor. Those that choose
/// who gets signals are not among them.
const SERVER_FCNTL: &[i32] = &[
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_SETFL,
    libc::F_DUPFD_CLOEXEC,
];

/// Requests of ioctl(2) that servers use: the standard library's for sockets and descriptors, that to drivers, and the name of an
/// interface.
const SERVER_IOCTL: &[u64] = &[
    libc::FIONBIO,
    libc::FIOCLEX,
    libc::SIOCETHTOOL,
    libc::SIOCGIFNAME,
];

/// Commands of fcntl(2) that have the kernel send any process any signal when there is something to read (F_SETOWN(2const)).
const SIGNAL_FCNTL: &[i32] = &[libc::F_SETOWN, F_SETOWN_EX, F_SETSIG];
// asm-generic/fcntl.h
const F_SETSIG: i32 = 10;
const F_SETOWN_EX: i32 = 15;

/// Requests of ioctl(2) that do the same (socket(7)), and those of a terminal that type for its user or signal its processes
/// (TIOCSTI(2const), ioctl_tty(2)).
const SIGNAL_IOCTL: &[u64] = &[FIOSETOWN, SIOCSPGRP, libc::TIOCSTI, libc::TIOCSIG];
// asm-generic/sockios.h
const FIOSETOWN: u64 = 0x8901;
const SIOCSPGRP: u64 = 0x8902;

/// What nothing in the control thread calls, but an attacker who took it over would: programs, other processes, modules, mounts,
/// namespaces, keys, the clock, identities.
const NEVER: &[i64] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    libc::SYS_kcmp,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_kill,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_personality,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_pivot_root,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_setdomainname,
    libc::SYS_setfsgid,
    libc::SYS_setfsuid,
    libc::SYS_setgid,
    libc::SYS_setgroups,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_setregid,
    libc::SYS_setresgid,
    libc::SYS_setresuid,
    libc::SYS_setreuid,
    libc::SYS_settimeofday,
    libc::SYS_setuid,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_tkill,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];

/// Flags of clone(2) that make a namespace. That of users needs no capability, and has all in it.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWUTS,
];

/// Commands of bpf(2) (linux/bpf.h) that read and change elements of maps: BPF_MAP_LOOKUP_ELEM to BPF_MAP_GET_NEXT_KEY,
/// BPF_OBJ_GET_INFO_BY_FD, BPF_MAP_LOOKUP_AND_DELETE_ELEM, and the batched ones.
const MAP_ELEMENTS: &[u64] = &[1, 2, 3, 4, 15, 21, 24, 25, 26, 27];
/// BPF_PROG_LOAD and BPF_BTF_LOAD: all programs are loaded at the start.
const LOAD: &[u64] = &[5, 18];

/// The filter of a kind of thread.
pub(super) fn filter(kind: ThreadKind) -> Result<BpfProgram, BackendError> {
    use SeccompAction::{Allow, Errno};
    let refuse = Errno(libc::EPERM.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into()?;
    if kind == ThreadKind::Control {
        let mut rules = any_arguments(&[NEVER]);
        rules.insert(libc::SYS_bpf, equal(0, LOAD)?);
        rules.insert(libc::SYS_clone, with_namespace()?);
        rules.insert(libc::SYS_tgkill, own_process(SeccompCmpOp::Ne)?);
        rules.insert(libc::SYS_fcntl, equal(1, &commands(SIGNAL_FCNTL))?);
        rules.insert(libc::SYS_ioctl, equal(1, SIGNAL_IOCTL)?);
        rules.insert(libc::SYS_prlimit64, other_process()?);
        return SeccompFilter::new(rules, Allow, refuse, arch)?.try_into();
    }
    let mut rules = match kind {
        ThreadKind::Worker => any_arguments(&[EVERY, WORKER]),
        ThreadKind::Server => any_arguments(&[EVERY, WORKER, SERVER]),
        ThreadKind::Log | ThreadKind::Control => any_arguments(&[EVERY]),
    };
    rules.insert(libc::SYS_tgkill, own_process(SeccompCmpOp::Eq)?);
    rules.insert(libc::SYS_mmap, not_executable()?);
    rules.insert(libc::SYS_mprotect, not_executable()?);
    if kind != ThreadKind::Log {
        rules.insert(libc::SYS_bpf, equal(0, MAP_ELEMENTS)?);
    }
    if kind == ThreadKind::Server {
        let families =
            [libc::AF_NETLINK, libc::AF_INET].map(|family| u64::from(family.unsigned_abs()));
        rules.insert(libc::SYS_socket, equal(0, &families)?);
        rules.insert(libc::SYS_fcntl, equal(1, &commands(SERVER_FCNTL))?);
        rules.insert(libc::SYS_ioctl, equal(1, SERVER_IOCTL)?);
    }
    SeccompFilter::new(rules, refuse, Allow, arch)?.try_into()
}

/// The filter of every thread, which looks at numbers of calls alone: it refuses those of the x32 ABI, which other filters take
/// for calls that they do not know, and says of clone3(2) that the kernel lacks it. The C library calls clone(2) then, whose flags
/// a filter can read.
pub(super) fn general_filter() -> BpfProgram {
    // linux/bpf_common.h, linux/seccomp.h, asm/unistd.h
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const JUMP_IF_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const ALLOW: u32 = 0x7fff_0000;
    const ERRNO: u32 = 0x0005_0000;
    const X32: u32 = 0x4000_0000;
    let step = |code, k, jt| sock_filter { code, jt, jf: 0, k };
    vec![
        // The number is the first word of struct seccomp_data.
        step(LOAD_WORD, 0, 0),
        step(JUMP_IF_AT_LEAST, X32, 2),
        step(JUMP_IF_EQUAL, libc::SYS_clone3 as u32, 2),
        step(RETURN, ALLOW, 0),
        step(RETURN, ERRNO | libc::EPERM.unsigned_abs(), 0),
        step(RETURN, ERRNO | libc::ENOSYS.unsigned_abs(), 0),
    ]
}

/// clone(2) with any flag of [`NAMESPACES`]: its first argument on the architectures that synward runs on.
fn with_namespace() -> Result<Vec<SeccompRule>, BackendError> {
    let flags = NAMESPACES.into_iter().map(|flag| u64::from(flag as u32));
    flags
        .map(|flag| {
            let condition = SeccompCondition::new(0, Dword, SeccompCmpOp::MaskedEq(flag), flag)?;
            SeccompRule::new(vec![condition])
        })
        .collect()
}

/// A first argument that is this process, or is not.
fn own_process(comparison: SeccompCmpOp) -> Result<Vec<SeccompRule>, BackendError> {
    let own = u64::from(std::process::id());
    let condition = SeccompCondition::new(0, Dword, comparison, own)?;
    Ok(vec![SeccompRule::new(vec![condition])?])
}

/// prlimit(2) of a process that is named by its number: a limit of CPU time of another one ends in a signal to it.
fn other_process() -> Result<Vec<SeccompRule>, BackendError> {
    let condition = SeccompCondition::new(0, Dword, SeccompCmpOp::Ne, 0)?;
    Ok(vec![SeccompRule::new(vec![condition])?])
}

fn commands(list: &[i32]) -> Vec<u64> {
    let numbers = list.iter().map(|command| command.unsigned_abs());
    numbers.map(u64::from).collect()
}

fn any_arguments(lists: &[&[i64]]) -> Rules {
    let calls = lists.iter().flat_map(|list| list.iter());
    calls.map(|call| (*call, Vec::new())).collect()
}

/// One rule for each value that this argument may have.
fn equal(argument: u8, values: &[u64]) -> Result<Vec<SeccompRule>, BackendError> {
    let values = values.iter();
    values
        .map(|value| {
            SeccompRule::new(vec![SeccompCondition::new(
                argument,
                Dword,
                SeccompCmpOp::Eq,
                *value,
            )?])
        })
        .collect()
}

/// mmap(2) and mprotect(2) without PROT_EXEC, in their third argument.
fn not_executable() -> Result<Vec<SeccompRule>, BackendError> {
    let executable = u64::from(libc::PROT_EXEC.unsigned_abs());
    let condition = SeccompCondition::new(2, Dword, SeccompCmpOp::MaskedEq(executable), 0)?;
    Ok(vec![SeccompRule::new(vec![condition])?])
}
