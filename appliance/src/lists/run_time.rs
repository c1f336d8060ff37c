//! The entries that `synward allow add` and `synward deny add` made. They end with the process, or after their time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::configured::{List, Origin, configured};
use crate::config;

/// Entries that can be added at run time.
pub const MAX_ENTRIES: usize = 65_536;

/// The services that an entry is for: one, by name, or `None` for all, also those that a reload adds.
pub type Scope = Option<String>;

/// The entries that were added at run time.
#[derive(Clone, Debug, Default)]
pub struct RunTimeLists(BTreeMap<(IpNet, Scope), Held>);

/// What is known about an entry.
#[derive(Clone, Copy, Debug)]
struct Held {
    list: List,
    /// When it ends; `None`: with the process.
    until: Option<Instant>,
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunTimeEntry<'a> {
    /// The list that it is on.
    pub list: List,
    /// The prefix.
    pub net: IpNet,
    /// The services.
    pub scope: &'a Scope,
    /// How long it stays; `None`: as long as the process.
    pub left: Option<Duration>,
}

/// Why an entry cannot be added or removed. Nothing was changed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// Two verdicts on one prefix.
    #[error(
        "{net} is {} for {scope} at run time; remove that first: `synward {} remove {net}{option}`",
        .list.participle(), .list.word()
    )]
    OtherList {
        /// The prefix.
        net: IpNet,
        /// The list that it is on.
        list: List,
        /// The services.
        scope: String,
        /// The option that names the service.
        option: String,
    },
    /// The configuration says the opposite.
    #[error(
        "{net} is {} for {scope} by the configuration ({}); change that and reload, or use longer prefixes: the longest decides",
        .list.participle(), .origin.place(*.list)
    )]
    OtherListConfigured {
        /// The prefix.
        net: IpNet,
        /// The list that it is on.
        list: List,
        /// The service.
        scope: String,
        /// Where it stands.
        origin: Origin,
    },
    /// The prefix was not added at run time, but is configured.
    #[error(
        "{net} is {} for {scope} by the configuration ({}); remove it there and reload (`synward reload`)",
        .list.participle(), .origin.place(*.list)
    )]
    Configured {
        /// The prefix.
        net: IpNet,
        /// The list.
        list: List,
        /// The service.
        scope: String,
        /// Where it stands.
        origin: Origin,
    },
    /// The entry is for all services.
    #[error("{net} is {} for all services; remove it without --service", .list.participle())]
    ForAll {
        /// The prefix.
        net: IpNet,
        /// The list.
        list: List,
    },
    /// There is no such entry.
    #[error("{net} is not on the {} list of {scope}{around}", .list.word())]
    Absent {
        /// The prefix.
        net: IpNet,
        /// The list.
        list: List,
        /// The services.
        scope: String,
        /// A prefix that holds it and is listed, or nothing.
        around: String,
    },
    /// There are too many.
    #[error(
        "{MAX_ENTRIES} entries were already added at run time; put many prefixes into a file (`allow_file`, `deny_file`)"
    )]
    TooMany,
}

impl RunTimeLists {
    /// Whether an entry is for this service alone.
    pub fn names(&self, service: &str) -> bool {
        let mut scopes = self.0.keys().map(|(_, scope)| scope.as_deref());
        scopes.any(|scope| scope == Some(service))
    }

    /// Adds an entry for `lasting`, or for the life of the process. If it exists, it gets this time.
    ///
    /// # Errors
    /// The prefix is on the other list of one of the services.
    pub fn add(
        &mut self,
        (list, net, scope): (List, IpNet, Scope),
        lasting: Option<Duration>,
        services: &[config::Service],
        now: Instant,
    ) -> Result<(), ListError> {
        let of_prefix = self.of_prefix(net, now);
        if let Some(entry) = of_prefix
            .iter()
            .find(|entry| entry.list != list && overlap(entry.scope, &scope))
        {
            return Err(ListError::OtherList {
                net,
                list: entry.list,
                scope: shown(entry.scope),
                option: option(entry.scope),
            });
        }
        if let Some((scope, origin)) = find_configured((list.other(), net, &scope), services) {
            return Err(ListError::OtherListConfigured {
                net,
                list: list.other(),
                scope,
                origin,
            });
        }
        let key = (net, scope);
        if self.0.len() >= MAX_ENTRIES && !self.0.contains_key(&key) {
            return Err(ListError::TooMany);
        }
        let until = lasting.and_then(|time| now.checked_add(time));
        self.0.insert(key, Held { list, until });
        Ok(())
    }

