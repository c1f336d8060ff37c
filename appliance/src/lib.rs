//! synward: a SYN-handling appliance for Linux servers with XDP.
//!
//! This library holds the rooms of the program, so that tests and benchmarks can enter each one alone.
#![deny(unsafe_code)]

pub mod afxdp;
pub mod cli;
pub mod config;
pub mod engine;
pub mod kernel;
pub mod local_checks;
pub mod maps;
pub mod observe;
pub mod problem;
pub mod run;
pub mod secret;
pub mod siphash_simd;
pub mod steering;
pub mod worker;
