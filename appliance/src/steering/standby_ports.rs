//! Ports that their bond does not use at the moment, such as all but one of an active-backup bond.
//!
//! The bond drops what such a port receives (`bond_should_deliver_exact_match`, drivers/net/bonding/bond_main.c), and XDP sees it
//! before. A switch that does not know where the bond is sends a SYN to all ports. If XDP answered it there, the switch would look
//! for the bond at that port from then on, and what a `local` service has to get would be dropped until the bond sends something.
//! So the program lets everything pass on such a port. A service whose segments XDP forwards itself needs no bond for them: where
//! there is no `local` service, all are served on every port.
//!
//! A port that the bond begins to use is steered again with the next round of the control thread.

use std::collections::BTreeSet;

use synward_core::layout::{handoff, side};

use super::error::{SteeringError, map_failed};
use super::handle::Steering;
use super::interface_discovery::{SteeredInterface, side_bits};
use crate::kernel::{self, Link, LinkWatch};
use crate::maps::Plain;

/// What is known of the ports.
#[derive(Debug, Default)]
pub(super) struct StandbyPorts {
    /// The slots of the interfaces on which everything passes.
    slots: BTreeSet<u32>,
    /// Tells that something has changed.
    watch: Option<LinkWatch>,
    /// The indices of the interfaces whose changes matter.
    followed: BTreeSet<u32>,
    /// Whether there were `local` services at the last look.
    had_local: bool,
}

impl StandbyPorts {
    /// Whether to look at the ports.
    fn is_due(&mut self, has_local: bool) -> bool {
        let Self {
            watch, followed, ..
        } = self;
        let changed = match watch {
            Some(watch) => watch.changed(|index| followed.contains(&index)),
            None => {
                // Changes that come before the look are not missed.
                *watch = LinkWatch::open().ok();
                true
            }
        };
        changed || has_local != self.had_local
    }

    /// Has the ports looked at again, whether a link changes or not.
    fn look_again(&mut self) {
        self.watch = None;
    }
}

impl Steering {
    /// Begins or ends to let everything pass on ports of bonds, as the bonds begin or end to use them, or the services change.
    ///
    /// # Errors
    /// The kernel does not list its interfaces, or refuses the map. It is tried again with the next call.
    pub fn follow_standby_ports(&mut self) -> Result<(), SteeringError> {
        let mut services = self.services.iter();
        let has_local = services.any(|service| service.handoff == handoff::LOCAL);
        if !self.standby_ports.is_due(has_local) {
            return Ok(());
        }
        let renewed = self.renew_standby_ports(has_local);
        match renewed {
            Ok(()) => self.standby_ports.had_local = has_local,
            Err(_) => self.standby_ports.look_again(),
        }
        renewed
    }

    /// Writes the sides of the interfaces that have become such ports, or are no more.
    fn renew_standby_ports(&mut self, has_local: bool) -> Result<(), SteeringError> {
        let links = match has_local {
            true => kernel::links().map_err(SteeringError::Netlink)?,
            false => Vec::new(),
        };
        self.standby_ports.followed = followed(&self.interfaces, &links);
        let unused = self.interfaces.iter();
        let unused: BTreeSet<_> = unused
            .filter(|steered| is_unused(steered, &links))
            .map(|steered| steered.slot)
            .collect();
        if unused == self.standby_ports.slots {
            return Ok(());
        }
        let map = &mut self.object.interfaces;
        let Plain(mut interfaces) = map.get(&0, 0).map_err(map_failed("INTERFACES"))?;
        for steered in &self.interfaces {
            let standby = unused.contains(&steered.slot);
            if standby == self.standby_ports.slots.contains(&steered.slot) {
                continue;
            }
            let bits = &mut interfaces.interface[steered.slot as usize].side;
            *bits &= side::TAKES_FRAGS;
            if !standby {
                *bits |= side_bits(steered.side);
            }
            tracing::info!(interface = %steered.name, standby, "port of a bond");
        }
        map.set(0, Plain(interfaces), 0)
            .map_err(map_failed("INTERFACES"))?;
        self.standby_ports.slots = unused;
        Ok(())
    }

    /// Forgets that everything passes on an interface, because its side was written anew. It may be another interface now, about
    /// which no message comes any more.
    pub(super) fn forget_standby_port(&mut self, slot: u32) {
        self.standby_ports.slots.remove(&slot);
        self.standby_ports.look_again();
    }
}

/// The indices of the steered interfaces and of their bonds. A port that gets another bond says so itself.
fn followed(interfaces: &[SteeredInterface], links: &[Link]) -> BTreeSet<u32> {
    let steered: BTreeSet<u32> = interfaces.iter().map(|one| one.index).collect();
    let ports = links.iter().filter(|link| steered.contains(&link.index));
    let masters = ports.filter_map(|link| link.master);
    steered.iter().copied().chain(masters).collect()
}

/// Whether an interface is a port that its bond receives nothing on.
fn is_unused(steered: &SteeredInterface, links: &[Link]) -> bool {
    let find = |index| links.iter().find(|link| link.index == index);
    let port = find(steered.index).filter(|link| link.standby);
    let bond = port.and_then(|link| link.master).and_then(find);
    bond.is_some_and(|bond| !bond.receives_on_standby)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_looked_at_when_local_services_come_or_go() {
        let mut ports = StandbyPorts::default();
        assert!(ports.is_due(false), "the first look");
        assert!(!ports.is_due(false), "no change of an interface matters");
        assert!(ports.is_due(true), "the first local service");
        ports.had_local = true;
        assert!(ports.is_due(false), "no local service any more");
        ports.look_again();
        assert!(ports.is_due(true), "the last look failed");
    }

    #[test]
    fn changes_of_ports_and_their_bonds_matter() {
        let port = |index, master| Link {
            index,
            master,
            ..Link::default()
        };
        let links = [port(3, Some(9)), port(4, Some(8)), port(9, None)];
        assert_eq!(
            followed(&[SteeredInterface::example()], &links),
            BTreeSet::from([3, 9])
        );
        assert_eq!(
            followed(&[SteeredInterface::example()], &[]),
            BTreeSet::from([3])
        );
    }

    #[test]
    fn a_bond_receives_nothing_on_a_standby_port() {
        let steered = SteeredInterface::example();
        let links = |standby, all| {
            [
                Link {
                    index: 3,
                    master: Some(9),
                    standby,
                    ..Link::default()
                },
                Link {
                    index: 9,
                    kind: "bond".into(),
                    receives_on_standby: all,
                    ..Link::default()
                },
            ]
        };
        assert!(is_unused(&steered, &links(true, false)));
        assert!(!is_unused(&steered, &links(false, false)));
        assert!(
            !is_unused(&steered, &links(true, true)),
            "all_slaves_active"
        );
        assert!(!is_unused(&steered, &[]));
    }
}
