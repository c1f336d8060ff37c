//! Formats numbers for people.

use std::time::Duration;

/// A whole number with a comma between thousands.
pub fn format_thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of any size in few characters, with three significant digits from a thousand on: `1.23 M`.
pub fn format_short(number: f64) -> String {
    if number > 0.0 && number < 9.95 {
        return format!("{number:.1}").replace(".0", "");
    }
    if number < 999.5 {
        return format!("{number:.0}");
    }
    let mut scaled = number / 1e3;
    let mut units = ["k", "M", "G", "T"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    while scaled >= 999.5
        && let Some(next) = units.next()
    {
        (scaled, unit) = (scaled / 1e3, next);
    }
    match scaled {
        ..9.995 => format!("{scaled:.2} {unit}"),
        ..99.95 => format!("{scaled:.1} {unit}"),
        _ => format!("{scaled:.0} {unit}"),
    }
}

/// A duration in its two largest units: `3 d 4 h`.
pub fn format_span(seconds: f64) -> String {
    // Saturates; NaN becomes 0.
    let seconds = seconds as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{} d {} h", format_thousands(days), hours % 24),
    }
}

/// A latency with two or three significant digits: `0.12 ms`.
pub fn format_latency(time: Duration) -> String {
    let milliseconds = time.as_secs_f64() * 1e3;
    match milliseconds {
        ..1.0 => format!("{milliseconds:.2} ms"),
        ..10.0 => format!("{milliseconds:.1} ms"),
        ..1000.0 => format!("{milliseconds:.0} ms"),
        _ => format!("{:.1} s", milliseconds / 1e3),
    }
}

/// A ratio as a percentage: `12 %`; a small one with two significant digits.
pub fn format_percent(ratio: f64) -> String {
    let percent = ratio * 100.0;
    if percent > 0.0 && percent < 9.95 {
        format!("{percent:.1} %")
    } else {
        format!("{percent:.0} %")
    }
}

/// `1 flow`, `2 flows`.
pub fn format_count(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", format_thousands(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_formatted() {
        assert_eq!(format_thousands(0), "0");
        assert_eq!(format_thousands(999), "999");
        assert_eq!(format_thousands(1_000), "1,000");
        assert_eq!(format_thousands(u64::MAX), "18,446,744,073,709,551,615");
        for (number, text) in [
            (0.0, "0"),
            (0.25, "0.2"),
            (2.0, "2"),
            (12.4, "12"),
            (999.4, "999"),
            (999.6, "1.00 k"),
            (1_234.0, "1.23 k"),
            (12_345.0, "12.3 k"),
            (99_960.0, "100 k"),
            (999_600.0, "1.00 M"),
            (3.2e15, "3200 T"),
            (f64::NAN, "NaN k"),
        ] {
            assert_eq!(format_short(number), text);
        }
        assert_eq!(format_span(59.9), "59 s");
        assert_eq!(format_span(61.0), "1 min 1 s");
        assert_eq!(format_span(3_600.0), "1 h 0 min");
        assert_eq!(format_span(273_600.0), "3 d 4 h");
        assert_eq!(format_span(f64::NAN), "0 s");
        assert_eq!(format_latency(Duration::from_micros(123)), "0.12 ms");
        assert_eq!(format_latency(Duration::from_micros(1_230)), "1.2 ms");
        assert_eq!(format_latency(Duration::from_millis(123)), "123 ms");
        assert_eq!(format_latency(Duration::from_millis(1_250)), "1.2 s");
        assert_eq!(format_percent(0.0), "0 %");
        assert_eq!(format_percent(0.0123), "1.2 %");
        assert_eq!(format_percent(0.5), "50 %");
        assert_eq!(format_count(1, "flow"), "1 flow");
        assert_eq!(format_count(1_200, "flow"), "1,200 flows");
    }
}
