//! `synward run`: starts an appliance from its configuration, serves, and stops it.
//!
//! | file | idea |
//! |---|---|
//! | `sockets`, `socket_rebind` | AF_XDP sockets: of all queues at the start, and of queues that have lost theirs |
//! | `stalled_sockets` | closes sockets whose driver completes nothing, to be opened again |
//! | [`start`] | sockets, workers, and the order of the start |
//! | `tested_start` | the self-test, and the modes that it leads to |
//! | `reception_test` | whether servers still answer when sockets have zero-copy |
//! | `absence_watch` | ends of absences in which clients passed unchallenged |
//! | `fault_watch` | what is wrong with interfaces and workers: looked up every second, repaired where that is safe, logged |
//! | `forwarding_watch` | whether the kernel forwards at all |
//! | `transmission_watch` | what is not transmitted while the appliance serves |
//! | [`control_thread`], `control_pulse` | the control thread: periodic work and signals; whether it hangs |
//! | `attack_watch`, `attack_totals`, `attack_events` | which services are under attack, by which counts; what is recorded of it |
//! | `attack_sources` | the sources that SYNs of attacks claim |
//! | `capture_target` | what `synward capture` has to know |
//! | [`drain`], `list_control` | draining; allow and deny lists at run time |
//! | [`server_profiles`] | the TCP options of servers: probed at start, refined by every SYN-ACK |
//! | [`server_probe`] | the probe |
//! | [`server_evidence`] | which options a server supports, by what its SYN-ACKs have said so far |
//! | [`running_appliance`] | the running appliance behind one lock, for the control thread and observers |
//! | `control_requests` | the requests of these observers |
//! | `reload`, `reload_request`, `service_slots` | another configuration while it runs; the indices of services |
//! | `waiting_clients` | clients that came while no worker served their queue |
//! | `stop_signals` | signals, from before anything is attached |
//! | `watchdog` | reports to the service manager that everything works |
//! | `flow_listing` | walks the flow table for `flows` |
//! | `open_files` | the limit of open files |
//! | `snapshot_builder`, `outcome_counts` | builds the parts of a snapshot for metrics and `status`; what workers counted |

#![forbid(unsafe_code)]

mod absence_watch;
mod attack_events;
mod attack_sources;
mod attack_totals;
mod attack_watch;
mod capture_target;
mod control_pulse;
mod control_requests;
pub mod control_thread;
pub mod drain;
mod fault_watch;
mod flow_listing;
mod forwarding_watch;
mod list_control;
mod open_files;
mod outcome_counts;
mod reception_test;
pub mod reload;
pub mod reload_request;
pub mod running_appliance;
pub mod server_evidence;
pub mod server_probe;
pub mod server_profiles;
mod service_slots;
mod snapshot_builder;
mod socket_rebind;
mod sockets;
mod stalled_sockets;
pub mod start;
pub mod stop_signals;
mod tested_start;
mod transmission_watch;
mod waiting_clients;
mod watchdog;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::channel;

use anyhow::Context as _;

use crate::config::{Config, SecretContent, Service};
use crate::confinement::{self, Directories};
use crate::events::{CommandLink, EventLog, program_warnings};
use crate::steering::remove_left;

use reload_request::ConfigSource;
use running_appliance::RunningAppliance;
use stop_signals::{StopSignals, Stopped};

/// Serves in the foreground until SIGTERM or SIGINT. Prints problems of the configuration, one per line. Any other error
/// is returned and is one sentence.
///
/// # Errors
/// The appliance cannot start. All changes to the system are undone.
pub fn run(file: &Path, control: Option<&Path>, keep_steering: bool) -> anyhow::Result<ExitCode> {
    if let Err(error) = confinement::forbid_core_dumps() {
        tracing::warn!("core dumps, which would hold keys, cannot be forbidden: {error}");
    }
    let mut config = match Config::load(file) {
        Ok(config) => config,
        Err(problems) => {
            // If stderr is closed or full, the exit code still shows the failure.
            let _ = std::io::stderr().write_all(format!("{problems}\n").as_bytes());
            return Ok(ExitCode::FAILURE);
        }
    };
    if let Some(control) = control {
        config.appliance.control = control.to_owned();
    }
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    for (line, what) in program_warnings(&config) {
        tracing::warn!("{}:{line}: {what}", file.display());
    }
    let directories = directories(file, &config);
    let programs = CommandLink::start(&config.services)
        .context("the process that runs the programs of on_event cannot be started")?;
    // The programs of on_event keep the limit that synward was started with.
    if let Err(error) = open_files::allow_most() {
        tracing::warn!("the limit of open files cannot be raised: {error}");
    }
    config.cookie.content =
        SecretContent::Keys(config.cookie.keyring().map_err(anyhow::Error::from)?);
    let signals = StopSignals::register()?;
    let (mut appliance, profiles) = match start::start_appliance(config.clone(), &signals) {
        Err(error) if error.is::<Stopped>() => {
            tracing::info!("{error}");
            // A start that fails leaves what an earlier process had attached; a stop leaves nothing, as later.
            if let (false, Some(pin)) = (keep_steering, &config.appliance.pin) {
                remove_left(pin)?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        started => started?,
    };
    // Each service has its own keys now. Whoever took over a thread would find no others in memory.
    appliance.config.cookie.wipe();
    config.cookie.wipe();
    let events = EventLog::new(programs);
    let source = ConfigSource {
        // Other commands have another working directory.
        file: std::path::absolute(file).unwrap_or_else(|_| file.to_owned()),
        control: control.map(Path::to_owned),
    };
    let (reloads, requests) = channel();
    let running = RunningAppliance::new(appliance, profiles, events, config, source, reloads);
    control_thread::serve_until_signal(running, requests, keep_steering, &directories, &signals)?;
    Ok(ExitCode::SUCCESS)
}

/// The files of its lists.
fn list_files(service: &Service) -> impl Iterator<Item = &Path> {
    let files = [&service.allow_file, &service.deny_file];
    files.into_iter().filter_map(|file| file.path.as_deref())
}

/// What the control thread reaches after the start: the configuration, the secret and the files of lists, to read them again; the
/// control socket and the pins, to remove them.
fn directories(file: &Path, config: &Config) -> Directories {
    let parent = |path: &Path| {
        path.parent().map(|parent| {
            if parent.as_os_str().is_empty() {
                Path::new(".")
            } else {
                parent
            }
            .to_owned()
        })
    };
    let pin = config.appliance.pin.as_deref().and_then(parent);
    Directories {
        read: [file, &config.cookie.secret]
            .into_iter()
            .chain(config.services.iter().flat_map(list_files))
            .filter_map(parent)
            .collect(),
        change: parent(&config.appliance.control)
            .into_iter()
            .chain(pin)
            .collect(),
    }
}
