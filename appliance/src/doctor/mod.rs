//! `synward doctor`: problems of this machine, why they matter, and the commands that fix them. Changes nothing.
//!
//! [`examine`] gathers [`facts`], which are plain data, and makes [`Finding`]s of them. docs/doctor.md lists the ids.
//!
//! | file | idea |
//! |---|---|
//! | `gather`, `gather_interface`, `file_facts` | read the facts: netlink, /proc, /sys |
//! | `facts` | the facts |
//! | `finding`, `report` | a finding; all of them as text or JSON |
//! | `setting` | a setting that `tune` changes, and its command |
//! | `nic` | device, link, driver, XDP, MTU, another program on the interface |
//! | `offloads` | VLAN tags, LRO, GRO in hardware |
//! | `queues` | channels, RSS, ring, interrupts, NUMA |
//! | `machine` | kernel, BPF file system, limits, clock |
//! | `local` | local services: kernel, listeners, firewall |
#![forbid(unsafe_code)]

pub mod facts;
mod file_facts;
mod finding;
mod gather;
mod gather_interface;
mod local;
mod machine;
mod nic;
mod offloads;
mod queues;
mod report;
mod setting;
#[cfg(test)]
mod tests;

pub use finding::{Finding, Status, exit_code};
pub use report::{json, text};
pub use setting::{Change, SetCommand, Setting};

use crate::config::Config;
use facts::Facts;

/// Looks at this machine: at the interfaces of the configuration, or without one at every port to a network.
pub fn examine(config: Option<&Config>) -> Vec<Finding> {
    findings(&gather::gather(config))
}

/// The findings about facts: the machine's first, then each interface's, then those of local services.
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let mut found = machine::findings(facts);
    if let Some(error) = &facts.links_error {
        let what = format!("the kernel does not list its interfaces: {error}");
        let why = "nothing is known about the interfaces";
        found.push(Finding::new("nic.device", Status::Fail, what, why));
    }
    for interface in &facts.interfaces {
        found.extend(of_interface(interface, facts));
    }
    found.extend(local::findings(facts));
    found
}

fn of_interface(interface: &facts::Interface, facts: &Facts) -> Vec<Finding> {
    if let Some(obstacle) = nic::obstacle(interface) {
        return vec![obstacle];
    }
    let Some(state) = &interface.state else {
        return Vec::new();
    };
    let machine = &facts.machine;
    let mut found = vec![
        nic::link(interface, state),
        nic::driver(interface, state),
        nic::xdp(interface, state),
        nic::occupied(interface, state),
        nic::mtu(interface, state),
        offloads::vlan(interface, state),
        offloads::lro(interface, state),
        offloads::gro_hw(interface, state),
        queues::queues(interface, state, machine),
        queues::rss(interface, state),
        queues::ring(interface, state),
    ];
    found.extend(queues::irq(interface, state, machine));
    found.push(queues::numa(interface, state, machine, &facts.plan.cores));
    found
}
