//! Parsers of command-line values: counts with k or M, times in seconds.

use std::time::Duration;

/// A whole number of at least 1, optionally with the suffix k or M.
pub(crate) fn number(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1e3),
        None => text
            .strip_suffix('M')
            .map_or((text, 1.0), |digits| (digits, 1e6)),
    };
    match digits.parse::<f64>() {
        Ok(number) if (1.0..=1e15).contains(&(number * unit)) => Ok((number * unit) as u64),
        _ => Err("a number like 250000, 250k or 1.5M".into()),
    }
}

/// A time of more than zero and at most ten minutes.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    const LONGEST: f64 = 600.0;
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= LONGEST => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!(
            "a time of more than 0 and at most {LONGEST} seconds"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_units() {
        assert_eq!(number("250k"), Ok(250_000));
        assert_eq!(number("1.5M"), Ok(1_500_000));
        assert_eq!(number("7"), Ok(7));
        for wrong in ["", "0", "-1", "k", "1G", "NaN", "inf"] {
            assert!(number(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_bounded() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(seconds("600"), Ok(Duration::from_secs(600)));
        for wrong in ["0", "-1", "601", "inf", "NaN", "x"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
