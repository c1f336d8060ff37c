//! The lists as people read them.

use std::time::Instant;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::configured::{List, Origin, configured};
use super::run_time::RunTimeLists;
use crate::config;

/// One entry of a list. The field names are those of `list --json` and are stable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListedPrefix {
    /// The list.
    pub list: List,
    /// The prefix; a single address has full length.
    pub prefix: String,
    /// The service; `None` = all services.
    pub service: Option<String>,
    /// Where it stands.
    pub origin: Origin,
    /// How long it stays; `None` = it does not end by itself.
    pub remaining_seconds: Option<f64>,
}

/// The entries of a list: of one service or of all, and only those that hold `of` or lie in it. Those of the run time first.
pub fn entries(
    (list, service, of): (List, Option<&str>, Option<IpNet>),
    services: &[config::Service],
    run_time: &RunTimeLists,
    now: Instant,
) -> Vec<ListedPrefix> {
    let is_wanted = |net: &IpNet| of.is_none_or(|of| net.contains(&of) || of.contains(net));
    let added = run_time
        .iter(now)
        .filter(|entry| entry.list == list && is_wanted(&entry.net))
        .filter(|entry| match (service, entry.scope) {
            (Some(wanted), Some(scope)) => wanted == scope,
            _ => true,
        })
        .map(|entry| ListedPrefix {
            list,
            prefix: entry.net.to_string(),
            service: entry.scope.clone(),
            origin: Origin::RunTime,
            remaining_seconds: entry.left.map(|left| left.as_secs_f64()),
        });
    let is_in_scope = |known: &&config::Service| service.is_none_or(|name| name == known.name);
    let written = services.iter().filter(is_in_scope).flat_map(|known| {
        configured(known)
            .filter(|(on, _, net)| *on == list && is_wanted(net))
            .map(|(list, origin, net)| ListedPrefix {
                list,
                prefix: net.to_string(),
                service: Some(known.name.clone()),
                origin,
                remaining_seconds: None,
            })
    });
    added.chain(written).collect()
}
