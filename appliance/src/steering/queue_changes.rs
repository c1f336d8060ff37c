//! Follows the number of receive queues of an interface while it is steered: `ethtool -L` and some drivers change it.
//!
//! The kernel refuses fewer queues while a socket is bound to one of those that would go (`ethnl_set_channels`,
//! net/ethtool/channels.c); a driver may use fewer nevertheless.
//!
//! A veth runs a native program on no queue that appears after the program (`veth_enable_range_safe` leaves `xdp_prog` of the new
//! queues empty, drivers/net/veth.c, seen with Linux 6.18): what arrives there passes. So the program is attached anew.

use std::ops::Range;

use synward_core::layout::MAX_QUEUES;

use super::attach;
use super::handle::Steering;
use super::interface_discovery::SteeredInterface;
use crate::config::Queues;
use crate::kernel::{self, AttachedProgram};

/// Another number of receive queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueChange {
    /// The interface, with all its queues.
    pub interface: SteeredInterface,
    /// The queues that it has got.
    pub appeared: Range<u32>,
    /// The queues that it has lost.
    pub lost: Range<u32>,
}

impl Steering {
    /// Counts the receive queues of each interface with `queues = "all"`, records the changes, and returns them. Queues from
    /// [`MAX_QUEUES`] on are left out: [`Steering::find_faults`] reports them.
    pub fn follow_queues(&mut self) -> Vec<QueueChange> {
        let mut changes = Vec::new();
        for attached in self.watched.iter_mut().filter(|one| !one.gone) {
            let row = attached.interface.slot as usize;
            let interface = &mut attached.interface;
            if self.wanted[row].queues != Queues::All {
                continue;
            }
            // Without channels their number does not change.
            let device = interface.device();
            let Ok(now) = kernel::receive_queues(&device) else {
                continue;
            };
            let (had, now) = (interface.queues.len() as u32, now.min(MAX_QUEUES));
            if now == had || !is_current(&device, interface.index) {
                continue;
            }
            tracing::info!(interface = %interface.name, before = had, now, "receive queues");
            interface.queues = (0..now).collect();
            attached.receive_queues = now;
            self.found[row].steered.queues.clone_from(&interface.queues);
            self.interfaces[row].queues.clone_from(&interface.queues);
            changes.push(QueueChange {
                interface: interface.clone(),
                appeared: had..now,
                lost: now..had,
            });
        }
        for change in changes.iter().filter(|one| !one.appeared.is_empty()) {
            self.renew_on_veth(&change.interface);
        }
        changes
    }

    /// Attaches the program anew where it does not run on queues that have appeared.
    fn renew_on_veth(&mut self, interface: &SteeredInterface) {
        let SteeredInterface { name, slot, .. } = interface;
        let found = &mut self.found[*slot as usize];
        let mut attachments = self.attachments.iter();
        let place = attachments.position(|one| one.interface == *name);
        let (Some(place), Ok(program)) = (place, self.object.program()) else {
            return;
        };
        if found.kind() != "veth" || !interface.native || interface.called {
            return;
        }
        // Our own link may live on for a moment.
        found.before = self.watched.iter().find_map(|one| {
            let id = one.program.filter(|_| one.interface.slot == *slot)?;
            Some(AttachedProgram { id, native: true })
        });
        let attachment = self.attachments.swap_remove(place);
        let wanted = &self.wanted[*slot as usize];
        match attach::renew(attachment, program, found, wanted, self.pins.as_ref()) {
            Ok(again) => self.attachments.push(again),
            Err(error) => {
                tracing::error!(%error, "the program does not run on new queues, and cannot be attached anew");
            }
        }
        found.before = None;
    }
}

/// Whether the interface with this index still has this name. Another one may have it.
fn is_current(name: &str, index: u32) -> bool {
    let links = kernel::links().unwrap_or_default();
    links
        .iter()
        .any(|link| link.index == index && link.name == name)
}
