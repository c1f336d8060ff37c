//! Steers interfaces again that have lost the program: somebody has detached it, or the interface was deleted and created
//! again, or moved to another network namespace and back, with which its sockets and the program at TC go. Where another program
//! calls ours (`attach = "none"`), its owner attaches it to the new interface first.
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
    /// The index of the interface that had the name before, if that was another one or its sockets are lost.
    pub replaced: Option<u32>,
}

impl Steering {
    /// Steers interfaces again that have lost a program or their sockets, and adds them to `mended`.
    ///
    /// # Errors
    /// The first interface that cannot be steered again; the others are. It is tried again with the next call.
    pub fn mend_interfaces(&mut self, mended: &mut Vec<Mended>) -> Result<(), SteeringError> {
        // Before the list: what goes later is for the next call.
        let (gone, are_all) = match &mut self.link_watch {
            Some(watch) => watch.gone(),
            None => (Vec::new(), false),
        };
        for attached in &mut self.watched {
            attached.gone |= gone.contains(&attached.interface.index);
        }
        let links = kernel::links().map_err(SteeringError::Netlink)?;
        // A list may lack an interface that is there, if others go meanwhile (NLM_F_DUMP_INTR).
        for attached in self.watched.iter_mut().filter(|_| !are_all) {
            let index = attached.interface.index;
            attached.gone |= !links.iter().any(|link| link.index == index);
        }
        let mut result = Ok(());
        for place in 0..self.watched.len() {
            match self.mend_interface(place, &links) {
                Ok(one) => mended.extend(one),
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }

    fn mend_interface(
        &mut self,
        place: usize,
        links: &[Link],
    ) -> Result<Option<Mended>, SteeringError> {
        let attached = &self.watched[place];
        let (slot, before) = (attached.interface.slot, attached.interface.index);
        if let Some(lost) = find_loss(attached, links) {
            let is_new = attached.gone || before != lost.index;
            self.steer_again(place, slot, lost, is_new, links)?;
            return Ok(Some(Mended {
                name: lost.name.clone(),
                slot,
                replaced: is_new.then_some(before),
            }));
        }
        let Some(link) = attached.link(links) else {
            return Ok(None);
        };
        let mended = Mended {
            name: link.name.clone(),
            slot,
            replaced: None,
        };
        Ok(self.assign_again(slot, &link.name)?.then_some(mended))
    }

    /// Attaches the TC program again where it is missing. Returns whether it was.
    fn assign_again(&mut self, slot: u32, device: &str) -> Result<bool, SteeringError> {
        let steered = &self.found[slot as usize].steered;
        if !self.assigns || !steered.side.faces_clients() {
            return Ok(false);
        }
        let (program, pins) = (self.object.classifier()?, self.pins.as_ref());
        let mut known = self.assignments.iter();
        let place = known.position(|one| one.interface == steered.name);
        if let Some(place) = place {
            let attachment = self.assignments.swap_remove(place);
            if let Some(alive) = classifier::probe(program, attachment, pins) {
                self.assignments.push(alive);
                return Ok(false);
            }
        }
        let again = classifier::attach_again(program, &steered.name, device, pins)?;
        self.assignments.push(again);
        Ok(true)
    }

    fn steer_again(
        &mut self,
        place: usize,
        slot: u32,
        link: &Link,
        is_new: bool,
        links: &[Link],
    ) -> Result<(), SteeringError> {
        let row = slot as usize;
        if is_new {
            self.found[row] = find(&self.wanted[row], slot, links)?;
            self.write_interface(slot)?;
        }
        let found = &mut self.found[row];
        found.steered.notices.clear();
        // As at the start: TC before XDP.
        self.assign_again(slot, &link.name)?;
        let found = &mut self.found[row];
        let name = found.steered.name.clone();
        let ours = self.watched[place].program;
        match link.xdp {
            // It was moved to another network namespace and back: the program is still attached.
            Some(program) if !found.steered.called && ours == Some(program.id) => {
                found.steered.native = program.native;
            }
            _ => {
                if !found.steered.called {
                    found.before = None;
                }
                self.attachments.retain(|one| one.interface != name);
                let (program, pins) = (self.object.program()?, self.pins.as_ref());
                let attachment = attach::attach_again(program, found, &self.wanted[row], pins)?;
                self.attachments.push(attachment);
            }
        }
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
            receive_queues: receive_queues(link),
            gone: false,
        };
        self.expect_called_again(slot, link)
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
            .map_err(map_failed("INTERFACES"))?;
        self.forget_standby_port(slot);
        Ok(())
    }
}

/// The interface that has lost the program or its sockets and can be steered again, as the kernel has it now. One that runs
/// another program has an owner. If that one calls ours, only a new interface is to be steered again, once its owner has attached
/// it there.
fn find_loss<'a>(attached: &Attached, links: &'a [Link]) -> Option<&'a Link> {
    let same = attached.link(links);
    let is_new = same.is_none();
    let link = same.or_else(|| attached.namesake(links))?;
    let is_lost = match (attached.interface.called, link.xdp) {
        (true, program) => is_new && program.is_some(),
        (false, None) => true,
        (false, Some(program)) => is_new && attached.program == Some(program.id),
    };
    is_lost.then_some(link)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;
    use crate::kernel::AttachedProgram;
    use crate::steering::SteeredInterface;

    const OTHER: Option<AttachedProgram> = Some(AttachedProgram {
        id: 9,
        native: true,
    });

    fn attached(called: bool) -> Attached {
        Attached {
            interface: SteeredInterface {
                called,
                ..SteeredInterface::example()
            },
            program: (!called).then_some(8),
            receive_queues: 1,
            gone: false,
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
    fn one_that_was_gone_has_lost_its_sockets() {
        let link = |name: &str, xdp| Link {
            index: 3,
            name: name.into(),
            xdp,
            ..Link::default()
        };
        let ours = Some(AttachedProgram {
            id: 8,
            native: true,
        });
        let gone = |called| Attached {
            gone: true,
            ..attached(called)
        };
        assert!(find_loss(&attached(false), &[link("eth0", ours)]).is_none());
        assert!(find_loss(&gone(false), &[link("eth0", ours)]).is_some());
        assert!(find_loss(&gone(false), &[link("eth0", OTHER)]).is_none());
        assert!(find_loss(&gone(false), &[link("eth1", None)]).is_none());
        assert!(find_loss(&gone(true), &[link("eth0", OTHER)]).is_some());
        assert!(find_loss(&gone(true), &[link("eth0", None)]).is_none());
    }

    #[test]
    fn one_of_ours_that_runs_another_program_has_an_owner() {
        assert!(is_lost(false, 3, None) && is_lost(false, 4, None));
        assert!(!is_lost(false, 3, OTHER) && !is_lost(false, 4, OTHER));
    }
}
