//! The server's kernel alone, behind a forwarding edge or directly connected.

use anyhow::Result;

use crate::compare::defence::{Defence, Started};
use crate::compare::kernel_counters::{cookie_opens, passive_opens};
use crate::compare::netns_lab::{Lab, Role};

/// With cookies for every SYN, or with none.
#[derive(Default)]
pub(super) struct Kernel {
    pub(super) syncookies: bool,
    /// Behind XDP programs that pass everything, wherever synward or its lab has one.
    pub(super) passes: bool,
}

impl<'a> Defence<'a> for Kernel {
    fn start(&mut self, lab: &Lab<'a>) -> Result<Started> {
        let value = if self.syncookies { 2 } else { 0 };
        lab.sysctl(Role::Server, &format!("net.ipv4.tcp_syncookies={value}"))?;
        if self.passes {
            lab.pass_through_edge()?;
            lab.pass(Role::Server, "server0")?;
        } else {
            // The flood's frames need an XDP program where the appliance has none.
            let (role, interface) = lab.front();
            lab.pass(role, interface)?;
        }
        Ok(Started::Running)
    }

    fn carried(&self, lab: &Lab<'a>) -> Result<Option<u64>> {
        match self.syncookies {
            true => cookie_opens(lab).map(Some),
            false => passive_opens(lab).map(Some),
        }
    }
}
