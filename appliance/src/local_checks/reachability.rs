//! Checks, before the program is attached, that the address of a local service belongs to this network namespace and that
//! the firewall accepts validated clients.
//!
//! A service is refused if its clients bypass the sockets of this network namespace, for example because they go to a
//! container.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use super::error::LocalError;
use super::firewall_probe::{self, Reachability};
use super::services::{is_own_address, local_services};
use crate::config::{Config, Service};
use crate::kernel;
use crate::steering::{SteeredInterface, Steering};

/// Maximum number of addresses and ports to probe.
const PROBES: usize = 64;

/// Checks each address and port of local services, before [`Steering::attach`]. Stops at the first inconclusive probe, so a
/// start takes at most half a second more.
///
/// # Errors
/// The firewall drops or redirects the segments of validated clients, or the address of a service is behind another
/// interface.
pub fn check_reachable(config: &Config, steering: &mut Steering) -> Result<(), LocalError> {
    check_routes(config, steering.interfaces())?;
    let servers = local_services(config)
        .flat_map(Service::servers)
        .filter(is_own_address);
    for server in servers.take(PROBES) {
        if !probe(server, steering)? {
            tracing::info!(%server, "cannot test whether the firewall accepts validated clients");
            break;
        }
    }
    Ok(())
}

/// Checks the address of each local service.
///
/// # Errors
/// One is behind another interface of this machine.
pub fn check_routes(config: &Config, steered: &[SteeredInterface]) -> Result<(), LocalError> {
    let addresses: BTreeSet<_> = local_services(config).flat_map(Service::hosts).collect();
    addresses
        .into_iter()
        .try_for_each(|address| check_route(address, steered))
}

/// Checks that `address`, of a local service, is not behind an unsteered interface of this machine, as the address of a
/// container is. An address of another machine on a steered link is allowed: it may move here if that machine fails.
fn check_route(address: IpAddr, steered: &[SteeredInterface]) -> Result<(), LocalError> {
    let Some(index) = kernel::outgoing_interface(address) else {
        return Ok(());
    };
    if steered.iter().any(|one| one.index == index) {
        return Ok(());
    }
    let links = kernel::links().unwrap_or_default();
    let interface = links.into_iter().find(|link| link.index == index);
    Err(LocalError::Elsewhere {
        to: address,
        interface: interface.map_or_else(|| format!("interface {index}"), |link| link.name),
    })
}

/// Probes whether this machine's firewall accepts validated clients of `server`, a local service. False: inconclusive.
fn probe(server: SocketAddr, steering: &mut Steering) -> Result<bool, LocalError> {
    let (injector, interfaces) = steering.injector()?;
    let mut is_conclusive = true;
    for interface in interfaces.iter().filter(|one| one.side.faces_clients()) {
        match firewall_probe::probe(injector, interface, server) {
            Ok(Reachability::Reachable) => {}
            Ok(Reachability::Dropped { from }) => {
                return Err(LocalError::Firewall {
                    to: server,
                    interface: interface.name.clone(),
                    from,
                });
            }
            Ok(Reachability::Redirected { on }) => {
                return Err(LocalError::Dnat { to: server, on });
            }
            Ok(Reachability::Unknown) => is_conclusive = false,
            Err(error) => {
                let interface = interface.name.as_str();
                tracing::debug!(%server, interface, %error, "the firewall cannot be probed");
                is_conclusive = false;
            }
        }
    }
    Ok(is_conclusive)
}
