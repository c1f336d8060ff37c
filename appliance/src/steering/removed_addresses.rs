//! The addresses of a service that a reload has removed, as long as it has connections there.
//!
//! Its spliced connections go on, and so the programs must still find their addresses. Nobody is challenged there, unless a
//! service of the file covers them.

use ipnet::IpNet;

use crate::config::{Ports, Service};

/// The addresses and ports of `removed` that no service of the file covers. Where one does, it carries the connections.
pub(crate) fn left(removed: &Service, services: &[Service]) -> Vec<(IpNet, Ports)> {
    let nets = removed.addresses.iter();
    nets.filter_map(|net| Some((*net, ports_left(*net, &removed.ports, services)?)))
        .collect()
}

fn ports_left(net: IpNet, ports: &Ports, services: &[Service]) -> Option<Ports> {
    let mut left = ports.clone();
    for service in services.iter().filter(|service| service.is_configured()) {
        if !service.addresses.iter().any(|other| other.contains(&net)) {
            continue;
        }
        match (&mut left, &service.ports) {
            (Ports::List(left), Ports::List(taken)) => left.retain(|port| !taken.contains(port)),
            // "any" here would win over a port that a service of the file names for a wider prefix.
            (Ports::Any, _) | (_, Ports::Any) => return None,
        }
    }
    match left {
        Ports::List(left) if left.is_empty() => None,
        left => Some(left),
    }
}
