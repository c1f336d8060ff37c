//! The programs that steer the traffic of protected services: at XDP, and behind it at TC for the kernel's own sockets.
//!
//! | file | stage |
//! |---|---|
//! | [`plain`], [`ready`] | the SYN that nearly all are, answered at one go by what is ready for its tick |
//! | [`interface`] | where it arrived, and what is there |
//! | [`packet`] | Ethernet to TCP: where the headers are and what they say |
//! | [`service`] | whose packet is it? |
//! | [`table`] | the flow that it belongs to |
//! | [`splice`] | a segment of a spliced flow: translate, forward |
//! | [`syn`] | a SYN: answer it here or hand it to a worker |
//! | [`ack`] | an ACK without a flow: is its cookie ours? |
//! | [`local`], [`socket`] | what this machine's kernel has to do with it |
//! | [`assign`] | at TC: a proven client's ACK becomes the kernel's connection |
//! | [`headers`] | what the kernel's own cookies are made of |
//! | [`kernel_cookie`] | a listener that takes only the kernel's own cookie |
//! | [`inject`] | at start: a frame to try the firewall with |
//! | [`replay`] | which handshakes have had their connection |
//! | [`again`] | at TC: a segment that comes too early |
//! | [`stale`] | at TC: a connection that is in the way of a proven client's new one |
//! | [`onward`] | to the next hop |
//! | [`stray`] | what belongs to nothing, and what was there before us |
//! | [`icmp`] | errors that quote a translated segment |
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
pub mod again;
pub mod assign;
pub mod headers;
pub mod icmp;
pub mod inject;
pub mod interface;
pub mod kernel_cookie;
pub mod local;
pub mod maps;
pub mod onward;
pub mod packet;
pub mod plain;
pub mod ready;
pub mod replay;
pub mod reply;
pub mod route;
pub mod service;
pub mod socket;
pub mod splice;
pub mod stale;
pub mod stray;
pub mod syn;
pub mod table;
pub mod time;
pub mod worker;

use packet::Packet;
use synward_core::layout::{Interface, Service};

/// What a stage decides.
pub type Verdict = u32;

/// Everything that the stages after the look-up share about one packet.
pub struct Case<'a> {
    pub packet: &'a mut Packet,
    pub interface: &'a Interface,
    pub service: &'a Service,
    /// Coarse clock, ns.
    pub now: u64,
}
