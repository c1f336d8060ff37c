//! Before anything is steered: whether the address of a local service is here at all, and whether this machine's firewall
//! lets proven clients in.
//!
//! A service whose clients go past this network namespace's sockets, to a container say, is refused.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use super::error::LocalError;
use super::firewall_probe::{self, Reachability};
use super::services::{is_own_address, local_services};
use crate::config::{Config, Service};
use crate::kernel;
use crate::steering::{SteeredInterface, Steering};

/// Addresses and ports that the firewall is asked about at most.
const PROBES: usize = 64;

/// Checks each address and port of local services, before [`Steering::attach`]. Ends at the first one of which the
/// firewall does not tell, so that a start takes half a second more at worst.
///
/// # Errors
/// The firewall drops what proven clients send, or sends it elsewhere; or a service's address is not here.
pub fn check_reachable(config: &Config, steering: &mut Steering) -> Result<(), LocalError> {
    let addresses: BTreeSet<_> = local_services(config).flat_map(Service::hosts).collect();
    for address in addresses {
        check_route(address, steering.interfaces())?;
    }
    let servers = local_services(config)
        .flat_map(Service::servers)
        .filter(is_own_address);
    for server in servers.take(PROBES) {
        if !probe(server, steering)? {
            tracing::info!(%server, "what a firewall does with proven clients cannot be told from here");
            break;
        }
    }
    Ok(())
}

/// Sees to it that `address`, a local service's, is not behind an interface of this machine that is not steered, as a
/// container's is. One of another machine on the link may become ours, if that machine fails.
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

/// Asks this machine's firewall whether it lets proven clients of `server`, a local service's, in. False if it cannot be
/// told.
fn probe(server: SocketAddr, steering: &mut Steering) -> Result<bool, LocalError> {
    let (injector, interfaces) = steering.injector()?;
    let mut told = true;
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
            Ok(Reachability::Unknown) => told = false,
            Err(error) => {
                let interface = interface.name.as_str();
                tracing::debug!(%server, interface, %error, "the firewall cannot be asked");
                told = false;
            }
        }
    }
    Ok(told)
}
