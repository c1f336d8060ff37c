//! The server's end of the control socket.

use std::path::Path;
use std::sync::Arc;

use super::exchange::{Exchange, Protocol};
use super::protocol::{ModeOf, Request, Response};
use super::socket_file::{ControlError, SocketFile};
use super::source::Source;
use crate::config::{Choice as _, Mode};

/// The control socket. It lives in a thread of its own until it is dropped, which removes the socket's file.
#[derive(Debug)]
pub struct ControlServer {
    // Dropped first: a client should find no file rather than one that nobody serves.
    _file: SocketFile,
    _exchange: Exchange,
}

impl ControlServer {
    /// Listens on the socket at `path`, which only its owner may use; makes the folder that it is in. The file that a
    /// dead process left is replaced.
    pub fn start(path: &Path, source: Arc<dyn Source>) -> Result<Self, ControlError> {
        let (file, listener) = SocketFile::claim(path)?;
        let exchange = Exchange::start("control", listener, Control { source })
            .map_err(|error| ControlError::Listen(path.to_owned(), error))?;
        Ok(Self {
            _file: file,
            _exchange: exchange,
        })
    }
}

struct Control {
    source: Arc<dyn Source>,
}

impl Protocol for Control {
    fn answer(&mut self, received: &[u8], more: bool) -> Option<Vec<u8>> {
        let line = match received.iter().position(|byte| *byte == b'\n') {
            Some(end) => &received[..end],
            None if more || received.is_empty() => return None,
            None => received,
        };
        let response = match serde_json::from_slice(line) {
            Ok(request) => self.respond(request),
            Err(error) => Response::Error(format!("this is no request: {error}")),
        };
        // Nothing in a response can fail to be JSON.
        let mut text = serde_json::to_vec(&response).ok()?;
        text.push(b'\n');
        Some(text)
    }
}

impl Control {
    fn respond(&self, request: Request) -> Response {
        match request {
            Request::Status => Response::Status(Box::new(self.source.snapshot())),
            Request::Flows { limit } => Response::Flows(self.source.flows(limit)),
            Request::Mode(wanted) => match self.set_mode(&wanted) {
                Ok(()) => Response::Mode(wanted),
                Err(why) => Response::Error(why),
            },
        }
    }

    fn set_mode(&self, wanted: &ModeOf) -> Result<(), String> {
        let ModeOf { service, mode } = wanted;
        let mode = Mode::parse("mode", mode)?;
        let services = self.source.snapshot().services;
        if services.iter().any(|known| known.name == *service) {
            return self.source.set_mode(service, mode);
        }
        let names: Vec<_> = services.iter().map(|known| known.name.as_str()).collect();
        Err(format!(
            "there is no service {service:?}; there is {}",
            names.join(", ")
        ))
    }
}
