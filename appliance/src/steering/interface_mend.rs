//! Steers interfaces again that have lost the program: somebody has detached it, or the interface was deleted and created
//! again. Where another program calls ours (`attach = "none"`), its owner attaches it to the new interface first.
//!
//! The AF_XDP sockets of an interface that was created again are bound to the one that is gone: the caller binds others.

use synward_core::layout::Interface;
use synward_core::queue_set::QueueSet;

use super::attach;
use super::classifier;
use super::error::{SteeringError, map_failed};
use super::handle::Steering;
use super::interface_discovery::{Attached, find, receive_queues, side_bits};
use crate::config::{self, Queues};
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
        found.steered.notices.clear();
        if !found.steered.called {
            found.before = None;
        }
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
        let steered = self.found[row].steered.clone();
        let program = match steered.called {
            true => None,
            false => Some(self.object.program_id()?),
        };
        self.interfaces[row] = steered.clone();
        self.watched[place] = Attached {
            interface: steered,
            program,
            receive_queues: self.served_queues(&self.wanted[row], receive_queues(link)),
        };
        self.expect_called_again(slot, link)
    }

    /// How many of the `has` queues of a new interface have a worker. There is one for each queue that some interface had at the
    /// start, and none is added.
    fn served_queues(&self, wanted: &config::Interface, has: u32) -> u32 {
        if wanted.queues != Queues::All {
            // The others have no worker on purpose.
            return has;
        }
        let served = self.watched.iter().map(|one| {
            let wanted = self.wanted.get(one.interface.slot as usize);
            match wanted.map(|wanted| &wanted.queues) {
                Some(Queues::List(list)) => list.iter().max().map_or(0, |queue| queue + 1),
                _ => one.receive_queues,
            }
        });
        served.max().unwrap_or(0).min(has)
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
/// has an owner. If that one calls ours, only a new interface is to be steered again, once its owner has attached it there.
fn find_loss<'a>(attached: &Attached, links: &'a [Link]) -> Option<&'a Link> {
    let (index, name) = (attached.interface.index, &attached.interface.name);
    let same = links.iter().find(|link| link.index == index);
    let again = || links.iter().find(|link| link.name == *name);
    let link = match same {
        Some(link) => link,
        None => again()?,
    };
    let is_lost = match attached.interface.called {
        true => link.index != index && link.xdp.is_some(),
        false => link.xdp.is_none(),
    };
    is_lost.then_some(link)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;
    use crate::config::Side;
    use crate::kernel::AttachedProgram;
    use crate::steering::SteeredInterface;

    const OTHER: Option<AttachedProgram> = Some(AttachedProgram {
        id: 9,
        native: true,
    });

    fn attached(called: bool) -> Attached {
        Attached {
            interface: SteeredInterface {
                name: "eth0".into(),
                index: 3,
                slot: 0,
                queues: vec![0],
                side: Side::Outside,
                native: true,
                called,
                mac: [0; 6],
                mtu: 1500,
                notices: Vec::new(),
            },
            program: (!called).then_some(8),
            receive_queues: 1,
        }
    }

    fn is_lost(called: bool, index: u32, xdp: Option<AttachedProgram>) -> bool {
        let link = Link {
            index,
            name: "eth0".into(),
            xdp,
            ..Link::default()
        };
        find_loss(&attached(called), &[link]).is_some()
    }

    #[test]
    fn an_interface_with_attach_none_waits_for_its_program() {
        assert!(!is_lost(true, 3, None), "its owner attaches it");
        assert!(!is_lost(true, 3, OTHER));
        assert!(!is_lost(true, 4, None), "created again, nothing attached");
        assert!(is_lost(true, 4, OTHER));
    }

    #[test]
    fn one_of_ours_that_runs_another_program_has_an_owner() {
        assert!(is_lost(false, 3, None) && is_lost(false, 4, None));
        assert!(!is_lost(false, 3, OTHER) && !is_lost(false, 4, OTHER));
    }
}
