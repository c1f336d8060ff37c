//! The attacks in progress, in a pinned map: a process that starts after a kill challenges the same clients from its first
//! moment on, so no flood passes, and an attack is reported once.
//!
//! The programs do not use the map. It names services and addresses, because the next configuration may have other indices.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use aya::maps::{HashMap, Map, MapData};
use ipnet::IpNet;

use super::error::{SteeringError, map_failed};
use super::pins::Pins;
use crate::activation::KeptAttack;
use crate::maps::fine_now;

/// The map's name among the pins.
pub(super) const ATTACKS: &str = "ATTACKS";
/// More than services and addresses can be under attack at a time ([`crate::activation::address_detectors::MOST`]).
const ROOM: u32 = 1 << 14;
/// Memory is allocated only for entries (BPF_F_NO_PREALLOC, linux/bpf.h).
const NO_PREALLOC: u32 = 1;
/// The longest name of a service, bytes.
const NAME: usize = 32;

/// The service's name, padded with zeros; 0 for the whole service, else 4 or 6; the length of the prefix; the address.
type Key = [u8; NAME + 4 + 16];
/// When it began (ms of the monotonic clock, which nobody sets: the map does not outlive a boot), rate, threshold, peak, the lowest
/// end (bits of f64), SYNs, proven clients with [`CHALLENGED`].
type Value = [u64; 7];
/// Clients were challenged: a bit, so that the next version finds a map of the same size.
const CHALLENGED: u64 = 1 << 63;

/// An attack that a process before this one knew.
#[derive(Clone, Debug, PartialEq)]
pub struct ResumedAttack {
    /// The name of the service, which may not be there any more.
    pub service: String,
    /// The address, which may not be watched any more; `None`: the service as a whole.
    pub net: Option<IpNet>,
    /// The attack.
    pub attack: KeptAttack,
}

/// An attack that goes on: the name of its service, its address, and its numbers.
pub type Ongoing<'a> = (&'a str, Option<IpNet>, KeptAttack);

/// The map, and what it holds.
#[derive(Default)]
pub(super) struct KeptAttacks {
    /// `None`: nothing is pinned.
    map: Option<HashMap<MapData, Key, Value>>,
    held: BTreeMap<Key, Value>,
    /// What this process has found there.
    resumed: Vec<ResumedAttack>,
}

impl KeptAttacks {
    /// Reads what is pinned.
    pub(super) fn read(pins: Option<&Pins>) -> Self {
        let mut kept = Self::default();
        for (key, value) in pins.map_or_else(Vec::new, |pins| read(&pins.map(ATTACKS))) {
            if let Some((service, net)) = names(&key) {
                kept.held.insert(key, value);
                kept.resumed.push(ResumedAttack {
                    service,
                    net,
                    attack: attack(&value, milliseconds()),
                });
            }
        }
        kept
    }

    /// What a process before this one knew.
    pub(super) fn resumed(&self) -> &[ResumedAttack] {
        &self.resumed
    }

    /// Pins a map with these attacks in place of that of the process before.
    pub(super) fn pin(&mut self, pins: &Pins) -> Result<(), SteeringError> {
        let mut map =
            HashMap::<_, Key, Value>::create(ROOM, NO_PREALLOC).map_err(map_failed(ATTACKS))?;
        for (key, value) in &self.held {
            map.insert(key, value, 0).map_err(map_failed(ATTACKS))?;
        }
        pins.pin_file(&Pins::map_file(ATTACKS), |path| map.pin(path))?;
        self.map = open(&pins.map(ATTACKS));
        Ok(())
    }

    /// Pins it again if its file is missing. Returns whether it was.
    pub(super) fn restore_pin(&mut self, pins: &Pins) -> Result<bool, SteeringError> {
        let is_missing = !pins.map(ATTACKS).exists();
        if is_missing {
            self.pin(pins)?;
        }
        Ok(is_missing)
    }

    /// Has the map hold these attacks. It is cheap if they are the same.
    pub(super) fn keep<'a>(
        &mut self,
        attacks: impl Iterator<Item = Ongoing<'a>>,
    ) -> Result<(), SteeringError> {
        let now = milliseconds();
        let entry = |(name, net, attack)| (key(name, net), value(&attack, now));
        self.hold(attacks.map(entry).collect())
    }

    fn hold(&mut self, wanted: BTreeMap<Key, Value>) -> Result<(), SteeringError> {
        let Some(map) = &mut self.map else {
            return Ok(());
        };
        for (key, value) in wanted
            .iter()
            .filter(|(key, value)| self.held.get(*key) != Some(*value))
        {
            map.insert(key, value, 0).map_err(map_failed(ATTACKS))?;
        }
        for key in self.held.keys().filter(|key| !wanted.contains_key(*key)) {
            map.remove(key).map_err(map_failed(ATTACKS))?;
        }
        self.held = wanted;
        Ok(())
    }
}

