//! The figures, as a table and as JSON.

use std::fmt;

use serde::Serialize;

use crate::spread::Spread;

/// One operation on one table: nanoseconds in each round.
#[derive(Serialize)]
pub(super) struct Row {
    pub(super) what: &'static str,
    pub(super) table: &'static str,
    pub(super) rounds: Vec<f64>,
}

/// All figures, ns per operation.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) flows: u32,
    pub(super) ipv6: bool,
    pub(super) runs: u32,
    /// Flows for which both buckets of the bucketed table were full.
    pub(super) refused: u32,
    pub(super) rows: Vec<Row>,
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = if self.ipv6 { "IPv6" } else { "IPv4" };
        writeln!(
            out,
            "{} {family} flows; ns per operation: median (least to greatest round)",
            self.flows
        )?;
        writeln!(
            out,
            "the bucketed table had no room for {} of them",
            self.refused
        )?;
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by_key(|row| self.rows.iter().position(|first| first.what == row.what));
        let mut last = "";
        for row in rows {
            if row.what != last {
                writeln!(out, "{}", row.what)?;
                last = row.what;
            }
            let Spread {
                least,
                median,
                greatest,
            } = Spread::or_nan(&row.rounds);
            writeln!(
                out,
                "  {:<16} {median:>7.0}  ({least:.0} to {greatest:.0})",
                row.table
            )?;
        }
        Ok(())
    }
}
