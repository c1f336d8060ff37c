//! Redirects every TCP segment over IPv4 to the AF_XDP socket of its queue, whatever its destination. User space answers it:
//! `bench echo`.

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::btf_maps::XskMap;
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;
use synward_core::wire::ethernet::{self, Ethernet};
use synward_core::wire::ipv4::{self, Ipv4};
use synward_core::wire::protocol;
use synward_xdp::frame_view::view;
use synward_xdp::verdict::Verdict;

/// Receive queue → socket.
#[btf_map]
static ECHO_SOCKETS: XskMap<64> = XskMap::new();

/// Redirects TCP over IPv4; passes the rest, and everything if there is no socket.
#[xdp]
pub fn echo(ctx: XdpContext) -> Verdict {
    redirect(&ctx).unwrap_or(XDP_PASS)
}

#[inline(always)]
fn redirect(ctx: &XdpContext) -> Option<Verdict> {
    let is_ip = Ethernet(view::<{ ethernet::LENGTH }>(ctx, 0)?).ethertype() == ethernet::IPV4;
    let ip = Ipv4(view::<{ ipv4::LENGTH }>(ctx, ethernet::LENGTH)?);
    if !is_ip || ip.protocol() != protocol::TCP {
        return None;
    }
    ECHO_SOCKETS
        .redirect(ctx.rx_queue_index(), XDP_PASS as u64)
        .ok()
}
