//! Frames with more tags than [`Packet`] parses. They are none of a client's, but the kernel strips any number of tags
//! (`__netif_receive_skb_core`: without a VLAN device those with VID 0, and each tag that has one), so what they hold must not
//! pass unchecked.
//!
//! A stage of its own, behind a call that returns a verdict: the verifier then does not follow the general path once more.

use crate::frame_view::view;
use crate::packet::{Kind, Packet};
use crate::service_lookup;
use crate::verdict::{NO_SERVICE, Verdict};
use aya_ebpf::programs::XdpContext;
use synward_core::wire::ethernet;
use synward_core::wire::ipv4::{self, Ipv4};
use synward_core::wire::ipv6::{self, Ipv6};
use synward_core::wire::protocol;

/// Decides about a frame from outside whose tags continue at `packet.l3`: dropped if it may hold TCP for a protected address,
/// or if its tags do not end.
#[inline(never)]
pub fn decide_behind_tags(ctx: &XdpContext, packet: &mut Packet) -> Verdict {
    let mut ethertype = 0;
    for _ in ethernet::MAX_TAGS..ethernet::MAX_SKIPPED_TAGS {
        let Some(tag) = view::<{ ethernet::TAG_LENGTH }>(ctx, packet.l3) else {
            return NO_SERVICE;
        };
        ethertype = u16::from_be_bytes([tag[2], tag[3]]);
        packet.l3 += ethernet::TAG_LENGTH;
        if !ethernet::is_tag(ethertype) {
            break;
        }
    }
    let may_be_tcp = match ethertype {
        ethernet::IPV4 => {
            let Some(ip) = view::<{ ipv4::LENGTH }>(ctx, packet.l3) else {
                return NO_SERVICE;
            };
            let ip = Ipv4(&*ip);
            packet.destination = ip.destination();
            ip.protocol() == protocol::TCP
        }
        ethernet::IPV6 => {
            let Some(ip) = view::<{ ipv6::LENGTH }>(ctx, packet.l3) else {
                return NO_SERVICE;
            };
            let ip = Ipv6(&*ip);
            packet.destination = ip.destination();
            let next = ip.next_header();
            next == protocol::TCP || next == ipv6::FRAGMENT || ipv6::is_extension(next)
        }
        tag if ethernet::is_tag(tag) => return service_lookup::drop_only_tags(),
        _ => false,
    };
    if may_be_tcp {
        service_lookup::decide_unreadable(&packet.destination, Kind::MoreTags)
    } else {
        NO_SERVICE
    }
}
