//! The counters of a service, summed over all CPUs.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use synward_core::counters::{Counter, NAMES, ServiceCounters};

/// Sums of [`ServiceCounters`]. In JSON an object of name → value, in the order of [`NAMES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters(ServiceCounters);

impl Counters {
    /// Sums the counters of `cpus`.
    pub fn sum<'a>(cpus: impl IntoIterator<Item = &'a ServiceCounters>) -> Self {
        let mut sum = Self::default();
        for cpu in cpus {
            for (total, value) in sum.0.0.iter_mut().zip(cpu.0) {
                *total = total.wrapping_add(value);
            }
        }
        sum
    }

    /// The value of one counter.
    pub fn value(&self, counter: Counter) -> u64 {
        self.0.value(counter)
    }

    /// Sets one counter.
    pub fn set(&mut self, counter: Counter, value: u64) {
        self.0.0[counter as usize] = value;
    }

    /// Every counter with its name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        NAMES.iter().copied().zip(self.0.0)
    }

    /// Every drop reason, without the prefix `drop_`, with its count.
    pub fn drops(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.iter()
            .filter_map(|(name, value)| Some((name.strip_prefix("drop_")?, value)))
    }

    /// Every reason for which mode "always" would have dropped what mode "monitor" let pass, with its count.
    pub fn would_drops(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.iter()
            .filter_map(|(name, value)| Some((name.strip_prefix("would_drop_")?, value)))
    }
}

impl Serialize for Counters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// Unknown names are skipped and absent ones are 0, because the other side may be of another version.
impl<'de> Deserialize<'de> for Counters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ByName)
    }
}

struct ByName;

impl<'de> Visitor<'de> for ByName {
    type Value = Counters;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of counter names and numbers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Counters, A::Error> {
        let mut counters = Counters::default();
        while let Some((name, value)) = map.next_entry::<String, u64>()? {
            if let Some(index) = NAMES.iter().position(|known| *known == name) {
                counters.0.0[index] = value;
            }
        }
        Ok(counters)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_summed() {
        let mut cpu = ServiceCounters::default();
        cpu.bump(Counter::Syn);
        cpu.bump(Counter::DropDenied);
        let sum = Counters::sum([&cpu, &cpu, &ServiceCounters::default()]);
        assert_eq!(sum.value(Counter::Syn), 2);
        assert_eq!(
            sum.drops().find(|(name, _)| *name == "denied"),
            Some(("denied", 2))
        );
        assert!(sum.drops().all(|(name, _)| !name.starts_with("drop_")));
    }

    #[test]
    fn json_has_every_name_and_unknown_names_are_skipped() {
        let mut counters = Counters::default();
        counters.set(Counter::CookieValid, u64::MAX);
        let json = serde_json::to_value(counters).unwrap();
        assert_eq!(json.as_object().unwrap().len(), NAMES.len());
        assert_eq!(serde_json::from_value::<Counters>(json).unwrap(), counters);
        let other = serde_json::from_str::<Counters>(r#"{"syn": 3, "tomorrow": 4}"#).unwrap();
        assert_eq!(
            (other.value(Counter::Syn), other.value(Counter::Reset)),
            (3, 0)
        );
    }
}
