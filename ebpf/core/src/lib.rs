//! The packet logic of synward: wire formats, SYN cookies, and the translation of spliced flows.
//!
//! Pure functions over bytes: no I/O, no clock, no allocation; the caller passes time and keys in. The XDP program
//! (`steer`), the AF_XDP workers, the unit tests and the benchmarks run the same functions.
//!
//! One connection, in the order in which its packets meet these modules:
//!
//! | packet | modules |
//! |---|---|
//! | SYN → SYN-ACK | [`wire`], [`client_options`], [`plain_code_book`], [`cookie`], [`syn_ack`], [`generated_segment`] |
//! | which SYNs get none | [`reply_budget`], [`source_filter`] |
//! | SYN given to a worker | [`worker_request`] |
//! | ACK with a cookie | [`wire`], [`plain_ack_limit`], [`prefix_counts`], [`cookie`], [`replay_cache`], [`handed_over`] |
//! | every later segment | [`occupancy`], [`flow`], [`flow_time`], [`translate`] |
//! | ICMP error about one of them | [`wire::icmp`], [`translate`] |
//!
//! [`layout`], [`queue_set`], [`waiting_client`], [`counters`], [`address_counts`], [`source_sample`], [`transmit_failure`] and
//! [`capture`] describe the maps that the eBPF programs and the appliance share. [`siphash`] and [`multilinear`] are the hash
//! functions; [`kernel_tsval`] is about the kernel's own SYN cookies.
//!
//! Unsafe code is forbidden.
#![no_std]
#![forbid(unsafe_code)]

pub mod address_counts;
pub mod capture;
pub mod client_options;
pub mod cookie;
pub mod counters;
pub mod flow;
pub mod flow_state;
pub mod flow_time;
pub mod generated_segment;
pub mod handed_over;
pub mod kernel_tsval;
pub mod layout;
pub mod multilinear;
pub mod occupancy;
pub mod plain_ack_limit;
pub mod plain_code_book;
pub mod prefix_counts;
pub mod queue_set;
pub mod replay_cache;
pub mod reply_budget;
pub mod siphash;
pub mod source_filter;
pub mod source_sample;
pub mod syn_ack;
pub mod translate;
pub mod transmit_failure;
pub mod waiting_client;
pub mod wire;
pub mod worker_request;
