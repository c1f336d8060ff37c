//! Shared library.
#![no_std]
#![forbid(unsafe_code)]
