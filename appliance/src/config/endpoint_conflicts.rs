//! Finds endpoints that two services share. Overlapping prefixes are valid because the longest prefix wins, and a named
//! port wins over `"any"`. The same prefix and port in two services is a problem.

use std::collections::HashMap;

use ipnet::IpNet;

use super::prefix_text;
use super::section_reader::Value;
use super::service_settings::Ports;

/// The prefixes and ports of all services read so far.
#[derive(Default)]
pub(super) struct EndpointOwners {
    /// Prefix and port (`None` = any) → service, and the line of the prefix.
    owners: HashMap<(IpNet, Option<u16>), (String, usize)>,
}

impl EndpointOwners {
    /// Records `service` as the owner of `net` with `ports`; `value` is where the file says so. An earlier owner is a
    /// problem, reported once for all shared ports.
    pub(super) fn register(&mut self, value: &Value<'_>, net: IpNet, service: &str, ports: &Ports) {
        let ports = match ports {
            Ports::Any => vec![None],
            Ports::List(ports) => ports.iter().copied().map(Some).collect(),
        };
        let mut clashes: Vec<((String, usize), String)> = Vec::new();
        for port in ports {
            let earlier = self
                .owners
                .entry((net, port))
                .or_insert_with(|| (service.to_owned(), value.line));
            if earlier.0 == service {
                continue;
            }
            let port = port.map_or("\"any\"".into(), |port| port.to_string());
            match clashes.iter_mut().find(|(owner, _)| owner == earlier) {
                Some((_, ports)) => *ports += &format!(", {port}"),
                None => clashes.push((earlier.clone(), port)),
            }
        }
        for ((owner, line), ports) in clashes {
            let net = prefix_text::format_prefix(net);
            value.problem(format!("{net} port {ports} belongs to service \"{owner}\" already (line {line}); remove it from one \
                of them"));
        }
    }
}
