//! The formats of a log line, and which one is the default.

use std::env;
use std::fmt;
use std::io;
use std::os::fd::AsFd as _;

use clap::ValueEnum;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// systemd sets it to `device:inode` of the stream that it connects to the journal (systemd.exec(5)).
const JOURNAL: &str = "JOURNAL_STREAM";

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Time, level, message and fields.
    Text,
    /// A JSON object.
    Json,
    /// `<N>` (sd-daemon(3)), message and fields: the journal has a time of its own, and takes the priority from N.
    Journal,
}

impl LogFormat {
    /// As it is chosen.
    pub fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Journal => "journal",
        }
    }

    /// The format with this name.
    pub(super) fn parse(word: &str) -> Option<Self> {
        <Self as ValueEnum>::from_str(word, false).ok()
    }

    /// [`LogFormat::Journal`] if stderr leads to the journal, otherwise [`LogFormat::Text`].
    pub(super) fn of_stderr() -> Self {
        let journal = env::var(JOURNAL).unwrap_or_default();
        let stderr = rustix::fs::fstat(io::stderr().as_fd());
        match stderr {
            Ok(found) if journal == format!("{}:{}", found.st_dev, found.st_ino) => Self::Journal,
            _ => Self::Text,
        }
    }
}

/// Writes events for the journal.
pub(super) struct JournalLines(Format<Full, ()>);

impl JournalLines {
    pub(super) fn new() -> Self {
        let lines = Format::default().without_time();
        Self(lines.with_level(false).with_target(false).with_ansi(false))
    }
}

impl<S, N> FormatEvent<S, N> for JournalLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

/// The priority of syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_more_urgent_than_warnings() {
        let all = [
            Level::ERROR,
            Level::WARN,
            Level::INFO,
            Level::DEBUG,
            Level::TRACE,
        ];
        assert_eq!(all.map(priority), [3, 4, 6, 7, 7]);
    }

    #[test]
    fn formats_are_found_by_their_names() {
        for format in LogFormat::value_variants() {
            assert_eq!(LogFormat::parse(format.word()), Some(*format));
        }
        assert_eq!(LogFormat::parse("xml"), None);
    }
}
