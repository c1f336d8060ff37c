//! Collects the problems of one configuration file while it is read, so that all of them can be shown at once.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use crate::problem::{Problem, Problems};

/// The problems and warnings found so far, and what is needed to tell a byte offset's line.
pub(super) struct Report {
    file: PathBuf,
    newlines: Vec<usize>,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
}

impl Report {
    /// An empty report about `text`, which stands in `file`.
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

    /// The line, counted from 1, of a byte offset.
    pub(super) fn line(&self, offset: usize) -> usize {
        1 + self.newlines.partition_point(|&newline| newline < offset)
    }

    /// Notes that something on `line` keeps the file from being used.
    pub(super) fn problem(&self, line: usize, what: impl Into<String>) {
        self.problems
            .borrow_mut()
            .push(Problem::at(&self.file, line, what));
    }

    /// Notes problems of another file that this one names.
    pub(super) fn foreign(&self, problems: Problems) {
        self.problems.borrow_mut().extend(problems.0);
    }

    /// Notes that something on `line` is allowed, but hardly what was meant.
    pub(super) fn warning(&self, line: usize, what: impl Into<String>) {
        let what = format!("warning: {}", what.into());
        self.warnings
            .borrow_mut()
            .push(Problem::at(&self.file, line, what));
    }

    /// The warnings if there was no problem; else all problems, this file's first, by line.
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
    fn offsets_become_lines() {
        let report = Report::new(Path::new("f"), "ab\n\ncd");
        let lines: Vec<_> = (0..=6).map(|offset| report.line(offset)).collect();
        assert_eq!(lines, [1, 1, 1, 2, 3, 3, 3]);
    }
}
