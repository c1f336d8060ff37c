//! A service and its addresses: which of them are under attack.
//!
//! Each address has a detector of its own. That of the service sees what comes to the addresses that are not under attack
//! themselves, so that a flood to one address is no attack on the others. A flood to so many addresses that none of them reaches
//! its threshold is an attack on the service.
//!
//! With what others send to its other addresses, the service may reach its threshold before the attacked address does. A few
//! addresses that have most of the rate are then the attacked ones.

use std::collections::BTreeMap;
use std::time::Duration;

use ipnet::IpNet;

use super::detector::{Attack, Change, Detector, KeptAttack, Seen};
use super::rate_window::Rates;
use crate::config::Activation;

/// The most addresses of a service that count as attacked separately. If there are more, the service is under attack.
pub const MOST: usize = 8;
/// One of so many addresses may have most of a rate by an attack on it.
const FEW: usize = 4;

/// What has changed for the service (`None`) or for one of its addresses.
pub type Changed = (Option<IpNet>, Change);

/// The detectors of the addresses of one service.
#[derive(Clone, Debug, Default)]
pub struct AddressDetectors(Vec<(IpNet, Detector)>);

impl AddressDetectors {
    /// The addresses that are under attack separately.
    pub fn attacks(&self) -> impl Iterator<Item = (IpNet, &Detector, &Attack)> {
        let all = self.0.iter();
        all.filter_map(|(net, one)| Some((*net, one, one.attack()?)))
    }

    /// Takes over new settings.
    pub fn set(&mut self, settings: Activation) {
        for (_, detector) in &mut self.0 {
            detector.set(settings);
        }
    }

    /// Watches these addresses from now on; `new` makes the detector of one that was not watched. Attacks on others are not
    /// looked for any more. It is cheap if nothing changes.
    pub fn follow(
        &mut self,
        nets: impl Iterator<Item = IpNet> + Clone,
        new: impl Fn() -> Detector,
    ) -> Vec<Changed> {
        if nets.clone().eq(self.0.iter().map(|(net, _)| *net)) {
            return Vec::new();
        }
        let mut known: BTreeMap<_, _> = self.0.drain(..).collect();
        let detector = |net| (net, known.remove(&net).unwrap_or_else(&new));
        self.0 = nets.map(detector).collect();
        let gone = known.into_iter();
        gone.filter_map(|(net, mut gone)| Some((Some(net), gone.unwatch()?)))
            .collect()
    }

    /// Goes on with an attack that a process before this one knew. `false`: the address is not watched.
    pub fn resume(&mut self, net: IpNet, now: Duration, kept: &KeptAttack) -> bool {
        let found = self.0.iter_mut().find(|(known, _)| *known == net);
        if let Some((_, detector)) = found {
            detector.resume(now, kept);
            return true;
        }
        false
    }

    /// Notes that clients of these addresses are challenged ([`Detector::note_challenged`]).
    pub fn note_challenged(&mut self, nets: &[IpNet]) {
        for (_, detector) in self.0.iter_mut().filter(|(net, _)| nets.contains(net)) {
            detector.note_challenged();
        }
    }

    /// A round of the service, whose own detector is `whole`. `seen` is what is seen of it, `each` what is seen of its
    /// addresses, in the order of [`Self::follow`].
    pub fn round(
        &mut self,
        whole: &mut Detector,
        now: Duration,
        seen: &Seen,
        each: &[Seen],
    ) -> Vec<Changed> {
        let mut changes = Vec::new();
        let mut begins = Vec::new();
        for (at, ((net, detector), seen)) in self.0.iter_mut().zip(each).enumerate() {
            let observed = detector.observe(now, seen);
            changes.extend(observed.ended.map(|change| (Some(*net), change)));
            begins.extend(observed.begins.then_some(at));
        }
        let observed = whole.observe_rates(now, seen, self.rest(&[]));
        changes.extend(observed.ended.map(|change| (None, change)));
        if whole.attack().is_some() {
            return changes;
        }
        let is_rest_quiet = !observed.begins || self.add_loudest(whole, &mut begins);
        let are_all = !begins.is_empty() && begins.len() == self.0.len();
        if !is_rest_quiet || are_all || self.attacks().count() + begins.len() > MOST {
            changes.push((None, whole.begin(now, seen)));
            return changes;
        }
        for at in begins {
            if let (Some((net, detector)), Some(seen)) = (self.0.get_mut(at), each.get(at)) {
                changes.push((Some(*net), detector.begin(now, seen)));
            }
        }
        changes
    }

    /// The rates of all addresses that are not under attack, without `others`.
    fn rest(&self, others: &[usize]) -> Rates {
        let quiet = self.0.iter().enumerate();
        quiet
            .filter(|(at, (_, one))| one.attack().is_none() && !others.contains(at))
            .map(|(_, (_, one))| one.rates())
            .fold(Rates::default(), Rates::plus)
    }

    /// Adds the loudest addresses to `begins` until the rest is no attack. `false`: it would have to add more than a few.
    fn add_loudest(&self, whole: &Detector, begins: &mut Vec<usize>) -> bool {
        let harmless = whole.harmless();
        let mut few = (self.0.len() / FEW).clamp(1, MOST);
        let quiet = self.0.iter().enumerate();
        let mut others: Vec<_> = quiet
            .filter(|(at, (_, one))| one.attack().is_none() && !begins.contains(at))
            .map(|(at, (_, one))| (at, whole.rate_of(one.rates())))
            .collect();
        others.sort_by(|(_, one), (_, other)| one.total_cmp(other));
        while whole.rate_of(self.rest(begins)) >= harmless {
            let Some((loudest, _)) = others.pop().filter(|_| few > 0) else {
                return false;
            };
            begins.push(loudest);
            few -= 1;
        }
        true
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
