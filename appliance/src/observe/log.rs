//! The log: lines on stderr, each with time (UTC), level, message and `key=value` fields.
//!
//! `SYNWARD_LOG` selects what is logged (`debug`, or `warn,synward::run=debug`; default `info`), and `--log` or
//! `SYNWARD_LOG_FORMAT` how ([`LogFormat`]; docs/log.md). Workers do not log. A thread of its own writes the lines
//! (`log_queue`), so that no reader of the log can stop or end the appliance.

use std::env;
use std::io;
use std::sync::OnceLock;

use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::{EnvFilter, fmt};

use super::log_format::JournalLines;
pub use super::log_format::LogFormat;
use super::log_queue::{LogGuard, start_log_queue};

/// Environment variable with the filter.
pub const FILTER: &str = "SYNWARD_LOG";
/// Environment variable with the format.
pub const FORMAT: &str = "SYNWARD_LOG_FORMAT";

/// Why the log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is invalid.
    #[error("SYNWARD_LOG is {0:?}: {1}; use error, warn, info, debug or trace")]
    Filter(String, ParseError),
    /// The format is unknown.
    #[error("SYNWARD_LOG_FORMAT is {0:?}; use \"text\", \"json\" or \"journal\"")]
    Format(String),
    /// The log is already set up.
    #[error("the log is already set up")]
    Begun,
    /// The kernel refuses the thread that writes the log.
    #[error(
        "the log cannot be written, the kernel refuses a thread: {0}; raise the limit of processes"
    )]
    Thread(io::Error),
}

/// The format of this process's log.
static CHOSEN: OnceLock<LogFormat> = OnceLock::new();

/// Sets up the log, in the format that is asked for, or else according to the environment. Keep the guard until the end of
/// the program.
pub fn init_log(asked: Option<LogFormat>) -> Result<LogGuard, LogError> {
    let format = choose_format(asked, &variable(FORMAT))?;
    let (queue, guard) = start_log_queue(io::stderr()).map_err(LogError::Thread)?;
    let logger = logger(&variable(FILTER), format, queue)?;
    tracing::dispatcher::set_global_default(logger).map_err(|_| LogError::Begun)?;
    let _ = CHOSEN.set(format);
    Ok(guard)
}

/// The value of [`FORMAT`] with which another process logs as this one does.
pub fn format_for_children() -> &'static str {
    CHOSEN.get().map_or("", |format| format.word())
}

fn choose_format(asked: Option<LogFormat>, wanted: &str) -> Result<LogFormat, LogError> {
    match (asked, wanted) {
        (Some(asked), _) => Ok(asked),
        (None, "") => Ok(LogFormat::of_stderr()),
        (None, word) => LogFormat::parse(word).ok_or_else(|| LogError::Format(word.to_owned())),
    }
}

/// The variable's value; empty if it is not set.
fn variable(name: &str) -> String {
    env::var_os(name)
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn logger<W>(filter: &str, format: LogFormat, writer: W) -> Result<tracing::Dispatch, LogError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let words = if filter.is_empty() { "info" } else { filter };
    let filter = EnvFilter::builder()
        .parse(words)
        .map_err(|error| LogError::Filter(words.to_owned(), error))?;
    let lines = fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_target(false)
        .with_ansi(false)
        // It would report a failed write with `eprintln!`, which panics if stderr is closed.
        .log_internal_errors(false);
    Ok(match format {
        LogFormat::Text => lines.finish().into(),
        LogFormat::Json => lines.json().flatten_event(true).finish().into(),
        LogFormat::Journal => lines.event_format(JournalLines::new()).finish().into(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// Collects everything that is written.
    #[derive(Clone, Default)]
    struct LogBuffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for LogBuffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, format: LogFormat) -> Vec<String> {
        let buffer = LogBuffer::default();
        let writer = buffer.clone();
        let logger = logger(filter, format, move || writer.clone()).unwrap();
        tracing::dispatcher::with_default(&logger, || {
            tracing::info!(interface = "eth0", queues = 2, "steered");
            tracing::debug!("detail");
        });
        let bytes = buffer.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_line_has_time_level_message_and_fields() {
        let lines = logged("", LogFormat::Text);
        let (time, rest) = lines[0].split_once(' ').unwrap();
        assert!(time.ends_with('Z') && time.contains('T'), "{time}");
        assert_eq!(rest.trim(), "INFO steered interface=\"eth0\" queues=2");
        assert_eq!(lines.len(), 1);
        assert_eq!(logged("debug", LogFormat::Text).len(), 2);
        assert_eq!(logged("error", LogFormat::Text).len(), 0);
    }

    #[test]
    fn json_lines_have_the_fields_at_the_top() {
        let lines = logged("info", LogFormat::Json);
        let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], "steered");
        assert_eq!(line["queues"], 2);
    }

    #[test]
    fn lines_for_the_journal_have_a_priority_and_no_time() {
        let lines = logged("debug", LogFormat::Journal);
        assert_eq!(
            lines,
            [r#"<6>steered interface="eth0" queues=2"#, "<7>detail"]
        );
    }

    #[test]
    fn what_is_asked_for_outweighs_the_environment() {
        let asked = choose_format(Some(LogFormat::Text), "json").unwrap();
        assert_eq!(asked, LogFormat::Text);
        assert_eq!(choose_format(None, "json").unwrap(), LogFormat::Json);
    }

    #[test]
    fn invalid_settings_are_refused_by_name() {
        let error = logger("synward=loud", LogFormat::Text, io::sink).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("SYNWARD_LOG is \"synward=loud\": ")
        );
        let error = choose_format(None, "xml").unwrap_err();
        assert!(error.to_string().contains("use \"text\", \"json\" or"));
    }
}
