//! The rates at which an attack begins and ends.

use crate::config::Activation;

/// An attack begins at this multiple of the normal rate.
pub const FACTOR: f64 = 4.0;
/// It never begins at fewer SYNs a second by itself: so many do not fill a listener's queue within a second or two.
pub const LEAST: f64 = 1_000.0;
/// It always begins at so many, whatever is normal: a rate that grows slowly for long must not hide an attack.
pub const MOST: f64 = 200_000.0;
/// The first second after the start needs so many times more: handshakes that were begun before are not known.
pub const AT_START: f64 = 10.0;

/// The thresholds of one moment, each a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// An attack begins from here on.
    pub activate: f64,
    /// It may be over below.
    pub deactivate: f64,
}

impl Thresholds {
    /// As configured, or in proportion to the `normal` rate.
    pub fn new(settings: &Activation, normal: f64) -> Self {
        let deactivate = settings.deactivate_syn_rate.map(f64::from);
        let activate = settings.activate_syn_rate.map_or_else(
            || {
                let scaled = (FACTOR * normal).clamp(LEAST, MOST);
                scaled.max(2.0 * deactivate.unwrap_or(0.0))
            },
            f64::from,
        );
        Self {
            activate,
            deactivate: deactivate.unwrap_or(activate / 2.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configured_rates_win_and_others_scale() {
        let of = |activate_syn_rate, deactivate_syn_rate, normal| {
            let settings = Activation {
                activate_syn_rate,
                deactivate_syn_rate,
                ..Activation::default()
            };
            let Thresholds {
                activate,
                deactivate,
            } = Thresholds::new(&settings, normal);
            (activate, deactivate)
        };
        assert_eq!(of(None, None, 0.0), (1_000.0, 500.0));
        assert_eq!(of(None, None, 3_000.0), (12_000.0, 6_000.0));
        assert_eq!(of(None, None, 1e9), (200_000.0, 100_000.0));
        assert_eq!(of(Some(50), None, 3_000.0), (50.0, 25.0));
        assert_eq!(of(Some(1), None, 0.0), (1.0, 0.5));
        assert_eq!(of(Some(50), Some(10), 3_000.0), (50.0, 10.0));
        assert_eq!(of(None, Some(2_000), 0.0), (4_000.0, 2_000.0));
        assert_eq!(of(None, Some(300_000), 0.0), (600_000.0, 300_000.0));
    }
}
