//! What the map of lists holds: for each service the verdict on each prefix.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Instant;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::configured::{List, configured};
use super::run_time::RunTimeLists;
use crate::config;

/// What the XDP program does with a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As with a source on no list: a hole in a longer prefix.
    Neither,
    /// Its segments pass unchallenged.
    Allowed,
    /// Its segments are dropped.
    Denied,
}

impl From<List> for Verdict {
    fn from(list: List) -> Self {
        match list {
            List::Allow => Self::Allowed,
            List::Deny => Self::Denied,
        }
    }
}

/// The verdicts, by service (its index) and prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents(BTreeMap<(u32, IpNet), Verdict>);

/// One step from one state of the map to another: `None` removes the entry.
pub type Change = ((u32, IpNet), Option<Verdict>);

impl Contents {
    /// What these services list, and what was added at run time. If both name the same prefix, the entry of the run time
    /// decides: it is younger.
    pub fn new(services: &[config::Service], run_time: &RunTimeLists, now: Instant) -> Self {
        let mut verdicts = BTreeMap::new();
        for (index, service) in (0..).zip(services) {
            for (list, _, net) in configured(service) {
                verdicts.insert((index, *net), list.into());
            }
            for entry in run_time.of_service(&service.name, now) {
                verdicts.insert((index, entry.net), entry.list.into());
            }
            leave_out_ipv4(index, &mut verdicts);
        }
        Self(verdicts)
    }

    /// The entries.
    pub fn iter(&self) -> impl Iterator<Item = (&(u32, IpNet), Verdict)> {
        self.0.iter().map(|(key, verdict)| (key, *verdict))
    }

    /// Whether a service has any entry. The XDP program looks up the lists of these services only.
    pub fn lists(&self, service: u32) -> bool {
        self.of_service(service).next().is_some()
    }

    /// The changes that lead from this state to another: first what is written, then what is removed.
    pub fn changes_to(&self, wanted: &Self) -> Vec<Change> {
        let written = wanted
            .0
            .iter()
            .filter(|(key, verdict)| self.0.get(key) != Some(verdict))
            .map(|(key, verdict)| (*key, Some(*verdict)));
        let removed = self
            .0
            .keys()
            .filter(|key| !wanted.0.contains_key(key))
            .map(|key| (*key, None));
        written.chain(removed).collect()
    }

    /// Records that the map has changed.
    pub fn apply(&mut self, (key, verdict): Change) {
        match verdict {
            Some(verdict) => self.0.insert(key, verdict),
            None => self.0.remove(&key),
        };
    }

    fn of_service(&self, service: u32) -> impl Iterator<Item = (&(u32, IpNet), &Verdict)> {
        self.0
            .range((service, FIRST)..)
            .take_while(move |((of, _), _)| *of == service)
    }
}

/// The first prefix in the order of [`IpNet`].
const FIRST: IpNet = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0));
/// All of IPv4.
const ALL_IPV4: IpNet = FIRST;

/// Leaves IPv4 out of an IPv6 prefix that holds the IPv4-mapped addresses, such as ::/0: the map holds IPv4 in that form.
fn leave_out_ipv4(service: u32, verdicts: &mut BTreeMap<(u32, IpNet), Verdict>) {
    let mapped = Ipv4Addr::UNSPECIFIED.to_ipv6_mapped();
    let holds = (0..96)
        .map(|length| IpNet::V6(Ipv6Net::new_assert(mapped, length).trunc()))
        .any(|net| verdicts.contains_key(&(service, net)));
    if holds {
        verdicts
            .entry((service, ALL_IPV4))
            .or_insert(Verdict::Neither);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn contents(entries: &[(u32, &str, Verdict)]) -> Contents {
        let entries = entries.iter();
        Contents(
            entries
                .map(|(service, text, verdict)| ((*service, net(text)), *verdict))
                .collect(),
        )
    }

    #[test]
    fn changes_lead_from_one_state_to_another() {
        let old = contents(&[
            (0, "10.0.0.0/8", Verdict::Denied),
            (0, "10.1.0.0/16", Verdict::Allowed),
            (1, "2001:db8::/32", Verdict::Denied),
        ]);
        let new = contents(&[
            (0, "10.0.0.0/8", Verdict::Denied),
            (0, "10.1.0.0/16", Verdict::Denied),
            (2, "10.0.0.0/8", Verdict::Allowed),
        ]);
        let changes = old.changes_to(&new);
        assert_eq!(
            changes,
            [
                ((0, net("10.1.0.0/16")), Some(Verdict::Denied)),
                ((2, net("10.0.0.0/8")), Some(Verdict::Allowed)),
                ((1, net("2001:db8::/32")), None),
            ]
        );
        let mut reached = old;
        changes.into_iter().for_each(|one| reached.apply(one));
        assert_eq!(reached, new);
        assert_eq!(new.changes_to(&new), []);
        assert_eq!([0, 1, 2].map(|of| new.lists(of)), [true, false, true]);
    }

    #[test]
    fn an_ipv6_prefix_never_decides_about_ipv4() {
        for (text, holds) in [
            ("::/0", true),
            ("::/80", true),
            ("::fffe:0:0/95", true),
            ("2001:db8::/32", false),
            ("::/96", false),
        ] {
            let mut verdicts = BTreeMap::from([((3, net(text)), Verdict::Denied)]);
            leave_out_ipv4(3, &mut verdicts);
            let hole = verdicts.get(&(3, ALL_IPV4));
            assert_eq!(hole, holds.then_some(&Verdict::Neither), "{text}");
        }
        let mut both = BTreeMap::from([
            ((0, net("::/0")), Verdict::Denied),
            ((0, ALL_IPV4), Verdict::Allowed),
        ]);
        leave_out_ipv4(0, &mut both);
        assert_eq!(both[&(0, ALL_IPV4)], Verdict::Allowed);
    }
}
