//! What workers have counted.

use super::start::Appliance;
use crate::engine::Outcome;

/// The number of handoffs with this outcome, of one service or of all.
pub(super) fn count_outcomes(
    appliance: &Appliance,
    service: Option<usize>,
    outcome: Outcome,
) -> u64 {
    let stats = appliance
        .workers
        .iter()
        .flat_map(|one| one.stats.iter().enumerate());
    stats
        .filter(|(index, _)| service.is_none_or(|wanted| wanted == *index))
        .map(|(_, stats)| stats.count_of(outcome))
        .sum()
}
