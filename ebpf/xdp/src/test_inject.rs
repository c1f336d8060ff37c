//! Makes a frame of the appliance's own arrive: at start the appliance tests what this machine's firewall does with the
//! segments of validated clients (appliance/src/local_checks/firewall_probe.rs). Attached nowhere; run by BPF_PROG_TEST_RUN.

use aya_ebpf::bindings::BPF_F_INGRESS;
use aya_ebpf::programs::TcContext;

/// Passes the frame to the interface that the context names, as if received there. 1 if the kernel took it.
#[inline(always)]
pub fn test_inject(ctx: &TcContext) -> i32 {
    // SAFETY: the context is the kernel's own, and this field of it is readable.
    let interface = unsafe { (*ctx.skb.skb).ifindex };
    ctx.clone_redirect(interface, BPF_F_INGRESS as u64).is_ok() as i32
}
