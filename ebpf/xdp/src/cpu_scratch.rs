//! What a program works with on one CPU: an element of the map `SCRATCH`.
//!
//! It lives in a per-CPU map rather than on the stack: that saves half of the stack, and the verifier, which forgets what
//! was stored there, follows one state instead of one for every combination of tags and extension headers.

use crate::cookie_headers::Headers;
use crate::cpu_memory::CpuMemory;
use crate::packet::Packet;
use aya_ebpf::bindings::bpf_fib_lookup as FibQuery;
use synward_core::client_options::ClientOptions;
use synward_core::cookie::AckFields;
use synward_core::flow::FlowKey;
use synward_core::generated_segment::Segment;
use synward_core::layout::Profile;
use synward_core::plain_ack_limit::Place;
use synward_core::syn_ack::Negotiated;
use synward_core::waiting_client::WaitingClient;
use synward_core::worker_request::META_WORDS;

/// One look-up gives all of them.
#[repr(C)]
pub struct CpuScratch {
    /// The frame.
    pub packet: Packet,
    /// What the stages found out about it.
    pub found: Findings,
    /// What the kernel's routing table is asked, and what it answers ([`route`](crate::route)).
    pub fib_query: FibQuery,
    /// What the kernel's helpers for cookies read ([`kernel_cookie_listener`](crate::kernel_cookie_listener)).
    pub cookie_headers: Headers,
    /// What this CPU remembers from one frame to the next.
    pub memory: CpuMemory,
}

/// What the stages found out about the current frame. Each field counts only after the stage that sets it.
#[repr(C)]
pub struct Findings {
    /// The slot of the interface that the frame arrived on.
    pub slot: u32,
    /// Whether the frame's flow may be a passed connection.
    pub may_pass: bool,
    /// Whether the options of the SYN are read (`Packet::walked`).
    pub options_read: bool,
    /// Whether it has an entry of the flow table to which the segment does not belong: a new connection on its ports.
    pub has_old_entry: bool,
    /// Whether the kernel made the cookie: then `kernel_isn` is the ISN of the answer, and `kernel_tsval` its TSval in
    /// network order, or zero if the answer has no timestamps and no option but the MSS.
    pub kernel_cookie: bool,
    /// Whether the ACK whose cookie is checked has the numbers of a closing flow.
    pub is_in_window: bool,
    pub kernel_isn: u32,
    /// What the service's lists say about the source, see `layout::listed`.
    pub listed: u32,
    pub kernel_tsval: u32,
    /// For a SYN: whether this jiffy has had more SYNs than are looked up.
    pub is_flood: bool,
    /// For a SYN: the epoch of the cookie that answers it, and whether that is not the current one.
    pub answer_epoch: u64,
    pub is_other_epoch: bool,
    /// The frame's flow, whichever side sent the frame.
    pub key: FlowKey,
    /// The fields of an ACK that may hold a cookie.
    pub ack: AckFields,
    /// Where an ACK without timestamps is counted if it is wrong.
    pub plain_ack: PlainAck,
    /// What a valid cookie says about the client, and what our SYN-ACK offered to it.
    pub validated_options: ClientOptions,
    pub offered: Profile,
    /// The TSval of an ACK that may hold a cookie; 0: it has no timestamps.
    pub client_tsval: u32,
    /// The window of an ACK with a valid cookie, unscaled.
    pub client_window: u16,
    /// What is kept of the ACK of a client that waits for a process.
    pub waiting: WaitingClient,
    /// What a worker is requested to do, encoded.
    pub request: [u32; META_WORDS],
    /// What the SYN-ACK to a SYN offers.
    pub negotiated: Negotiated,
    /// What is sent back.
    pub reply: Segment,
}

/// What was found out about an ACK without timestamps before its check ([`plain_acks`](crate::plain_acks)).
#[repr(C)]
pub struct PlainAck {
    /// Whether it is counted if it is wrong.
    pub is_counted: bool,
    /// Whether the limit has let this segment be checked already: for one of the kernel's own cookies, which it has not.
    pub is_admitted: bool,
    /// Its cells in the table of counts.
    pub place: Place,
    /// Says whether it is checked, and how it is counted.
    pub random: u32,
}
