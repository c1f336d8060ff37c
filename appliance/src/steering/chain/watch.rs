//! Watches the interfaces on which another program calls ours.

use std::path::Path;
use std::time::Instant;

use aya::programs::Xdp;

use super::super::error::{SteeringError, cause};
use super::super::handle::Steering;
use super::super::interface_discovery::Found;
use super::super::pins::Pins;
use super::arrivals::{self, Arrivals};
use super::entry::{self, Entry};
use crate::kernel::Link;

/// Puts `steer` behind the program that others call, if an interface has `attach = "none"`. Else that program is removed.
pub(crate) fn enter(
    found: &[Found],
    steer: &Xdp,
    pins: &Pins,
    frags: bool,
) -> Result<Option<Entry>, SteeringError> {
    let called = found.iter().filter(|one| one.steered.called);
    let called: Vec<_> = called.map(|one| one.steered.index).collect();
    if called.is_empty() {
        pins.remove_entry()?;
        return Ok(None);
    }
    let steer = steer.fd().map_err(|error| SteeringError::Verifier {
        cause: cause(&error),
    })?;
    let mut entry = Entry::open(pins, steer, frags)?;
    entry.count(&called)?;
    Ok(Some(entry))
}

impl Steering {
    /// From now on, frames are expected from the programs that call ours.
    pub(crate) fn expect_arrivals(&mut self, links: &[Link], now: Instant) {
        let Some(entry) = &self.entry else { return };
        for one in self.interfaces.iter().filter(|one| one.called) {
            if let Some(link) = links.iter().find(|link| link.index == one.index) {
                let seen = Arrivals::new(entry.arrived(one.index), link.received, now);
                self.arrivals.insert(one.index, seen);
            }
        }
    }

    /// The same for the interface in `slot`, which was created again, if another program calls ours there.
    ///
    /// # Errors
    /// The kernel refuses to count the frames that arrive there.
    pub(crate) fn expect_called_again(
        &mut self,
        slot: u32,
        link: &Link,
    ) -> Result<(), SteeringError> {
        let is_called = self.interfaces[slot as usize].called;
        let Some(entry) = self.entry.as_mut().filter(|_| is_called) else {
            return Ok(());
        };
        let called = self.interfaces.iter().filter(|one| one.called);
        let called: Vec<_> = called.map(|one| one.index).collect();
        entry.count(&called)?;
        self.arrivals.retain(|index, _| called.contains(index));
        let seen = Arrivals::new(entry.arrived(link.index), link.received, Instant::now());
        self.arrivals.insert(link.index, seen);
        Ok(())
    }

    /// The reasons why no frames arrive at our program by another one, each with the cure.
    pub(crate) fn find_unfed(&mut self, links: &[Link], now: Instant) -> Vec<String> {
        let Some(entry) = &self.entry else {
            return Vec::new();
        };
        let mut faults = Vec::new();
        for one in self.interfaces.iter().filter(|one| one.called) {
            let Some(link) = links.iter().find(|link| link.index == one.index) else {
                continue;
            };
            let (arrived, received) = (entry.arrived(one.index), link.received);
            let seen = self.arrivals.get_mut(&one.index);
            if seen.is_some_and(|seen| seen.renew(arrived, received, now)) && link.xdp.is_some() {
                faults.push(unfed(&link.name, entry.path()));
            }
        }
        faults
    }

    /// What has to happen elsewhere before frames arrive: one sentence for each interface.
    pub fn expected_callers(&self) -> Vec<String> {
        let Some(entry) = &self.entry else {
            return Vec::new();
        };
        let waits = |index| self.arrivals.get(&index).is_none_or(Arrivals::waits);
        let interfaces = self.interfaces.iter().filter(|one| one.called);
        interfaces
            .filter(|one| waits(one.index))
            .map(|one| {
                format!(
                    "{}: waiting for the first packet: {}",
                    one.name,
                    arrivals::cure(entry.path())
                )
            })
            .collect()
    }
}

fn unfed(interface: &str, entry: &Path) -> String {
    format!(
        "{interface} receives packets, and none reaches synward (attach = \"none\"): {}",
        arrivals::cure(entry)
    )
}

/// What is wrong with an interface on which nothing is attached.
pub(crate) fn nothing_attached(interface: &str) -> String {
    format!(
        "{interface} has no XDP program, and with attach = \"none\" synward attaches none: attach the one that calls \
         PIN/{}, or set attach = \"native\" and restart synward",
        entry::PROGRAM
    )
}
