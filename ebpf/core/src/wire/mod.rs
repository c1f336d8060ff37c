//! Wire formats: views over fixed-size header arrays whose accessors cannot fail.
//!
//! A header is viewed through an array of its exact fixed size; whoever makes the array checks the length once. That suits
//! the BPF verifier, which proves a packet range once.

pub mod address;
pub mod checksum;
pub mod ethernet;
pub(crate) mod header_bytes;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod protocol;
pub mod tcp;
pub mod tcp_options;

pub use address::Address;
pub(crate) use header_bytes::{be16, be32, put, raw16, raw32};
