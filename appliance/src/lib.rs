//! synward: a SYN-handling appliance for Linux servers with XDP.
//!
//! The library holds every part of the program, so that tests and benchmarks can use each of them alone. ARCHITECTURE.md
//! follows packets through the files.
//!
//! | module | what it does | unsafe code |
//! |---|---|---|
//! | [`cli`] | parses the command line | no |
//! | [`activation`] | decides whether a service is under attack | no |
//! | [`capture`] | writes frames and what the XDP program decided about them to a file | no |
//! | [`config`], [`secret`] | read the configuration and the secret; report every problem with its line | no |
//! | [`confinement`] | takes capabilities, system calls and files from each thread after the start | no |
//! | [`events`] | the last events, their log lines, the programs of `on_event` | no |
//! | [`doctor`] | problems of this machine, and the commands that fix them | no |
//! | [`tune`] | runs the commands of `doctor`, and undoes them | no |
//! | [`regular_file`] | reads the files that people name, and refuses what is no regular file | no |
//! | [`problem`] | a problem of a file: line, what is wrong, what would be right | no |
//! | [`run`] | starts everything, in order; the control thread does what is slow | no |
//! | [`steering`] | loads the eBPF programs, fills their maps, attaches and detaches them | no |
//! | [`self_test`] | tries at start whether drivers transmit, and counts what they do not | no |
//! | [`local_checks`] | whether this machine can serve services with `handoff = "local"` | no |
//! | [`kernel`] | what only the running kernel can say: interfaces, routes, listeners, types | system calls |
//! | [`lists`] | allow and deny lists: what they hold, and the entries that were added at run time | no |
//! | [`maps`] | memory that workers, the control thread and the XDP program share: flow table, heartbeats, clock | mapped memory |
//! | [`worker`] | one pinned thread per receive queue number | no |
//! | [`engine`] | what a worker does with a frame: pure decisions, no socket, no clock | no |
//! | [`siphash_simd`] | SipHash of many messages at once: AVX-512, AVX2, scalar | CPU features |
//! | [`afxdp`] | AF_XDP sockets: frames in, frames out | rings, UMEM |
//! | [`observe`] | metrics, status, log, and the control socket | no |
//! | [`top`] | the live picture of a running process in a terminal | no |
//!
//! `run` uses all of them. `worker` uses `engine`, `afxdp` and `maps`; `engine` uses `maps`, `siphash_simd` and the waker of
//! `afxdp`; `steering`, `self_test` and `local_checks` use `kernel` and `maps`. What the program shares with the eBPF programs is
//! the crate `synward_core`.
#![deny(unsafe_code)]

pub mod activation;
pub mod afxdp;
pub mod capture;
pub mod cli;
pub mod config;
pub mod confinement;
pub mod doctor;
pub mod duration_text;
pub mod engine;
pub mod events;
pub mod kernel;
pub mod lists;
pub mod local_checks;
pub mod maps;
pub mod observe;
pub mod problem;
pub mod regular_file;
pub mod run;
pub mod secret;
pub mod self_test;
pub mod siphash_simd;
pub mod steering;
pub mod top;
pub mod tune;
pub mod worker;
