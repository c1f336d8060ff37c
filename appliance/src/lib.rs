//! synward: a SYN-handling appliance for Linux servers with XDP.
//!
//! This library holds the rooms of the program, so that tests and benchmarks can enter each one alone.

pub mod afxdp;
pub mod cli;
pub mod config;
pub mod engine;
pub mod observe;
pub mod run;
pub mod secret;
pub mod siphash_simd;
pub mod steering;
pub mod worker;
