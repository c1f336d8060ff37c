//! Steering in the real kernel, on veth pairs in network namespaces of their own. Needs root.
#![allow(clippy::unwrap_used, missing_docs)]

mod killed;
mod lab;
mod life;
mod refusals;
mod traffic;
