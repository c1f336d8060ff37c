//! The server side of the control socket.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::appliance_handle::{ApplianceHandle, DrainCommand};
use super::control_protocol::{Request, Response, ServiceMode, no_service};
use super::request_server::{Protocol, RequestServer};
use super::socket_file::{ControlError, SocketFile};
use crate::config::{Choice as _, Mode};

/// The longest time of a request: a year.
pub(super) const MAX_SECONDS: u64 = 365 * 86_400;

/// The control socket, served by a thread of its own. Dropping it stops the thread and removes the socket's file.
#[derive(Debug)]
pub struct ControlServer {
    // Dropped first, so that no client finds a file that no thread serves.
    _file: SocketFile,
    _server: RequestServer,
}

impl ControlServer {
    /// Listens on the socket at `path` with access for its owner only, and creates its directory if needed. Replaces the
    /// file of a dead process.
    pub fn start(path: &Path, appliance: Arc<dyn ApplianceHandle>) -> Result<Self, ControlError> {
        let (file, listener) = SocketFile::create(path)?;
        let server = RequestServer::start("control", listener, Control { appliance })
            .map_err(|error| ControlError::Listen(path.to_owned(), error))?;
        Ok(Self {
            _file: file,
            _server: server,
        })
    }
}

/// Whether a process may listen on the socket at `path`: before a start changes anything.
///
/// # Errors
/// As [`ControlServer::start`].
pub fn check_control_socket(path: &Path) -> Result<(), ControlError> {
    SocketFile::create(path).map(drop)
}

struct Control {
    appliance: Arc<dyn ApplianceHandle>,
}

impl Protocol for Control {
    fn answer(&mut self, received: &[u8], more: bool) -> Option<Vec<u8>> {
        let line = match received.iter().position(|byte| *byte == b'\n') {
            Some(end) => &received[..end],
            None if more || received.is_empty() => return None,
            None => received,
        };
        let response = match serde_json::from_slice(line) {
            Ok(request) => match self.appliance.why_unreadable() {
                Some(why) => Response::Unreadable(why),
                None => self.respond(request),
            },
            Err(error) => Response::Error(format!("this is not a request: {error}")),
        };
        // Serialization of a response cannot fail.
        let mut text = serde_json::to_vec(&response).ok()?;
        text.push(b'\n');
        Some(text)
    }
}

impl Control {
    fn respond(&self, request: Request) -> Response {
        match request {
            Request::Status => Response::Status(Box::new(self.appliance.snapshot())),
            Request::Flows(query) => match self.appliance.flows(&query) {
                Ok(list) => Response::Flows(list),
                Err(why) => Response::Error(why),
            },
            Request::Mode(request) => match self.set_mode(&request) {
                Ok(()) => Response::Mode(request),
                Err(why) => Response::Error(why),
            },
            Request::Lists(request) => match self.appliance.lists(&request) {
                Ok(answer) => Response::Lists(answer),
                Err(why) => Response::Error(why),
            },
            Request::Drain { seconds } => self.drain(DrainCommand::Begin(
                seconds.map(|seconds| Duration::from_secs(seconds.min(MAX_SECONDS))),
            )),
            Request::Undrain => self.drain(DrainCommand::End),
            Request::Drained => Response::Drain(self.appliance.drained()),
            Request::Reload => match self.appliance.reload() {
                Ok(report) => Response::Reload(report),
                Err(why) => Response::Error(why),
            },
            Request::Configuration => {
                Response::Configuration(Box::new(self.appliance.configuration()))
            }
            Request::Capture { service } => match self.appliance.capture_target(&service) {
                Ok(target) => Response::Capture(target),
                Err(why) => Response::Error(why),
            },
        }
    }

    fn drain(&self, command: DrainCommand) -> Response {
        match self.appliance.drain(command) {
            Ok(view) => Response::Drain(view),
            Err(why) => Response::Error(why),
        }
    }

    fn set_mode(&self, request: &ServiceMode) -> Result<(), String> {
        let ServiceMode { service, mode } = request;
        let mode = Mode::parse("mode", mode)?;
        let services = self.appliance.snapshot().services;
        if services.iter().any(|known| known.name == *service) {
            return self.appliance.set_mode(service, mode);
        }
        let names: Vec<_> = services.iter().map(|known| known.name.as_str()).collect();
        Err(no_service(service, &names))
    }
}
