//! Writes the plan into new, empty maps, and changes of prefixes into those in use.

use aya::maps::lpm_trie::Key as Prefix;
use ipnet::IpNet;
use synward_core::layout::{Endpoint, Interface, Interfaces, PrefixPort};
use synward_core::queue_set::QueueSet;
use synward_core::wire::Address;

use super::client_mss::ClientMss;
use super::endpoint_profiles;
use super::error::{SteeringError, map_failed};
use super::interface_discovery::{Found, side_bits};
use super::left_out::{AddedPrefix, PrefixChanges};
use super::map_encoding;
use super::map_plan::Plan;
use super::object::Object;
use super::pins::Previous;
use crate::config::Config;
use crate::lists::Change;
use crate::maps::{EndpointMap, Plain};

/// Writes all maps except endpoints and services.
pub(super) fn fill_maps(
    object: &mut Object,
    plan: &Plan,
    found: &[Found],
) -> Result<(), SteeringError> {
    let mut interfaces = Interfaces::default();
    for Found { steered, .. } in found {
        let slot = steered.slot as usize;
        interfaces.index[slot] = steered.index;
        interfaces.interface[slot] = Interface {
            side: side_bits(steered.side),
            slot: steered.slot,
            afxdp: QueueSet::default(),
        };
    }
    object
        .interfaces
        .set(0, Plain(interfaces), 0)
        .map_err(map_failed("INTERFACES"))?;
    add_ports(object, &plan.prefix_ports)?;
    for (net, index) in &plan.prefixes {
        add_prefix(object, *net, *index)?;
    }
    plan.lists
        .iter()
        .try_for_each(|(key, verdict)| write_listed(object, (*key, Some(verdict))))
}

/// Writes or removes an entry of a list.
pub(super) fn write_listed(object: &mut Object, change: Change) -> Result<(), SteeringError> {
    let ((service, net), verdict) = change;
    let key = map_encoding::prefix_key(net);
    let Address([a, b, c, d]) = key.address;
    let key = Prefix::new(32 + key.length, [service, a, b, c, d]);
    match verdict {
        Some(verdict) => object
            .lists
            .insert(&key, map_encoding::verdict_word(verdict), 0),
        None => object.lists.remove(&key),
    }
    .map_err(map_failed("LISTS"))
}

/// Changes prefixes while the program runs. A prefix is there only while its ports are.
pub(super) fn change_prefixes(
    object: &mut Object,
    changes: &PrefixChanges,
) -> Result<(), SteeringError> {
    for (net, ports) in &changes.removed {
        let removed = object.prefixes.remove(&trie_key(*net));
        removed.map_err(map_failed("PREFIXES"))?;
        for key in ports {
            let removed = object.prefix_ports.remove(&Plain(*key));
            removed.map_err(map_failed("PREFIX_PORTS"))?;
        }
    }
    add_prefixes(object, &changes.added)
}

/// Adds prefixes or replaces them. A prefix is there only while its ports are.
pub(super) fn add_prefixes(
    object: &mut Object,
    added: &[AddedPrefix],
) -> Result<(), SteeringError> {
    for AddedPrefix { net, index, ports } in added {
        add_ports(object, ports)?;
        add_prefix(object, *net, *index)?;
    }
    Ok(())
}

/// Removes prefixes, and then ports that no prefix has any more. Those that are not there are left out.
pub(super) fn remove_prefixes(object: &mut Object, nets: &[IpNet], ports: &[PrefixPort]) {
    for net in nets {
        let _ = object.prefixes.remove(&trie_key(*net));
    }
    for key in ports {
        let _ = object.prefix_ports.remove(&Plain(*key));
    }
}

/// Adds ports of prefixes or replaces them.
pub(super) fn add_ports(
    object: &mut Object,
    ports: &[(PrefixPort, Endpoint)],
) -> Result<(), SteeringError> {
    let map = &mut object.prefix_ports;
    ports
        .iter()
        .try_for_each(|(key, endpoint)| map.insert(Plain(*key), Plain(*endpoint), 0))
        .map_err(map_failed("PREFIX_PORTS"))
}

fn add_prefix(object: &mut Object, net: IpNet, index: u32) -> Result<(), SteeringError> {
    let added = object.prefixes.insert(&trie_key(net), index, 0);
    added.map_err(map_failed("PREFIXES"))
}

fn trie_key(net: IpNet) -> Prefix<[u32; 4]> {
    let key = map_encoding::prefix_key(net);
    Prefix::new(key.length, key.address.0)
}

/// Writes the endpoints, with what a previous process learned about their servers.
pub(super) fn fill_endpoints(
    map: &mut EndpointMap,
    plan: &Plan,
    config: &Config,
    client_mss: &ClientMss,
    previous: Option<&Previous>,
) -> Result<(), SteeringError> {
    for ((address, port), planned) in &plan.endpoints {
        let key = map_encoding::endpoint_key(*address, *port);
        map.insert(Plain(key), Plain(*planned), 0)
            .map_err(map_failed("ENDPOINTS"))?;
    }
    let Some(learned) = previous.and_then(|previous| previous.endpoints.as_ref()) else {
        return Ok(());
    };
    for (Plain(key), Plain(old)) in learned.iter().flatten() {
        let (address, port) = (key.address.into(), key.port);
        let planned = plan.endpoints.get(&(address, port)).copied();
        let Some(planned) = planned.or_else(|| plan.by_prefix(address, port)) else {
            continue;
        };
        let service = &config.services[planned.service as usize];
        let mut endpoint = endpoint_profiles::inherited(&planned, &old, &service.offer);
        for profile in [&mut endpoint.now, &mut endpoint.before] {
            *profile = client_mss.bound(&service.offer, address, *profile);
        }
        if map.insert(Plain(key), Plain(endpoint), 0).is_err() {
            // The map is full. The servers that are left are learned again.
            break;
        }
    }
    Ok(())
}
