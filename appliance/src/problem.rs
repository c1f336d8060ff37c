//! What is wrong with a file, and where: the one shape in which configuration errors reach people.
#![forbid(unsafe_code)]

use std::fmt;
use std::path::{Path, PathBuf};

/// What is said of a file that this process may not read.
pub const PERMISSION_DENIED: &str =
    "cannot be read: permission denied; run as root or as its owner";

/// One thing that is wrong, shown as `FILE:LINE: what, and what would be right`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file as the caller named it.
    pub file: PathBuf,
    /// Counted from 1; `None` when the file could not be read at all.
    pub line: Option<usize>,
    /// One line of text, without a full stop.
    pub what: String,
}

impl Problem {
    /// A problem of one line of `file`.
    pub fn at(file: &Path, line: usize, what: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: Some(line),
            what: what.into(),
        }
    }

    /// A problem of `file` as a whole.
    pub fn of(file: &Path, what: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: None,
            what: what.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file.display(), self.what),
            None => write!(f, "{}: {}", self.file.display(), self.what),
        }
    }
}

/// Everything that is wrong, in the order of the lines; never empty. Shown one problem a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}
