//! Collects the problems of one configuration file while it is parsed, so that all of them are reported together.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use crate::problem::{Fault, Problem, Problems};

/// The problems and warnings found so far, and the line ends that map a byte offset to its line.
pub(super) struct ConfigReport {
    file: PathBuf,
    newlines: Vec<usize>,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
}

impl ConfigReport {
    /// An empty report on `text`, the content of `file`.
    pub(super) fn new(file: &Path, text: &str) -> Self {
        Self {
            file: file.to_owned(),
            newlines: text
                .bytes()
                .enumerate()
                .filter(|(_, byte)| *byte == b'\n')
                .map(|(at, _)| at)
                .collect(),
            problems: RefCell::default(),
            warnings: RefCell::default(),
        }
    }

    /// The line of a byte offset, counted from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        1 + self.newlines.partition_point(|&newline| newline < offset)
    }

    /// Adds a problem on `line`. A file with a problem is not used.
    pub(super) fn problem(&self, line: usize, what: impl Into<Fault>) {
        self.problems
            .borrow_mut()
            .push(Problem::at(&self.file, line, what));
    }

    /// Adds problems of another file that this file names.
    pub(super) fn foreign(&self, problems: Problems) {
        self.problems.borrow_mut().extend(problems.0);
    }

    /// Adds a warning on `line`: the setting is valid but probably not intended.
    pub(super) fn warning(&self, line: usize, what: impl Into<String>) {
        let what = format!("warning: {}", what.into());
        self.warnings
            .borrow_mut()
            .push(Problem::at(&self.file, line, what));
    }

    /// The warnings if there are no problems; otherwise all problems, first those of this file, in the order of the lines.
    pub(super) fn finish(self) -> Result<Vec<Problem>, Problems> {
        let mut problems = self.problems.into_inner();
        if problems.is_empty() {
            return Ok(self.warnings.into_inner());
        }
        problems.sort_by_key(|problem| (problem.file != self.file, problem.line));
        Err(Problems(problems))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_map_to_lines() {
        let report = ConfigReport::new(Path::new("f"), "ab\n\ncd");
        let lines: Vec<_> = (0..=6).map(|offset| report.line(offset)).collect();
        assert_eq!(lines, [1, 1, 1, 2, 3, 3, 3]);
    }
}
