//! Aligned text columns for terminals.

/// How a column is aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// For words.
    Left,
    /// For numbers.
    Right,
}

/// Rows of cells under a heading.
#[derive(Debug)]
pub(crate) struct TextColumns<const N: usize> {
    align: [Align; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> TextColumns<N> {
    pub(crate) fn new<S: Into<String>>(columns: [(S, Align); N]) -> Self {
        let columns = columns.map(|(heading, align)| (heading.into(), align));
        Self {
            align: columns.each_ref().map(|(_, align)| *align),
            rows: vec![columns.map(|(heading, _)| heading)],
        }
    }

    pub(crate) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }

    /// The heading and the rows, with two spaces between columns and no trailing spaces. Empty if there are no rows.
    pub(crate) fn text(&self) -> String {
        if self.rows.len() == 1 {
            return String::new();
        }
        let mut widths = [0; N];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        self.rows
            .iter()
            .map(|row| self.line(row, &widths))
            .collect()
    }

    fn line(&self, row: &[String; N], widths: &[usize; N]) -> String {
        let cells: Vec<_> = row
            .iter()
            .zip(widths)
            .zip(self.align)
            .map(|((cell, width), align)| match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            })
            .collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = TextColumns::new([("name", Align::Left), ("count", Align::Right)]);
        assert_eq!(table.text(), "");
        table.row(["a longer one".into(), "7".into()]);
        table.row(["b".into(), "1,234,567".into()]);
        assert_eq!(
            table.text(),
            "name              count\na longer one          7\nb             1,234,567\n"
        );
    }
}
