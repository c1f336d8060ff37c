//! Which source prefixes claim to send most of an attack.

use std::collections::BTreeMap;

use ipnet::IpNet;

use crate::observe::SourceView;
use crate::steering::Sampled;

/// How many are shown.
const MOST: usize = 5;
/// The least share that is shown.
const LEAST: f64 = 0.01;
/// The fewest samples of a prefix that is shown: in a flood from everywhere, one or two of a prefix are chance.
const SAMPLES: u64 = 4;

/// The prefixes with the largest shares of an attack's `syns`, the largest first.
pub(super) fn largest(sources: &BTreeMap<IpNet, Sampled>, syns: u64) -> Vec<SourceView> {
    // The sample may stand for SYNs that came after the rates were read.
    let share = |sampled: u64| (sampled as f64 / syns.max(1) as f64).min(1.0);
    let sources = sources.iter();
    let views = sources
        .filter(|(_, sampled)| sampled.samples >= SAMPLES)
        .map(|(prefix, sampled)| SourceView {
            prefix: prefix.to_string(),
            share: (share(sampled.syns) * 1000.0).round() / 1000.0,
        });
    let mut views: Vec<_> = views.filter(|view| view.share >= LEAST).collect();
    views.sort_by(|one, other| other.share.total_cmp(&one.share));
    views.truncate(MOST);
    views
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn source(number: u64, samples: u64, syns: u64) -> (IpNet, Sampled) {
        let prefix = format!("10.0.{number}.0/24").parse().unwrap();
        (prefix, Sampled { samples, syns })
    }

    #[test]
    fn the_largest_shares_come_first_and_chance_does_not_come() {
        let mut sources: BTreeMap<_, _> = (0..8)
            .map(|number| source(number, 10, 10 * number))
            .collect();
        sources.extend([source(9, 10, 4), source(10, 3, 400)]);
        let shown = largest(&sources, 500);
        let shown: Vec<_> = shown
            .iter()
            .map(|one| (one.prefix.as_str(), one.share))
            .collect();
        let expected = [
            ("10.0.7.0/24", 0.14),
            ("10.0.6.0/24", 0.12),
            ("10.0.5.0/24", 0.1),
            ("10.0.4.0/24", 0.08),
            ("10.0.3.0/24", 0.06),
        ];
        assert_eq!(shown, expected);
        let all = largest(&[source(1, 90, 90)].into(), 80);
        assert_eq!(all[0].share, 1.0);
        assert_eq!(largest(&[source(1, 90, 90)].into(), 0)[0].share, 1.0);
    }
}
