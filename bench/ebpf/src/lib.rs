//! What the eBPF programs of the benchmarks share with `bench`, which loads them.
#![no_std]
#![forbid(unsafe_code)]

pub mod flow_draw;
