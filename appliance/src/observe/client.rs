//! The client's end of the control socket, and the commands that are made of it.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::protocol::{ModeOf, Request, Response};
use super::snapshot::{FlowList, Snapshot};
use super::socket_file::{connect, pid};
use super::text;
use crate::config::Mode;

/// How long the process may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer: a million flows have 200 MB.
const ANSWER: u64 = 1 << 30;

/// Exit codes of `status`.
pub mod exit {
    /// Serving, and all is well.
    pub const SERVING: u8 = 0;
    /// It runs, but something is not as it should be.
    pub const DEGRADED: u8 = 3;
    /// No process is there.
    pub const NOT_RUNNING: u8 = 4;
}

/// Why a command could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody is there.
    #[error(
        "not running (nobody listens on {0}); start it with `synward run --config FILE`, or name its control socket with --control"
    )]
    NotRunning(PathBuf),
    /// Somebody is there who says nothing.
    #[error("runs (pid {1}), but did not answer on {0} within 5 s; its log may say why")]
    Silent(PathBuf, i32),
    /// The socket is not ours to use.
    #[error("not allowed to use {0}; run this as root, or as the user that synward runs as")]
    NotAllowed(PathBuf),
    /// The socket cannot be used.
    #[error("cannot talk to synward on {0}: {1}")]
    Broken(PathBuf, io::Error),
    /// The answer makes no sense.
    #[error(
        "the answer on {0} is not one of synward's; is the process of the same version as this command?"
    )]
    Strange(PathBuf),
    /// The process refuses.
    #[error("{0}")]
    Refused(String),
}

/// What a command prints on stdout, and how it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// For stdout.
    pub text: String,
    /// For stderr; empty: nothing.
    pub note: String,
    /// The exit code.
    pub code: u8,
}

impl Outcome {
    fn fine(text: String) -> Self {
        Self {
            text,
            note: String::new(),
            code: 0,
        }
    }
}

/// `synward status [--json]`.
pub fn status(control: &Path, json: bool) -> Result<Outcome, ClientError> {
    let snapshot = match ask_status(control) {
        Ok(snapshot) => snapshot,
        Err(error) => {
            let code = match error {
                ClientError::NotRunning(_) => exit::NOT_RUNNING,
                ClientError::Silent(..) => exit::DEGRADED,
                error => return Err(error),
            };
            return Ok(Outcome {
                text: String::new(),
                note: format!("synward: {error}\n"),
                code,
            });
        }
    };
    let text = if json {
        document(&snapshot)
    } else {
        text::status(&snapshot)
    };
    let code = if snapshot.complaints().is_empty() {
        exit::SERVING
    } else {
        exit::DEGRADED
    };
    Ok(Outcome {
        text,
        note: String::new(),
        code,
    })
}

/// `synward flows [--json] [--limit N]`; in JSON a list of flows.
pub fn flows(control: &Path, limit: usize, json: bool) -> Result<Outcome, ClientError> {
    let list = ask_flows(control, limit)?;
    let text = if json {
        document(&list.flows)
    } else {
        text::flows(&list)
    };
    let note = text::truncated(&list);
    Ok(Outcome {
        note,
        ..Outcome::fine(text)
    })
}

/// `synward mode SERVICE MODE`.
pub fn mode(control: &Path, service: &str, mode: Mode) -> Result<Outcome, ClientError> {
    let wanted = ModeOf {
        service: service.to_owned(),
        mode: mode.to_string(),
    };
    match ask(control, &Request::Mode(wanted))? {
        Response::Mode(ModeOf { service, mode }) => Ok(Outcome::fine(format!(
            "{service}: {mode}, until the next reload or start\n"
        ))),
        _ => Err(ClientError::Strange(control.to_owned())),
    }
}

/// A snapshot of the process behind the control socket.
pub fn ask_status(control: &Path) -> Result<Snapshot, ClientError> {
    match ask(control, &Request::Status)? {
        Response::Status(snapshot) => Ok(*snapshot),
        _ => Err(ClientError::Strange(control.to_owned())),
    }
}

/// At most `limit` of its flows.
pub fn ask_flows(control: &Path, limit: usize) -> Result<FlowList, ClientError> {
    match ask(control, &Request::Flows { limit })? {
        Response::Flows(list) => Ok(list),
        _ => Err(ClientError::Strange(control.to_owned())),
    }
}

/// One request and its response; [`Response::Error`] is an error.
fn ask(control: &Path, request: &Request) -> Result<Response, ClientError> {
    let until = Instant::now() + PATIENCE;
    let mut stream = connect(control, until).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory => {
            ClientError::NotRunning(control.to_owned())
        }
        ErrorKind::PermissionDenied => ClientError::NotAllowed(control.to_owned()),
        _ => ClientError::Broken(control.to_owned(), error),
    })?;
    let bytes = exchange(&mut stream, request, until).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            ClientError::Silent(control.to_owned(), pid(&stream))
        }
        _ => ClientError::Broken(control.to_owned(), error),
    })?;
    match serde_json::from_slice(&bytes) {
        Ok(Response::Error(why)) => Err(ClientError::Refused(why)),
        Ok(response) => Ok(response),
        Err(_) => Err(ClientError::Strange(control.to_owned())),
    }
}

/// Sends the request; the answer is everything until the process hangs up. The first bytes must come `until` then.
fn exchange(stream: &mut UnixStream, request: &Request, until: Instant) -> io::Result<Vec<u8>> {
    let left = until.saturating_duration_since(Instant::now());
    let patience = left.max(Duration::from_millis(1));
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = Vec::new();
    stream.take(ANSWER).read_to_end(&mut answer)?;
    Ok(answer)
}

/// As `jq` would write it.
fn document(value: &impl Serialize) -> String {
    // Nothing that is printed can fail to be JSON.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}
