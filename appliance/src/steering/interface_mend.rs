//! Steers interfaces again that have lost the program: somebody has detached it, or the interface was deleted and created
//! again.
//!
//! The AF_XDP sockets of an interface that was created again are bound to the one that is gone: the caller binds others.

use synward_core::layout::Interface;
use synward_core::queue_set::QueueSet;

use super::attach;
use super::classifier;
use super::error::{SteeringError, map_failed};
use super::handle::Steering;
use super::interface_discovery::{Attached, find, receive_queues, side_bits};
use crate::kernel::{self, Link};
use crate::maps::Plain;

/// An interface that is steered again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mended {
    /// Its name.
    pub name: String,
    /// Its slot.
    pub slot: u32,
    /// The index of the interface that had the name before, if that was another one.
    pub replaced: Option<u32>,
}

impl Steering {
    /// Steers interfaces again that have lost the program, and adds them to `mended`.
    ///
    /// # Errors
    /// The first interface that cannot be steered again. It is tried again with the next call.
    pub fn mend_interfaces(&mut self, mended: &mut Vec<Mended>) -> Result<(), SteeringError> {
        let links = kernel::links().map_err(SteeringError::Netlink)?;
        for place in 0..self.watched.len() {
            let attached = &self.watched[place];
            let Some(lost) = find_loss(attached, &links) else {
                continue;
            };
            let (slot, before) = (attached.interface.slot, attached.interface.index);
            self.steer_again(place, slot, lost, &links)?;
            mended.push(Mended {
                name: lost.name.clone(),
                slot,
                replaced: (before != lost.index).then_some(before),
            });
        }
        Ok(())
    }

    fn steer_again(
        &mut self,
        place: usize,
        slot: u32,
        link: &Link,
        links: &[Link],
    ) -> Result<(), SteeringError> {
        let row = slot as usize;
        let is_new = self.found[row].steered.index != link.index;
        if is_new {
            self.found[row] = find(&self.wanted[row], slot, links)?;
            self.write_interface(slot)?;
        }
        let found = &mut self.found[row];
        found.before = None;
        found.steered.notices.clear();
        // As at the start: TC before XDP.
        if self.assigns && is_new && found.steered.side.faces_clients() {
            let name = &found.steered.name;
            self.assignments.retain(|one| one.interface != *name);
            let (program, found) = (self.object.classifier()?, std::slice::from_ref(&*found));
            let again = classifier::attach_all(program, found, self.pins.as_ref())?;
            self.assignments.extend(again);
        }
        let name = found.steered.name.clone();
        self.attachments.retain(|one| one.interface != name);
        let (program, pins) = (self.object.program()?, self.pins.as_ref());
        let attachment = attach::attach_again(program, found, &self.wanted[row], pins)?;
        self.attachments.push(attachment);
        self.note_frags()?;
        self.interfaces[row] = self.found[row].steered.clone();
        self.watched[place] = Attached {
            interface: self.interfaces[row].clone(),
            program: Some(self.object.program_id()?),
            receive_queues: receive_queues(link),
        };
        Ok(())
    }

    /// Writes the index of an interface into the map. Workers answer none of its SYNs.
    fn write_interface(&mut self, slot: u32) -> Result<(), SteeringError> {
        let map = &mut self.object.interfaces;
        let Plain(mut interfaces) = map.get(&0, 0).map_err(map_failed("INTERFACES"))?;
        let steered = &self.found[slot as usize].steered;
        interfaces.index[slot as usize] = steered.index;
        interfaces.interface[slot as usize] = Interface {
            side: side_bits(steered.side),
            slot,
            afxdp: QueueSet::default(),
        };
        map.set(0, Plain(interfaces), 0)
            .map_err(map_failed("INTERFACES"))
    }
}

/// The interface that has lost the program and can be steered again, as the kernel has it now. One that runs another program
/// has an owner.
fn find_loss<'a>(attached: &Attached, links: &'a [Link]) -> Option<&'a Link> {
    // Without a program of ours, its owner attaches it.
    attached.program?;
    let (index, name) = (attached.interface.index, &attached.interface.name);
    let same = links.iter().find(|link| link.index == index);
    let again = || links.iter().find(|link| link.name == *name);
    let link = match same {
        Some(link) => link,
        None => again()?,
    };
    link.xdp.is_none().then_some(link)
}
