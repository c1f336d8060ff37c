//! Durations on the command line.

#![forbid(unsafe_code)]

use std::time::Duration;

/// The longest duration: a year.
const LONGEST: u64 = 365 * 86_400;

/// Parses `90`, `90s`, `15m`, `1h`, `2d` or a sum such as `1h30m`, from a second to a year. Without a unit: seconds.
///
/// # Errors
/// What would be right.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "use a duration from 1s to 365d, such as 90s, 15m, 1h, 2d or 1h30m".to_owned();
    let mut seconds = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest
            .find(|one: char| !one.is_ascii_digit())
            .unwrap_or(rest.len());
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = rest[digits..]
            .find(|one: char| one.is_ascii_digit())
            .map_or(rest.len(), |length| digits + length);
        let scale = match &rest[digits..unit] {
            "s" | "" => 1,
            "m" | "min" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err(wrong()),
        };
        seconds = number
            .checked_mul(scale)
            .and_then(|more| seconds.checked_add(more))
            .ok_or_else(wrong)?;
        rest = &rest[unit..];
    }
    if (1..=LONGEST).contains(&seconds) {
        Ok(Duration::from_secs(seconds))
    } else {
        Err(wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_sums_of_units() {
        for (text, seconds) in [
            ("90", 90),
            ("90s", 90),
            ("15m", 900),
            ("15min", 900),
            ("1h", 3_600),
            ("1h30m", 5_400),
            ("2d", 172_800),
            ("365d", LONGEST),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_secs(seconds)),
                "{text}"
            );
        }
        for text in [
            "",
            "0",
            "0s",
            "h",
            "1x",
            "-1",
            "1.5h",
            "1 h",
            "366d",
            "99999999999999999999",
            "1h-",
            "ä",
            "1ä",
            "213503982334602d",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
