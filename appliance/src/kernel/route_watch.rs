//! Watches the routing tables for changes of MTUs (rtnetlink multicast).
#![forbid(unsafe_code)]

use std::io;

use super::multicast::Multicast;
use super::routes;

// include/uapi/linux/rtnetlink.h
const RTMGRP_IPV4_ROUTE: u32 = 0x40;
const RTMGRP_IPV6_ROUTE: u32 = 0x400;

/// Hears of every change of a route in this network namespace.
#[derive(Debug)]
pub struct RouteWatch(Multicast);

impl RouteWatch {
    /// Begins to watch.
    ///
    /// # Errors
    /// The kernel has no socket for it.
    pub fn open() -> io::Result<Self> {
        Multicast::open(RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE).map(Self)
    }

    /// Whether a route has changed since the last look, or may have. `any`: any unicast route counts; else those with an MTU.
    pub fn has_changed(&mut self, any: bool) -> bool {
        let mut changed = false;
        let all = self
            .0
            .look(|_, body| changed |= routes::may_change_mtu(body, any));
        changed || !all
    }
}
