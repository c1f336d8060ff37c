//! The heart of synward: wire formats, SYN cookies, and the translation of spliced flows.
//!
//! Pure functions over bytes: no I/O, no clock, no allocation, no unsafe code but for how BPF reads headers. The same
//! functions run in the XDP program (`steer`), in the AF_XDP workers, in the unit tests and
//! in the benchmarks; time and keys are passed in.
//!
//! One connection, in the order in which its packets meet these modules:
//!
//! | packet | modules |
//! |---|---|
//! | SYN → SYN-ACK | [`wire`], [`client_options`], [`cookie`], [`syn_ack`] |
//! | ACK with a cookie | [`wire`], [`cookie`] |
//! | every later segment | [`flow`], [`translate`] |
//! | ICMP error about one | [`wire::icmp`], [`translate`] |
//!
//! [`layout`] describes the maps that the XDP program and the appliance share.
#![no_std]
#![cfg_attr(not(target_arch = "bpf"), forbid(unsafe_code))]
#![cfg_attr(target_arch = "bpf", deny(unsafe_code))]

pub mod client_options;
pub mod cookie;
pub mod counters;
pub mod flow;
pub mod flow_time;
pub mod generated_segment;
pub mod kernel_tsval;
pub mod layout;
pub mod multilinear;
pub mod occupancy;
pub mod replay_cache;
pub mod siphash;
pub mod syn_ack;
pub mod translate;
pub mod wire;
pub mod worker_request;
