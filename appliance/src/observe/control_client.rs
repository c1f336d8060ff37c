//! The client side of the control socket, and the commands that use it.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::control_protocol::{CaptureTarget, Request, Response, ServiceMode};
use super::flow_query::FlowQuery;
use super::flow_view::FlowList;
use super::snapshot::Snapshot;
use super::socket_file::{connect, peer_pid};
use super::status_text;
use crate::config::config_facts::Facts;
use crate::config::{Config, Mode};

/// Timeout of a response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// The same for a reload, which probes the options of new servers.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(18);
/// Maximum length of a response, bytes. A million flows take 200 MB.
const MAX_RESPONSE: u64 = 1 << 30;

/// Exit codes.
pub mod exit {
    /// A request is refused, and nothing has changed.
    pub const REFUSED: u8 = 1;
    /// It serves, and nothing is degraded.
    pub const SERVING: u8 = 0;
    /// Wrong use: the control socket belongs to another user.
    pub const WRONG_USE: u8 = 2;
    /// It runs, but something is degraded, or it drains, or its answer cannot be read.
    pub const DEGRADED: u8 = 3;
    /// No process runs.
    pub const NOT_RUNNING: u8 = 4;
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No process listens on the socket.
    #[error(
        "not running (nobody listens on {0}); start it with `synward run --config FILE`, or name its control socket with --control"
    )]
    NotRunning(PathBuf),
    /// A process listens but does not respond.
    #[error("runs (pid {1}), but did not answer on {0} within {2} s; its log may say why")]
    Silent(PathBuf, i32, u64),
    /// A process answers, but its state cannot be had.
    #[error("runs, but its state cannot be read: {0}")]
    Unreadable(String),
    /// The socket belongs to another user.
    #[error("not allowed to use {0}; run this as root, or as the user that synward runs as")]
    NotAllowed(PathBuf),
    /// The socket cannot be used.
    #[error("cannot talk to synward on {0}: {1}")]
    Broken(PathBuf, io::Error),
    /// The process closed the connection before the end of the response.
    #[error(
        "synward closed {0} before it had answered: it has probably ended; `synward status` says whether it runs"
    )]
    Unfinished(PathBuf),
    /// The response cannot be parsed.
    #[error(
        "the answer on {0} is not one of synward's; is the process of the same version as this command?"
    )]
    Strange(PathBuf),
    /// The process refuses the request.
    #[error("{0}")]
    Refused(String),
}

/// The output of a command, and its exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Text for stdout.
    pub text: String,
    /// Text for stderr; empty = none.
    pub note: String,
    /// The exit code.
    pub code: u8,
}

impl Outcome {
    pub(super) fn fine(text: String) -> Self {
        Self {
            text,
            note: String::new(),
            code: 0,
        }
    }

    /// What a command about the state says if there is no state. A refusal is none: the process refuses what it was asked.
    pub fn unreachable(error: &ClientError) -> Self {
        let code = match error {
            ClientError::NotRunning(_) => exit::NOT_RUNNING,
            ClientError::Silent(..)
            | ClientError::Unreadable(_)
            | ClientError::Broken(..)
            | ClientError::Unfinished(_)
            | ClientError::Strange(_) => exit::DEGRADED,
            ClientError::NotAllowed(_) => exit::WRONG_USE,
            ClientError::Refused(_) => exit::REFUSED,
        };
        Self {
            text: String::new(),
            note: format!("synward: {error}\n"),
            code,
        }
    }

    /// A picture of the state, with the exit code that says how it is.
    pub(crate) fn of_state(text: String, snapshot: &Snapshot) -> Self {
        let code = if snapshot.unready_reasons().is_empty() {
            exit::SERVING
        } else {
            exit::DEGRADED
        };
        Self {
            code,
            ..Self::fine(text)
        }
    }
}

/// `synward status [--json]`.
pub fn status(control: &Path, json: bool) -> Outcome {
    let snapshot = match query_status(control) {
        Ok(snapshot) => snapshot,
        Err(error) => return Outcome::unreachable(&error),
    };
    let text = if json {
        format_json(&snapshot)
    } else {
        status_text::status(&snapshot)
    };
    Outcome::of_state(text, &snapshot)
}

/// `synward flows`. The JSON document is a list of flows.
pub fn flows(control: &Path, query: FlowQuery, json: bool) -> Result<Outcome, ClientError> {
    let list = query_flows(control, query)?;
    let text = if json {
        format_json(&list.flows)
    } else {
        status_text::flows(&list)
    };
    let note = status_text::truncated(&list);
    Ok(Outcome {
        note,
        ..Outcome::fine(text)
    })
}

/// `synward mode SERVICE MODE`.
pub fn mode(control: &Path, service: &str, mode: Mode) -> Result<Outcome, ClientError> {
    let wanted = ServiceMode {
        service: service.to_owned(),
        mode: mode.to_string(),
    };
    match send_request(control, &Request::Mode(wanted))? {
        Response::Mode(ServiceMode { service, mode }) => Ok(Outcome::fine(format!(
            "{service}: {mode}, until the next reload or start\n"
        ))),
        _ => Err(ClientError::Strange(control.to_owned())),
    }
}

