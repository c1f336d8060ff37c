//! Tests steering with the real kernel, on veth pairs in network namespaces of their own. Needs root.
#![allow(clippy::unwrap_used, missing_docs)]

mod accidents;
mod attacked_address;
mod client_traffic;
mod foreign_program;
mod lifecycle;
mod neighbours;
mod occupied;
mod steering_lab;
mod steering_refusals;
mod takeover;
