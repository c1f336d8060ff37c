//! XDP responders on the server other than synward's.

use anyhow::Result;

use super::offers::window_scale;
use crate::compare::defence::{Defence, Started};
use crate::compare::kernel_counters::cookie_opens;
use crate::compare::netns_lab::{Lab, PATIENCE, Role};

/// The responder, as `bench baseline` names it.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Baseline {
    /// The kernel's cookies, with or without a socket look-up.
    KernelCookie { asks: bool },
    /// The minimal responder.
    Bare,
}

impl Baseline {
    fn program(self) -> &'static str {
        match self {
            Self::KernelCookie { asks: true } => "kernel-cookie",
            Self::KernelCookie { asks: false } => "kernel-cookie-blind",
            Self::Bare => "bare",
        }
    }
}

impl<'a> Defence<'a> for Baseline {
    fn start(&mut self, lab: &Lab<'a>) -> Result<Started> {
        // As xdp_synproxy requires: the kernel accepts every valid cookie, and adds no offset to its timestamps.
        lab.sysctl(Role::Server, "net.ipv4.tcp_syncookies=2")?;
        lab.sysctl(Role::Server, "net.ipv4.tcp_timestamps=2")?;
        // Frames that XDP transmits reach a veth only if that has a program.
        lab.pass_through_edge()?;
        let services: Vec<_> = lab
            .ports()
            .iter()
            .flat_map(|port| {
                [
                    format!("192.0.2.10:{port}"),
                    format!("[2001:db8:5::10]:{port}"),
                ]
            })
            .collect();
        let (services, scale) = (services.join(","), window_scale(lab)?.to_string());
        let arguments = [
            "baseline",
            self.program(),
            "--interface",
            "server0",
            "--service",
            &services,
            "--window-scale",
            &scale,
        ];
        lab.run(Role::Server, lab.bench(), arguments, PATIENCE)?;
        Ok(Started::Running)
    }

    fn carried(&self, lab: &Lab<'a>) -> Result<Option<u64>> {
        cookie_opens(lab).map(Some)
    }
}
