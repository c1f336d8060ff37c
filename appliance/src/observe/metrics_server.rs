//! `GET /metrics`, `GET /healthz` and `GET /readyz` over HTTP/1.1 (RFC 9112), one request per connection.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use super::appliance_handle::ApplianceHandle;
use super::metrics;
use super::request_server::{Protocol, RequestServer};

/// Why metrics cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Another process listens there.
    #[error(
        "metrics address {0} is in use by another process; stop that, or choose another with `metrics` in [appliance]"
    )]
    InUse(SocketAddr),
    /// The address is not one of this machine.
    #[error(
        "metrics address {0} is not an address of this machine; choose one of those that `ip address` shows with `metrics` in \
        [appliance]"
    )]
    NotHere(SocketAddr),
    /// Ports below 1024 need CAP_NET_BIND_SERVICE.
    #[error(
        "not allowed to listen on metrics address {0}; choose a port from 1024 on with `metrics` in [appliance], or run as root"
    )]
    NotAllowed(SocketAddr),
    /// Any other error.
    #[error(
        "cannot listen on metrics address {address}: {error}; choose another with `metrics` in [appliance], or \"\" for none"
    )]
    Other {
        /// The requested address.
        address: SocketAddr,
        /// The kernel's error.
        error: io::Error,
    },
}

impl HttpError {
    fn new(address: SocketAddr, error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::AddrInUse => Self::InUse(address),
            ErrorKind::AddrNotAvailable => Self::NotHere(address),
            ErrorKind::PermissionDenied => Self::NotAllowed(address),
            _ => Self::Other { address, error },
        }
    }
}

/// The metrics endpoint, served by a thread of its own until it is dropped.
#[derive(Debug)]
pub struct MetricsServer {
    address: SocketAddr,
    _server: RequestServer,
}

impl MetricsServer {
    /// Listens on `address`; with port 0 the kernel chooses one.
    pub fn start(
        address: SocketAddr,
        appliance: Arc<dyn ApplianceHandle>,
    ) -> Result<Self, HttpError> {
        let start = || {
            let listener = TcpListener::bind(address)?;
            let address = listener.local_addr()?;
            let server = RequestServer::start("metrics", listener, Http { appliance })?;
            Ok(Self {
                address,
                _server: server,
            })
        };
        start().map_err(|error| HttpError::new(address, error))
    }

    /// The address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Whether a process may listen on the address: before a start changes anything.
///
/// # Errors
/// As [`MetricsServer::start`].
pub fn check_metrics_address(address: SocketAddr) -> Result<(), HttpError> {
    let bound = TcpListener::bind(address).map(drop);
    bound.map_err(|error| HttpError::new(address, error))
}

struct Http {
    appliance: Arc<dyn ApplianceHandle>,
}

impl Protocol for Http {
    fn answer(&mut self, received: &[u8], more: bool) -> Option<Vec<u8>> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        let reply = match request.parse(received) {
            Ok(httparse::Status::Complete(_)) => {
                let (method, target) = (request.method?, request.path?);
                let reply = self.reply(method, target);
                return Some(reply.bytes(method == "HEAD"));
            }
            Ok(httparse::Status::Partial) if more || received.is_empty() => return None,
            Ok(httparse::Status::Partial) => Reply::text(
                "431 Request Header Fields Too Large",
                "the request is too long or incomplete\n",
            ),
            Err(_) => Reply::text("400 Bad Request", "this is not HTTP/1.1\n"),
        };
        Some(reply.bytes(false))
    }
}

impl Http {
    fn reply(&self, method: &str, target: &str) -> Reply {
        // The path of an origin-form target. Queries are ignored.
        let path = target.split('?').next().unwrap_or_default();
        if !["/metrics", "/healthz", "/readyz"].contains(&path) {
            let cure = "not found; use /metrics, /healthz or /readyz\n";
            return Reply::text("404 Not Found", cure);
        }
        if !["GET", "HEAD"].contains(&method) {
            return Reply::text("405 Method Not Allowed", "use GET\n").with("Allow: GET, HEAD\r\n");
        }
        if let Some(why) = self.appliance.why_unreadable() {
            return Reply::text("503 Service Unavailable", why + "\n");
        }
        let snapshot = self.appliance.snapshot();
        if path == "/metrics" {
            return Reply {
                content_type: metrics::CONTENT_TYPE,
                ..Reply::text("200 OK", metrics::render(&snapshot))
            };
        }
        // A process that drains is healthy: it should not be restarted, but get no new connections.
        let reasons = if path == "/healthz" {
            snapshot.degraded_reasons().join("\n")
        } else {
            snapshot.unready_reasons().join("\n")
        };
        if reasons.is_empty() {
            Reply::text("200 OK", "ok\n")
        } else {
            Reply::text("503 Service Unavailable", reasons + "\n")
        }
    }
}

struct Reply {
    status: &'static str,
    content_type: &'static str,
    header: &'static str,
    body: String,
}

impl Reply {
    fn text(status: &'static str, body: impl Into<String>) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            header: "",
            body: body.into(),
        }
    }

    fn with(self, header: &'static str) -> Self {
        Self { header, ..self }
    }

    /// The reply on the wire; without the body in reply to HEAD.
    fn bytes(self, head: bool) -> Vec<u8> {
        let Self {
            status,
            content_type,
            header,
            body,
        } = self;
        let length = body.len();
        let body = if head { "" } else { &body };
        format!("HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\nCache-Control: \
            no-store\r\n{header}Connection: close\r\n\r\n{body}").into_bytes()
    }
}
