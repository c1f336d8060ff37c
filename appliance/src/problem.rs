//! What is wrong with a file, and where: the one shape in which configuration errors reach people.
#![forbid(unsafe_code)]

use std::fmt;
use std::path::{Path, PathBuf};

/// One thing that is wrong, shown as `FILE:LINE: what, and what would be right`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file as the caller named it.
    pub file: PathBuf,
    /// Counted from 1; `None` when the file could not be read at all.
    pub line: Option<usize>,
    /// What is wrong, and the cure.
    pub what: Fault,
}

/// What is wrong, and the cure: one line, without a full stop. Faults for which a running process needs another cure than a
/// command have a variant of their own (`run::reload_request`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This text.
    Text(String),
    /// A file must not be read by this user: the words that name it, or nothing if it is the file of the problem.
    Unreadable(Option<String>),
    /// There is no configuration file.
    Absent,
    /// The configuration needs a secret file that does not exist.
    NoSecret(PathBuf),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Unreadable(subject) => {
                if let Some(subject) = subject {
                    write!(f, "{subject} ")?;
                }
                f.write_str("cannot be read: permission denied; run as root or as its owner")
            }
            Self::Absent => f.write_str(
                "there is no such file; name one with --config (`synward check --example` prints one)",
            ),
            Self::NoSecret(path) => {
                let path = path.display();
                write!(
                    f,
                    "there is no secret file {path}; create it: synward secret > {path}; chmod 600 {path}"
                )
            }
        }
    }
}

impl From<String> for Fault {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Fault {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Problem {
    /// A problem of one line of `file`.
    pub fn at(file: &Path, line: usize, what: impl Into<Fault>) -> Self {
        Self {
            file: file.to_owned(),
            line: Some(line),
            what: what.into(),
        }
    }

    /// A problem of `file` as a whole.
    pub fn of(file: &Path, what: impl Into<Fault>) -> Self {
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
