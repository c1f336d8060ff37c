//! A veth with two queues in its own network namespace, which this thread enters.

use std::fs;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::device::Device;
use crate::xdp_attach;

/// The end that sends frames and receives answers.
pub(super) const THERE: &str = "sw-there";
/// The end of the measured sockets.
pub(super) const HERE: &str = "sw-here";

/// The namespace; dropping it removes it.
pub(super) struct VethPair {
    name: String,
}

impl VethPair {
    /// Creates it, and moves this thread into it.
    ///
    /// # Errors
    /// No privilege, or no iproute2.
    pub(super) fn new() -> Result<Self> {
        let site = Self {
            name: format!("sw-rings-{}", std::process::id()),
        };
        ip(&["netns", "add", &site.name])?;
        let namespace = fs::File::open(format!("/run/netns/{}", site.name))?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .context("the namespace cannot be entered")?;
        // No frames of the kernel's own.
        let _ = fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
        let queues = ["numrxqueues", "2", "numtxqueues", "2"];
        let peer = ["type", "veth", "peer", "name", THERE];
        ip(&[&["link", "add", HERE], &queues[..], &peer, &queues].concat())?;
        for interface in [HERE, THERE] {
            ip(&["link", "set", interface, "up"])?;
        }
        Ok(site)
    }

    /// Attaches `program` to one end, for as long as the veth exists.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(super) fn attach(&self, end: &str, program: BorrowedFd<'_>) -> Result<Device> {
        let device = Device::named(end)?;
        xdp_attach::attach(&device, program)?;
        Ok(device)
    }
}

impl Drop for VethPair {
    fn drop(&mut self) {
        // Only this process uses the namespace; it ends with the process in any case.
        let _ = ip(&["netns", "del", &self.name]);
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    let command = || format!("ip {}", arguments.join(" "));
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .context("running `ip` failed: install iproute2")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{}`: {}", command(), said.trim());
    Ok(())
}
