//! The programs that steer the traffic of protected services: at XDP, and behind it at TC for the kernel's own sockets.
//!
//! | file | stage |
//! |---|---|
//! | [`fast_path`], [`prepared`] | the SYN that nearly all are, answered at one go by what is ready for its tick |
//! | [`steered_interface`] | where it arrived, and what is there |
//! | [`packet`] | Ethernet to TCP: where the headers are and what they say |
//! | [`service_lookup`] | whose packet is it? |
//! | [`flow_lookup`] | the flow that it belongs to |
//! | [`splice`] | a segment of a spliced flow: translate, forward |
//! | [`syn`] | a SYN: answer it here or hand it to a worker |
//! | [`ack`] | an ACK without a flow: is its cookie ours? |
//! | [`local_service`], [`kernel_socket`] | what this machine's kernel has to do with it |
//! | [`assign`] | at TC: a proven client's ACK becomes the kernel's connection |
//! | [`cookie_headers`] | what the kernel's own cookies are made of |
//! | [`kernel_cookie_listener`] | a listener that takes only the kernel's own cookie |
//! | [`test_inject`] | at start: a frame to try the firewall with |
//! | [`replay_check`] | which handshakes have had their connection |
//! | [`requeue`] | at TC: a segment that comes too early |
//! | [`stale_connection`] | at TC: a connection that is in the way of a proven client's new one |
//! | [`forward`] | to the next hop |
//! | [`unknown`] | what belongs to nothing, and what was there before us |
//! | [`icmp_error`] | errors that quote a translated segment |
//! | [`route`], [`reply`], [`worker`] | the ways out: next hop, back to the sender, to user space |
//! | [`time`] | the coarse clock |
#![no_std]
#![cfg(target_arch = "bpf")]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "read by the programs of this workspace alone"
)]

pub mod ack;
pub mod assign;
pub mod cookie_headers;
pub mod fast_path;
pub mod flow_lookup;
pub mod forward;
pub mod icmp_error;
pub mod kernel_cookie_listener;
pub mod kernel_socket;
pub mod local_service;
pub mod maps;
pub mod packet;
pub mod prepared;
pub mod replay_check;
pub mod reply;
pub mod requeue;
pub mod route;
pub mod service_lookup;
pub mod splice;
pub mod stale_connection;
pub mod steered_interface;
pub mod syn;
pub mod test_inject;
pub mod time;
pub mod unknown;
pub mod worker;

use packet::Packet;
use synward_core::layout::{Interface, Service};

/// What a stage decides.
pub type Verdict = u32;

/// Everything that the stages after the look-up share about one packet.
pub struct PacketContext<'a> {
    pub packet: &'a mut Packet,
    pub interface: &'a Interface,
    pub service: &'a Service,
    /// Coarse clock, ns.
    pub now: u64,
}
