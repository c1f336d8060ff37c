//! `[appliance]`: settings of the process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::choice::choice;
use super::limits;
use super::section_reader::{Table, Value};

/// The process: its sockets, threads and pinned objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appliance {
    /// Path of the control socket.
    pub control: PathBuf,
    /// Address of the metrics endpoint; `None` = no endpoint.
    pub metrics: Option<SocketAddr>,
    /// CPUs of the workers.
    pub cores: Cores,
    /// How workers wait.
    pub polling: Polling,
    /// What answers SYNs.
    pub responder: Responder,
    /// Directory on a BPF file system for links and maps; `None` = nothing is pinned.
    pub pin: Option<PathBuf>,
    /// How long after the start clients' segments that match no flow pass; zero = they never pass. Segments from a server
    /// create a flow at any time.
    pub adopt: Duration,
}

/// Which CPUs workers are pinned to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cores {
    /// All CPUs that the process may run on.
    Auto,
    /// These CPUs, in this order; not empty, no duplicates.
    List(Vec<usize>),
}

choice! {
    /// How a worker waits for packets.
    pub Polling {
        /// Spins while packets arrive, sleeps when idle.
        Adaptive = "adaptive",
        /// Never sleeps.
        Busy = "busy",
    }
}

choice! {
    /// What answers a SYN.
    pub Responder {
        /// A worker on queues with zero-copy, the XDP program on the others.
        Auto = "auto",
        /// Always a worker on an AF_XDP socket.
        Afxdp = "afxdp",
        /// Always the XDP program.
        Xdp = "xdp",
    }
}

/// Default path of the control socket.
pub const DEFAULT_CONTROL: &str = "/run/synward/control.sock";

impl Default for Appliance {
    fn default() -> Self {
        Self {
            control: DEFAULT_CONTROL.into(),
            metrics: Some(([127, 0, 0, 1], 9470).into()),
            cores: Cores::Auto,
            polling: Polling::Adaptive,
            responder: Responder::Auto,
            pin: Some("/sys/fs/bpf/synward".into()),
            adopt: Duration::from_secs(10),
        }
    }
}

impl Appliance {
    pub(super) fn read(table: &Table<'_>) -> Self {
        let default = Self::default();
        Self {
            control: table
                .value("control")
                .and_then(|value| control(&value))
                .unwrap_or(default.control),
            metrics: table
                .value("metrics")
                .map_or(default.metrics, |value| metrics(&value)),
            cores: table
                .value("cores")
                .and_then(|value| cores(&value))
                .unwrap_or(default.cores),
            polling: table.choice_or("polling", default.polling),
            responder: table.choice_or("responder", default.responder),
            pin: table.value("pin").map_or(default.pin, |value| pin(&value)),
            adopt: Duration::from_secs(table.number_or(
                "adopt_seconds",
                limits::ADOPT_SECONDS,
                default.adopt.as_secs(),
            )),
        }
    }
}

fn control(value: &Value<'_>) -> Option<PathBuf> {
    let path = absolute_path(
        value,
        r#"use an absolute path, such as "/run/synward/control.sock""#,
    )?;
    if path.as_os_str().len() > limits::SOCKET_PATH {
        value.wrong(&format!(
            "a socket's path has at most {} bytes",
            limits::SOCKET_PATH
        ));
        return None;
    }
    Some(path)
}

fn metrics(value: &Value<'_>) -> Option<SocketAddr> {
    let cure =
        r#"use an address and a port, such as "127.0.0.1:9470" or "[::1]:9470", or "" for none"#;
    let text = value.text(cure).filter(|text| !text.is_empty())?;
    let address = text
        .parse()
        .ok()
        .filter(|address: &SocketAddr| address.port() != 0);
    if address.is_none() {
        value.wrong(cure);
    }
    address
}

fn cores(value: &Value<'_>) -> Option<Cores> {
    let cure = r#"use "auto" or a list of CPU numbers, such as [2, 3]"#;
    let cores = value.word_or_numbers("auto", limits::CORE, limits::QUEUES, cure)?;
    Some(cores.map_or(Cores::Auto, Cores::List))
}

fn pin(value: &Value<'_>) -> Option<PathBuf> {
    let cure = r#"use an absolute path on a BPF file system, such as "/sys/fs/bpf/synward", or "" for none"#;
    if value.as_text() == Some("") {
        return None;
    }
    absolute_path(value, cure)
}

/// Reads an absolute path without `..` and control characters. Anything else is a problem.
pub(super) fn absolute_path(value: &Value<'_>, cure: &str) -> Option<PathBuf> {
    let text = value.text(cure)?;
    let path = Path::new(text);
    let climbs = path
        .components()
        .any(|part| part == std::path::Component::ParentDir);
    if !path.is_absolute()
        || climbs
        || text.contains(char::is_control)
        || path.file_name().is_none()
    {
        value.wrong(cure);
        return None;
    }
    Some(path.to_owned())
}
