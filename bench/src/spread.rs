//! Least, median and greatest of a figure's rounds, and how figures are printed.

/// A figure over its rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) greatest: f64,
}

impl Spread {
    /// Of at least one figure, in any order.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<_> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            least: *sorted.first()?,
            greatest: *sorted.last()?,
            median: median_of_sorted(&sorted),
        })
    }

    /// The same; not a number if there are no figures.
    pub(crate) fn or_nan(figures: &[f64]) -> Self {
        Self::of(figures.iter().copied()).unwrap_or(Self {
            least: f64::NAN,
            median: f64::NAN,
            greatest: f64::NAN,
        })
    }
}

/// The median of at least one figure, in ascending order.
pub(crate) fn median_of_sorted(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

/// Median, least and greatest for a table's cell: `2.50 (1.00 to 4.00)`; a dash if there are no figures.
pub(crate) fn spread_cell(figures: &[f64]) -> String {
    match Spread::of(figures.iter().copied()) {
        Some(Spread {
            least, greatest, ..
        }) if least == greatest => three_digits(least),
        Some(Spread {
            least,
            median,
            greatest,
        }) => format!(
            "{} ({} to {})",
            three_digits(median),
            three_digits(least),
            three_digits(greatest)
        ),
        None => "–".into(),
    }
}

/// Two to three significant digits, or all digits before the decimal point.
pub(crate) fn three_digits(figure: f64) -> String {
    let decimals = match figure.abs() {
        0.0 => 0,
        size if size < 0.1 => 3,
        size if size < 10.0 => 2,
        size if size < 100.0 => 1,
        _ => 0,
    };
    format!("{figure:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_number_of_rounds_has_a_median() {
        assert_eq!(spread_cell(&[4.0, 1.0, 3.0, 2.0]), "2.50 (1.00 to 4.00)");
        assert_eq!(spread_cell(&[1234.5]), "1234");
        assert_eq!(spread_cell(&[]), "–");
    }
}
