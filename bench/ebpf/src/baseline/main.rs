//! What synward is compared with at XDP: programs that answer SYNs with the kernel's own cookies, and the least program
//! that answers a SYN. Loaded by `bench baseline`; no part of the appliance.
//!
//! | file | idea |
//! |---|---|
//! | [`guard`] | the kernel's cookies made and checked at XDP; the kernel completes the connection |
//! | [`raw_cookie`] | the helpers that do that, and what else the kernel reads from a cookie |
//! | [`connection_lookup`] | whether the kernel has a connection already |
//! | [`reminder`] | passes a SYN to the kernel now and then, or it would not take the cookies |
//! | [`bare`] | one SipHash, fixed options, no look-up |
//! | [`afxdp_echo`] | redirects to an AF_XDP socket without parsing TCP |
//!
//! Parsing, service look-up and writing the answer are the code of the steering program, so that only the cookie differs.
#![no_std]
#![no_main]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "a program has no public interface"
)]

mod afxdp_echo;
mod bare;
mod connection_lookup;
mod guard;
mod raw_cookie;
mod reminder;

synward_xdp::export_options_walk!();

/// Needed to link; nothing in these programs panics.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// The helpers that make the kernel's cookies are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