/// What a process before this one has left there; nothing if it was an older version.
fn read(path: &Path) -> Vec<(Key, Value)> {
    open(path).map_or_else(Vec::new, |map| map.iter().flatten().collect())
}

fn open(path: &Path) -> Option<HashMap<MapData, Key, Value>> {
    let map = MapData::from_pin(path).ok()?;
    HashMap::try_from(Map::HashMap(map)).ok()
}

fn key(name: &str, net: Option<IpNet>) -> Key {
    let mut key = [0; NAME + 4 + 16];
    for (to, from) in key[..NAME].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    let (kind, bytes) = match net.map(|net| net.addr()) {
        None => return key,
        Some(IpAddr::V4(v4)) => (4, v4.to_ipv6_mapped().octets()),
        Some(IpAddr::V6(v6)) => (6, v6.octets()),
    };
    key[NAME] = kind;
    key[NAME + 1] = net.map_or(0, |net| net.prefix_len());
    key[NAME + 4..].copy_from_slice(&bytes);
    key
}

fn names(key: &Key) -> Option<(String, Option<IpNet>)> {
    let name = key[..NAME].iter().copied().take_while(|byte| *byte != 0);
    let name = String::from_utf8(name.collect()).ok()?;
    let bytes: [u8; 16] = key[NAME + 4..].try_into().ok()?;
    let address = IpAddr::from(bytes);
    let address = match key[NAME] {
        0 => return Some((name, None)),
        4 => address.to_canonical(),
        _ => address,
    };
    let net = IpNet::new(address, key[NAME + 1]).ok()?;
    Some((name, Some(net)))
}

fn value(attack: &KeptAttack, now: u64) -> Value {
    let age = u64::try_from(attack.age.as_millis()).unwrap_or(u64::MAX);
    let [rate, threshold, peak, most_quiet] = [
        attack.rate,
        attack.threshold,
        attack.peak,
        attack.most_quiet,
    ]
    .map(f64::to_bits);
    let began = now.saturating_sub(age);
    [
        began,
        rate,
        threshold,
        peak,
        most_quiet,
        attack.syns,
        attack.proven | if attack.challenged { CHALLENGED } else { 0 },
    ]
}

fn attack(value: &Value, now: u64) -> KeptAttack {
    let [began, rate, threshold, peak, most_quiet, syns, proven] = *value;
    let [rate, threshold, peak, most_quiet] =
        [rate, threshold, peak, most_quiet].map(f64::from_bits);
    KeptAttack {
        age: Duration::from_millis(now.saturating_sub(began)),
        rate,
        threshold,
        peak,
        most_quiet,
        syns,
        proven: proven & !CHALLENGED,
        challenged: proven & CHALLENGED != 0,
    }
}

fn milliseconds() -> u64 {
    fine_now() / 1_000_000
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_come_back() {
        let long = "a".repeat(NAME);
        for name in ["web", &long] {
            let nets = [
                "192.0.2.10/32",
                "198.51.100.0/24",
                "2001:db8::10/128",
                "::/0",
            ];
            let nets = nets.map(|net| Some(net.parse().unwrap()));
            for net in nets.into_iter().chain([None]) {
                assert_eq!(names(&key(name, net)), Some((name.to_owned(), net)));
            }
        }
        let known = KeptAttack {
            age: Duration::from_millis(90_000),
            rate: 20_000.5,
            threshold: 1_000.0,
            peak: 1e6,
            most_quiet: f64::INFINITY,
            syns: 7,
            proven: 3,
            challenged: true,
        };
        let written = value(&known, 1_795_950_000_000);
        let later = KeptAttack {
            age: Duration::from_millis(95_000),
            ..known
        };
        assert_eq!(attack(&written, 1_795_950_005_000), later);
    }

    #[test]
    fn what_no_process_has_written_names_nothing() {
        let mut strange = key("web", Some("2001:db8::/32".parse().unwrap()));
        strange[NAME + 1] = 200;
        assert_eq!(names(&strange), None);
        strange[0] = 0xff;
        assert_eq!(names(&strange), None);
    }
}
