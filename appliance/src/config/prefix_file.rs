//! The files of `allow_file` and `deny_file`: a prefix a line, `#` begins a comment.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;

use super::appliance_section::absolute_path;
use super::limits;
use super::prefix_text::parse_listed_prefix;
use super::section_reader::Table;
use crate::problem::{Fault, Problem, Problems};
use crate::regular_file::{self, FileError};

/// Problems of one file that are reported; a file of another kind has one on every line.
const REPORTED: usize = 20;

/// The prefixes of a file, without duplicates, in the order of the lines. The default: no file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefixFile {
    /// The file, if there is one.
    pub path: Option<PathBuf>,
    prefixes: Arc<[IpNet]>,
}

impl PrefixFile {
    /// Its prefixes.
    pub fn prefixes(&self) -> &[IpNet] {
        &self.prefixes
    }

    /// Reads the file that a key names. `None`: it names none, or the file has a problem, which is reported.
    pub(super) fn read_key(table: &Table<'_>, key: &'static str) -> Option<Lines> {
        let value = table
            .value(key)
            .filter(|value| value.as_text() != Some(""))?;
        let cure = r#"use an absolute path, such as "/etc/synward/deny", or "" for none"#;
        let path = absolute_path(&value, cure)?;
        match Lines::read(&path) {
            Ok(lines) => Some(lines),
            Err(ReadError::File(error)) => {
                value.problem(unreadable(&format!("`{key}`: {}", path.display()), &error));
                None
            }
            Err(ReadError::Lines(problems)) => {
                table.foreign(problems);
                None
            }
        }
    }
}

/// A file's prefixes and their lines.
pub(super) struct Lines {
    path: PathBuf,
    nets: Vec<(IpNet, usize)>,
}

enum ReadError {
    File(FileError),
    Lines(Problems),
}

/// What is said of a file that cannot be read: why, and what would be right.
fn unreadable(subject: &str, error: &FileError) -> Fault {
    let kind = match error {
        FileError::Io(error) => Some(error.kind()),
        _ => None,
    };
    match kind {
        Some(ErrorKind::NotFound) => {
            format!("{subject} does not exist; create it (it may be empty), or remove the key")
                .into()
        }
        Some(ErrorKind::PermissionDenied) => Fault::Unreadable(Some(subject.to_owned())),
        _ => format!("{subject} {error}").into(),
    }
}

impl Lines {
    fn read(path: &Path) -> Result<Self, ReadError> {
        let bytes = regular_file::read(path, limits::LIST_FILE).map_err(ReadError::File)?;
        Self::parse(path, regular_file::without_bom(&bytes)).map_err(ReadError::Lines)
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Problems> {
        let mut nets = Vec::new();
        let mut known = HashMap::new();
        let mut problems = Vec::new();
        for (line, text) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            match parse_line(text) {
                Ok(None) => {}
                Ok(Some(net)) => {
                    // Feeds often hold a prefix more than once.
                    if known.insert(net, line).is_none() {
                        nets.push((net, line));
                    }
                }
                Err(what) => problems.push(Problem::at(path, line, what)),
            }
            if nets.len() > limits::LISTED_IN_FILE {
                let most = limits::LISTED_IN_FILE;
                let what = format!("is prefix {}; at most {most} are possible", nets.len());
                problems.push(Problem::at(path, line, what));
                break;
            }
            if problems.len() == REPORTED {
                let what = "further lines were not read; is it the right file?";
                problems.push(Problem::at(path, line + 1, what));
                break;
            }
        }
        if problems.is_empty() {
            Ok(Self {
                path: path.to_owned(),
                nets,
            })
        } else {
            Err(Problems(problems))
        }
    }

    /// The prefixes and their lines.
    pub(super) fn iter(&self) -> impl Iterator<Item = (IpNet, usize)> {
        self.nets.iter().copied()
    }

    /// The file, as a place in a message.
    pub(super) fn shown(&self) -> String {
        self.path.display().to_string()
    }

    /// Reports the prefixes that are among `others` too, which stand at `place` with their lines.
    pub(super) fn refuse(
        &self,
        table: &Table<'_>,
        others: impl Iterator<Item = (IpNet, usize)>,
        place: &str,
    ) {
        let others: HashMap<_, _> = others.collect();
        let both = self.iter().filter_map(|(net, line)| {
            let first = others.get(&net)?;
            let what =
                format!("{net} is in {place} too (line {first}); remove it from one of them");
            Some(Problem::at(&self.path, line, what))
        });
        table.foreign(Problems(both.take(REPORTED).collect()));
    }

    pub(super) fn into_file(self) -> PrefixFile {
        PrefixFile {
            path: Some(self.path),
            prefixes: self.nets.into_iter().map(|(net, _)| net).collect(),
        }
    }
}

/// The prefix of a line; `None`: it is empty or a comment.
fn parse_line(line: &[u8]) -> Result<Option<IpNet>, String> {
    let end = line.iter().position(|byte| *byte == b'#');
    let text = std::str::from_utf8(&line[..end.unwrap_or(line.len())])
        .map_err(|_| "is not text; write a prefix a line".to_owned())?
        .trim();
    if text.is_empty() {
        return Ok(None);
    }
    parse_listed_prefix(text).map(Some)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(text: &[u8]) -> Result<Vec<String>, String> {
        let lines = Lines::parse(Path::new("f"), text);
        lines
            .map(|lines| {
                lines
                    .iter()
                    .map(|(net, line)| format!("{line} {net}"))
                    .collect()
            })
            .map_err(|problems| problems.to_string())
    }

    #[test]
    fn prefixes_stand_one_a_line_among_comments() {
        let text = b"# a feed\n203.0.113.0/24\n\n  2001:db8::/32\t# theirs\r\n192.0.2.7\n203.0.113.0/24\n\xef#\xff\n";
        assert_eq!(
            parse(&text[..text.len() - 4]),
            Ok(["2 203.0.113.0/24", "4 2001:db8::/32", "5 192.0.2.7/32"]
                .map(String::from)
                .to_vec())
        );
        assert_eq!(parse(b""), Ok(vec![]));
        assert_eq!(parse(b"10.0.0.0/8#\xff"), Ok(vec!["1 10.0.0.0/8".into()]));
    }

    #[test]
    fn problems_name_file_and_line() {
        let refused = parse(b"10.0.0.0/8\n10.0.0.1/8\nhello\n\xff\n1.2.3.4 5.6.7.8\n").unwrap_err();
        let lines: Vec<_> = refused.lines().collect();
        assert_eq!(lines.len(), 4, "{refused}");
        assert!(lines[0].starts_with("f:2: \"10.0.0.1/8\" has host bits set; use \"10.0.0.0/8\""));
        assert!(lines[1].starts_with("f:3: \"hello\" is not an address"));
        assert_eq!(lines[2], "f:4: is not text; write a prefix a line");
        assert!(lines[3].starts_with("f:5: \"1.2.3.4 5.6.7.8\" is not an address"));
    }

    #[test]
    fn a_file_of_another_kind_is_reported_in_short() {
        let refused = parse(&b"hello\n".repeat(1000)).unwrap_err();
        assert_eq!(refused.lines().count(), REPORTED + 1);
        assert!(refused.ends_with("f:21: further lines were not read; is it the right file?"));
    }

    #[test]
    fn a_hundred_thousand_prefixes_are_read() {
        let text: String = (0..100_000_u32)
            .map(|n| format!("{}\n", std::net::Ipv4Addr::from(n << 8)))
            .collect();
        assert_eq!(parse(text.as_bytes()).unwrap().len(), 100_000);
    }
}
