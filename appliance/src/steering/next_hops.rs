//! Keeps the kernel's entries of the neighbours that the XDP program sends to.
//!
//! `bpf_fib_lookup` takes the hardware address that the kernel has and does not tell the kernel that it is used. The kernel
//! alone would therefore neither resolve such a neighbour nor notice that its address has changed. The control thread does
//! for them what a packet of the kernel's own would do (`kernel::use_neighbour`):
//!
//! - a neighbour that the program could not send to, which it reports (`UNRESOLVED`), is resolved;
//! - entries on steered interfaces that have become stale are confirmed, whatever uses them;
//! - the next hops of configured servers are resolved before their first client comes.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use aya::maps::{HashMap, MapData};
use synward_core::layout::NextHop;

use super::error::SteeringError;
use crate::config::{Config, Handoff};
use crate::kernel;
use crate::maps::Plain;

/// Interval between two looks at the neighbour tables.
const CONFIRM: Duration = Duration::from_secs(2);
/// Interval between two looks for servers whose next hop is not known.
const RESOLVE_SERVERS: Duration = Duration::from_secs(30);
/// The most neighbours that one look confirms, and the most servers that one looks for.
const MOST: usize = 512;

/// The map `UNRESOLVED`.
type Unresolved = HashMap<MapData, Plain<NextHop>, u32>;

/// The servers whose next hops are kept resolved, and when that was last looked after.
#[derive(Debug, Default)]
pub(super) struct NextHops {
    servers: BTreeSet<IpAddr>,
    confirmed: Option<Instant>,
    resolved: Option<Instant>,
    /// The process may not change neighbours, which was reported.
    is_forbidden: bool,
}

impl NextHops {
    /// Servers that the configuration names, except those on this machine.
    pub(super) fn new(config: &Config) -> Self {
        let services = config.services.iter();
        let elsewhere = services.filter(|service| service.handoff != Handoff::Local);
        let servers = elsewhere.flat_map(|service| service.hosts()).take(MOST);
        Self {
            servers: servers.collect(),
            ..Self::default()
        }
    }

    /// Resolves what the program has reported (`unresolved`), and confirms neighbours on the interfaces that `is_steered` names.
    /// It is cheap if nothing is due.
    ///
    /// # Errors
    /// The kernel cannot list neighbours, or the process may not have them resolved. It is not tried again then.
    pub(super) fn keep(
        &mut self,
        unresolved: &mut Unresolved,
        is_steered: impl Fn(u32) -> bool,
    ) -> Result<(), SteeringError> {
        if self.is_forbidden {
            return Ok(());
        }
        let kept = self.resolve_and_confirm(unresolved, is_steered);
        self.is_forbidden = kept.is_err();
        kept
    }

    fn resolve_and_confirm(
        &mut self,
        unresolved: &mut Unresolved,
        is_steered: impl Fn(u32) -> bool,
    ) -> Result<(), SteeringError> {
        resolve_reported(unresolved)?;
        if is_due(&mut self.confirmed, CONFIRM) {
            self.confirm_stale(is_steered)?;
        }
        Ok(())
    }

    fn confirm_stale(&mut self, is_steered: impl Fn(u32) -> bool) -> Result<(), SteeringError> {
        let known = kernel::neighbours().map_err(SteeringError::Netlink)?;
        let stale = known
            .iter()
            .filter(|one| one.is_stale() && is_steered(one.interface));
        for neighbour in stale.take(MOST) {
            resolve(neighbour.interface, neighbour.address)?;
        }
        if !is_due(&mut self.resolved, RESOLVE_SERVERS) {
            return Ok(());
        }
        let hops = self.servers.iter().copied();
        let hops: BTreeSet<_> = hops.filter_map(kernel::next_hop).collect();
        for (interface, address) in hops {
            let mut entries = known.iter();
            let entry = entries.find(|one| (one.interface, one.address) == (interface, address));
            if is_steered(interface) && entry.is_none_or(kernel::Neighbour::has_failed) {
                resolve(interface, address)?;
            }
        }
        Ok(())
    }
}

fn resolve_reported(unresolved: &mut Unresolved) -> Result<(), SteeringError> {
    let reported: Vec<_> = unresolved.keys().flatten().collect();
    for hop in reported {
        // The program may have replaced it by another one meanwhile.
        let _ = unresolved.remove(&hop);
        resolve(hop.0.interface, hop.0.address.into())?;
    }
    Ok(())
}

/// Has a neighbour resolved or confirmed. An interface that is gone or down resolves none, which its watch reports.
fn resolve(interface: u32, address: IpAddr) -> Result<(), SteeringError> {
    match kernel::use_neighbour(interface, address) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            Err(SteeringError::Netlink(error))
        }
        _ => Ok(()),
    }
}

fn is_due(last: &mut Option<Instant>, every: Duration) -> bool {
    let is_due = last.is_none_or(|last| last.elapsed() >= every);
    if is_due {
        *last = Some(Instant::now());
    }
    is_due
}