    /// Removes the entries of a prefix for a service; without a service, those of all services.
    ///
    /// # Errors
    /// There are none.
    pub fn remove(
        &mut self,
        (list, net, scope): (List, IpNet, Scope),
        services: &[config::Service],
        now: Instant,
    ) -> Result<(), ListError> {
        let of_prefix = self.of_prefix(net, now);
        let on_list = || of_prefix.iter().filter(|entry| entry.list == list);
        let found: Vec<Scope> = on_list()
            .filter(|entry| scope.is_none() || *entry.scope == scope)
            .map(|entry| entry.scope.clone())
            .collect();
        if !found.is_empty() {
            for scope in found {
                self.0.remove(&(net, scope));
            }
            return Ok(());
        }
        if on_list().any(|entry| entry.scope.is_none()) {
            return Err(ListError::ForAll { net, list });
        }
        if let Some((scope, origin)) = find_configured((list, net, &scope), services) {
            return Err(ListError::Configured {
                net,
                list,
                scope,
                origin,
            });
        }
        let around = self
            .0
            .iter()
            .filter(|((other, of), held)| {
                held.list == list && other.contains(&net) && overlap(of, &scope)
            })
            .map(|((other, _), _)| *other)
            .chain(configured_around((list, net, &scope), services))
            .max_by_key(IpNet::prefix_len);
        Err(ListError::Absent {
            net,
            list,
            scope: if scope.is_some() {
                shown(&scope)
            } else {
                "any service".into()
            },
            around: around.map_or_else(String::new, |around| {
                format!("; {around}, which holds it, is")
            }),
        })
    }

    /// Drops what has ended. Returns the number of entries that were dropped.
    pub fn expire(&mut self, now: Instant) -> usize {
        let before = self.0.len();
        self.0.retain(|_, held| !held.has_ended(now));
        before - self.0.len()
    }

    /// The entries.
    pub fn iter(&self, now: Instant) -> impl Iterator<Item = RunTimeEntry<'_>> {
        self.0
            .iter()
            .filter_map(move |(key, held)| held.entry(key, now))
    }

    /// The entries that hold for a service.
    pub fn of_service(&self, name: &str, now: Instant) -> impl Iterator<Item = RunTimeEntry<'_>> {
        self.iter(now)
            .filter(move |entry| entry.scope.as_deref().is_none_or(|scope| scope == name))
    }

    fn of_prefix(&self, net: IpNet, now: Instant) -> Vec<RunTimeEntry<'_>> {
        self.0
            .range((net, None)..)
            .take_while(|((other, _), _)| *other == net)
            .filter_map(|(key, held)| held.entry(key, now))
            .collect()
    }
}

impl Held {
    /// The entry; `None`: its time is over.
    fn entry<'a>(
        &self,
        (net, scope): &'a (IpNet, Scope),
        now: Instant,
    ) -> Option<RunTimeEntry<'a>> {
        (!self.has_ended(now)).then(|| RunTimeEntry {
            list: self.list,
            net: *net,
            scope,
            left: self.until.map(|until| until.saturating_duration_since(now)),
        })
    }

    fn has_ended(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

fn overlap(one: &Scope, other: &Scope) -> bool {
    one.is_none() || other.is_none() || one == other
}

/// The services of a scope, in a sentence.
pub(super) fn shown(scope: &Scope) -> String {
    match scope {
        Some(service) => format!("service \"{service}\""),
        None => "all services".into(),
    }
}

fn option(scope: &Scope) -> String {
    match scope {
        Some(service) => format!(" --service {service}"),
        None => String::new(),
    }
}

/// The services that the scope names.
fn in_scope<'a>(
    scope: &'a Scope,
    services: &'a [config::Service],
) -> impl Iterator<Item = &'a config::Service> {
    services
        .iter()
        .filter(|service| scope.as_ref().is_none_or(|name| *name == service.name))
}

/// A service whose configuration lists this prefix, and where.
fn find_configured(
    (list, net, scope): (List, IpNet, &Scope),
    services: &[config::Service],
) -> Option<(String, Origin)> {
    in_scope(scope, services).find_map(|service| {
        let mut listed = configured(service);
        let (_, origin, _) = listed.find(|(on, _, one)| *on == list && **one == net)?;
        Some((shown(&Some(service.name.clone())), origin))
    })
}

/// The configured prefixes that hold this one.
fn configured_around<'a>(
    (list, net, scope): (List, IpNet, &'a Scope),
    services: &'a [config::Service],
) -> impl Iterator<Item = IpNet> + 'a {
    in_scope(scope, services)
        .flat_map(configured)
        .filter(move |(on, _, one)| *on == list && one.contains(&net))
        .map(|(_, _, one)| *one)
}

#[cfg(test)]
mod tests;
