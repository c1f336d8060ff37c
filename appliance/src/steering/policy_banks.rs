//! The policies of services and of their addresses, in two banks (`layout::policy_slot`): the programs read the one that is in
//! force, and the other is written meanwhile. A change of any number of services takes effect with one word, for all CPUs.

use std::thread;
use std::time::{Duration, Instant};

use aya::maps::{Array, MapData};
use synward_core::layout::{Service, policy_slot};

use super::error::{SteeringError, map_failed};
use crate::maps::Plain;

/// How long a bank that has been in force is not written: far longer than a run of the programs, which takes microseconds and
/// is not preempted. Nobody reads half of a policy.
pub(super) const GRACE: Duration = Duration::from_millis(2);

/// What the banks hold. Both are zero at first: no service challenges anybody.
#[derive(Debug, Default)]
pub(super) struct PolicyBanks {
    held: [Vec<Service>; 2],
    /// When the bank in force last changed.
    changed: Option<Instant>,
}

impl PolicyBanks {
    /// Writes `services` to the bank that is not in force in `generation`. The caller then puts it in force.
    ///
    /// # Errors
    /// The kernel refuses a write; what is in force is unchanged.
    pub(super) fn prepare(
        &mut self,
        map: &mut Array<MapData, Plain<Service>>,
        generation: u32,
        services: &[Service],
    ) -> Result<(), SteeringError> {
        if let Some(changed) = self.changed {
            thread::sleep(GRACE.saturating_sub(changed.elapsed()));
        }
        let other = generation ^ 1;
        let held = &mut self.held[other as usize & 1];
        held.resize(services.len().max(held.len()), Service::default());
        let nothing = Service::default();
        for (index, known) in (0..).zip(held) {
            let wanted = services.get(index as usize).unwrap_or(&nothing);
            if known != wanted {
                map.set(policy_slot(index, other), Plain(*wanted), 0)
                    .map_err(map_failed("SERVICES"))?;
                *known = *wanted;
            }
        }
        self.changed = Some(Instant::now());
        Ok(())
    }
}

/// The generation after a change: never 0 or 1. With `other_bank`, it puts the other bank in force.
pub(super) const fn next_generation(generation: u32, other_bank: bool) -> u32 {
    let next = generation.wrapping_add(2) ^ other_bank as u32;
    if next < 2 { next + 2 } else { next }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_differ_and_name_the_bank() {
        for generation in [2, 3, 17, u32::MAX - 1, u32::MAX] {
            let same = next_generation(generation, false);
            let other = next_generation(generation, true);
            assert_eq!((same & 1, other & 1), (generation & 1, !generation & 1));
            assert!(same > 1 && other > 1 && same != generation && other != generation);
        }
    }
}
