//! Loads the program for a test: the object as a kernel or a driver would have it, in a network namespace of its own.

use std::sync::atomic::{AtomicUsize, Ordering};

use aya::{Ebpf, EbpfLoader};
use synward::kernel::{self, KernelTypes};

use super::Steer;

pub(super) static OBJECT: &[u8] =
    aya::include_bytes_aligned!("../../../../ebpf/xdp/objects/steer.o");

/// A helper function of the kernel, by its number (`__BPF_FUNC_MAPPER` of include/uapi/linux/bpf.h).
#[derive(Clone, Copy)]
pub(crate) enum Helper {
    AdjustHead = 44,
    AdjustMeta = 54,
}

/// The object, its maps made, its programs not verified yet.
pub(crate) fn object() -> Ebpf {
    object_without(&[], false)
}

/// The same for frames in several buffers or in one, and for a driver that does not have these helpers: each call of them is
/// replaced by EOPNOTSUPP as its result.
fn object_without(helpers: &[Helper], frags: bool) -> Ebpf {
    let types = KernelTypes::of_kernel().expect("the kernel's types");
    let fields = kernel::socket_fields(&types).expect("the fields of sockets");
    let mut loader = EbpfLoader::new();
    for (name, offset) in &fields {
        loader.override_global(name, offset, true);
    }
    let is_mptcp = types.offset("tcp_sock", "is_mptcp").unwrap_or(0);
    loader.override_global("TCP_IS_MPTCP", &is_mptcp, true);
    let has_frags = u32::from(frags);
    loader.override_global("HAS_FRAGS", &has_frags, true);
    let mut bytes = kernel::choose_frags(OBJECT, frags).into_owned();
    for helper in helpers {
        let call = instruction(0x85, *helper as i32);
        let result = instruction(0xb7, -libc::EOPNOTSUPP);
        let calls = bytes.chunks_exact_mut(8).filter(|code| **code == call);
        assert!(calls.map(|code| code.copy_from_slice(&result)).count() > 0);
    }
    loader.load(&bytes).expect("maps")
}

/// `struct bpf_insn` with register 0 and without an offset.
fn instruction(code: u8, immediate: i32) -> [u8; 8] {
    let [a, b, c, d] = immediate.to_ne_bytes();
    [code, 0, 0, 0, a, b, c, d]
}

/// Runs a test on a thread of its own in a new network namespace, which ends with it.
pub(crate) fn in_namespace(test: impl FnOnce(&mut Steer) + Send) {
    in_namespace_without(&[], test);
}

/// The same with a driver that does not have these helpers.
pub(crate) fn in_namespace_without(helpers: &[Helper], test: impl FnOnce(&mut Steer) + Send) {
    in_namespace_of(helpers, false, test);
}

/// The same with a program for frames in several buffers.
pub(crate) fn in_namespace_with_frags(test: impl FnOnce(&mut Steer) + Send) {
    in_namespace_of(&[], true, test);
}

fn in_namespace_of(helpers: &[Helper], frags: bool, test: impl FnOnce(&mut Steer) + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: unshare takes a number; it changes only this thread, which ends with the test.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0);
            stay_on_one_cpu();
            test(&mut Steer::new(object_without(helpers, frags)));
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Pins this thread, each to the next CPU: the program remembers much per CPU, and a flow's frames arrive on one queue.
fn stay_on_one_cpu() {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let cores = core_affinity::get_core_ids().expect("the CPUs of this thread");
    let core = cores[NEXT.fetch_add(1, Ordering::Relaxed) % cores.len()];
    assert!(core_affinity::set_for_current(core));
}
