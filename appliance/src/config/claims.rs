//! Which service an address and port belong to. Overlapping prefixes are fine, since the longest wins, and so is a
//! named port beside `"any"`; exactly the same address and port in two services is not.

use std::collections::HashMap;

use ipnet::IpNet;

use super::address;
use super::reader::Value;
use super::service::{Ports, Service};

/// The addresses and ports of all services read so far.
#[derive(Default)]
pub(super) struct Claims {
    /// Address and port (`None` = any) → service and the line of the address.
    owners: HashMap<(IpNet, Option<u16>), (String, usize)>,
}

impl Claims {
    /// Notes that `service` has `net`, which stands at `value`; an earlier owner is a problem, reported once for all
    /// of the ports.
    pub(super) fn claim(&mut self, value: &Value<'_>, net: IpNet, service: &Service) {
        let ports = match &service.ports {
            Ports::Any => vec![None],
            Ports::List(ports) => ports.iter().copied().map(Some).collect(),
        };
        let mut clashes: Vec<((String, usize), String)> = Vec::new();
        for port in ports {
            let earlier = self
                .owners
                .entry((net, port))
                .or_insert_with(|| (service.name.clone(), value.line));
            if earlier.0 == service.name {
                continue;
            }
            let port = port.map_or("\"any\"".into(), |port| port.to_string());
            match clashes.iter_mut().find(|(owner, _)| owner == earlier) {
                Some((_, ports)) => *ports += &format!(", {port}"),
                None => clashes.push((earlier.clone(), port)),
            }
        }
        for ((owner, line), ports) in clashes {
            let net = address::shown(net);
            value.problem(format!("{net} port {ports} belongs to service \"{owner}\" already (line {line}); take it out of one of them"));
        }
    }
}