/// `synward reload`: prints what changes, or why nothing does.
pub fn reload(control: &Path) -> Result<Outcome, ClientError> {
    let report = match send_request_for(control, &Request::Reload, RELOAD_TIMEOUT)? {
        Response::Reload(report) => report,
        _ => return Err(ClientError::Strange(control.to_owned())),
    };
    let mut outcome = Outcome::fine(
        report
            .lines
            .iter()
            .map(|line| format!("{line}\n"))
            .collect(),
    );
    if !report.done {
        outcome.note = "synward: reload refused; nothing changed\n".into();
        outcome.code = exit::REFUSED;
    }
    Ok(outcome)
}

/// `synward check --against-running`: prints what a reload would change, and what needs a restart.
pub fn compare(control: &Path, config: &Config) -> Result<Outcome, ClientError> {
    let mut running = match send_request(control, &Request::Configuration)? {
        Response::Configuration(running) => *running,
        _ => return Err(ClientError::Strange(control.to_owned())),
    };
    let mut wanted = Facts::of(config);
    if running.control_is_given {
        for facts in [&mut running.facts, &mut wanted] {
            facts.forget("[appliance]", "control");
        }
    }
    let differences = running.facts.differences(&wanted);
    let mut outcome = Outcome::fine(String::new());
    for difference in &differences {
        outcome.text += &match difference.restart_reason(&running.abilities) {
            Some(reason) => {
                outcome.code = exit::REFUSED;
                format!("{difference}: {reason}\n")
            }
            None => format!("{difference}\n"),
        };
    }
    if differences.is_empty() {
        outcome.text = "nothing changes\n".into();
    }
    if outcome.code != 0 {
        outcome.note = "synward: a reload would be refused and change nothing\n".into();
    }
    Ok(outcome)
}

/// Queries a snapshot of the process behind the control socket.
pub fn query_status(control: &Path) -> Result<Snapshot, ClientError> {
    match send_request(control, &Request::Status)? {
        Response::Status(snapshot) => Ok(*snapshot),
        _ => Err(ClientError::Strange(control.to_owned())),
    }
}

/// Queries what a capture of a service needs.
pub fn query_capture_target(control: &Path, service: &str) -> Result<CaptureTarget, ClientError> {
    let service = service.to_owned();
    match send_request(control, &Request::Capture { service })? {
        Response::Capture(target) => Ok(target),
        _ => Err(ClientError::Strange(control.to_owned())),
    }
}

/// Queries flows page by page, until there are no more or their number has reached the limit.
pub fn query_flows(control: &Path, mut query: FlowQuery) -> Result<FlowList, ClientError> {
    let wanted = query.limit;
    let mut all: Option<FlowList> = None;
    loop {
        let mut page = match send_request(control, &Request::Flows(query.clone()))? {
            Response::Flows(page) => page,
            _ => return Err(ClientError::Strange(control.to_owned())),
        };
        let list = match &mut all {
            None => all.insert(std::mem::take(&mut page)),
            Some(list) => {
                list.flows.append(&mut page.flows);
                list.next = page.next;
                list
            }
        };
        list.flows.truncate(wanted);
        query.limit = wanted - list.flows.len();
        query.from = list.next.filter(|_| query.limit > 0);
        if query.from.is_none() {
            return Ok(all.unwrap_or_default());
        }
    }
}

/// Sends one request and reads the response. [`Response::Error`] becomes an error.
pub(super) fn send_request(control: &Path, request: &Request) -> Result<Response, ClientError> {
    send_request_for(control, request, RESPONSE_TIMEOUT)
}

/// The same; the first bytes of the response must arrive within `timeout`.
fn send_request_for(
    control: &Path,
    request: &Request,
    timeout: Duration,
) -> Result<Response, ClientError> {
    let until = Instant::now() + timeout;
    let mut stream = connect(control, until).map_err(|error| match error.kind() {
        ErrorKind::NotFound
        | ErrorKind::ConnectionRefused
        | ErrorKind::NotADirectory
        | ErrorKind::InvalidFilename => ClientError::NotRunning(control.to_owned()),
        ErrorKind::PermissionDenied => ClientError::NotAllowed(control.to_owned()),
        _ => ClientError::Broken(control.to_owned(), error),
    })?;
    let bytes =
        send_and_receive(&mut stream, request, until).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                ClientError::Silent(control.to_owned(), peer_pid(&stream), timeout.as_secs())
            }
            _ => ClientError::Broken(control.to_owned(), error),
        })?;
    match serde_json::from_slice(&bytes) {
        Ok(Response::Error(why)) => Err(ClientError::Refused(why)),
        Ok(Response::Unreadable(why)) => Err(ClientError::Unreadable(why)),
        Ok(response) => Ok(response),
        // It has ended, or somebody has killed it.
        Err(error) if error.is_eof() => Err(ClientError::Unfinished(control.to_owned())),
        Err(_) => Err(ClientError::Strange(control.to_owned())),
    }
}

/// Sends the request and reads until the process closes the connection. The first bytes must arrive before `until`.
fn send_and_receive(
    stream: &mut UnixStream,
    request: &Request,
    until: Instant,
) -> io::Result<Vec<u8>> {
    let left = until.saturating_duration_since(Instant::now());
    let timeout = left.max(Duration::from_millis(1));
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = Vec::new();
    stream.take(MAX_RESPONSE).read_to_end(&mut answer)?;
    Ok(answer)
}

/// Formats JSON as `jq` does.
pub(super) fn format_json(value: &impl Serialize) -> String {
    // Serialization of these types cannot fail.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}
