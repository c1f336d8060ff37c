//! What the running appliance keeps for reloads: where the configuration comes from, how a thread asks for a reload, and what the
//! last one did.

use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, Sender, SyncSender, sync_channel};
use std::time::Duration;

use crate::config::{Config, Problem, Problems};
use crate::events::unix_seconds;
use crate::observe::Histogram;
use crate::observe::control_protocol::ReloadReport;
use crate::problem::Fault;

/// How long a request waits for the control thread.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why a request is refused that comes too late.
pub(super) const STOPPING: &str = "the appliance is stopping";

/// What is said of a secret file that was there at the start.
const SECRET_GONE: &str = "is gone, and the running process has its secret; put it back";

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub struct ConfigSource {
    /// The file.
    pub file: PathBuf,
    /// The control socket, if the command line names one.
    pub control: Option<PathBuf>,
}

impl ConfigSource {
    /// Reads the configuration.
    ///
    /// # Errors
    /// Every problem, as `synward check` prints it.
    pub(super) fn read(&self) -> Result<Config, Vec<String>> {
        let lines = |problems: Problems| -> Vec<String> {
            problems
                .0
                .into_iter()
                .map(for_running_process)
                .map(|problem| problem.to_string())
                .collect()
        };
        let mut config = Config::load(&self.file).map_err(lines)?;
        if config.cookie.content.keyring().is_none() {
            let problem = Problem::of(&config.cookie.secret, SECRET_GONE);
            return Err(vec![problem.to_string()]);
        }
        if let Some(control) = &self.control {
            config.appliance.control.clone_from(control);
        }
        Ok(config)
    }
}

/// A problem, with the cure of a running process where that of a command does not help, or harms: another secret would refuse
/// the cookies of the other machines.
fn for_running_process(problem: Problem) -> Problem {
    let what = match problem.what {
        Fault::Text(text) => text,
        Fault::Absent => {
            "there is no such file; put it back: it is the one that the process was started with"
                .into()
        }
        Fault::NoSecret(path) => format!("the secret file {} {SECRET_GONE}", path.display()),
        Fault::Unreadable(subject) => format!(
            "{}cannot be read: permission denied; a running synward reads files that root may read (chmod u+r) in the \
             directories that its configuration named at the start; restart it for others",
            subject.map(|subject| subject + " ").unwrap_or_default()
        ),
    };
    Problem {
        what: what.into(),
        ..problem
    }
}

/// A request to reload: where the report goes.
pub type ReloadRequest = SyncSender<ReloadReport>;

/// Asks the control thread to reload, and waits for its report.
///
/// # Errors
/// Why there is none. If the time was over, the configuration may change nevertheless.
pub(super) fn request(reloads: &Sender<ReloadRequest>) -> Result<ReloadReport, String> {
    let (report, reports) = sync_channel(1);
    reloads.send(report).map_err(|_| STOPPING)?;
    reports.recv_timeout(PATIENCE).map_err(|error| {
        let why = match error {
            RecvTimeoutError::Timeout => {
                "the reload was asked for, but is not done after 15 s; `synward status` shows its result later"
            }
            RecvTimeoutError::Disconnected => STOPPING,
        };
        why.to_owned()
    })
}

/// The result of the last reload.
#[derive(Clone, Debug)]
pub struct LastReload {
    /// Whether it took effect; true before the first reload.
    pub successful: bool,
    /// When one last took effect, or the process started: seconds since 1970.
    pub success_at: f64,
    /// What it changed, or why it was refused; empty before the first reload.
    pub report: Vec<String>,
}

impl LastReload {
    pub(super) fn at_start() -> Self {
        Self {
            successful: true,
            success_at: unix_seconds(),
            report: Vec::new(),
        }
    }

    pub(super) fn note(&mut self, report: &ReloadReport) {
        self.successful = report.done;
        if report.done {
            self.success_at = unix_seconds();
        }
        self.report.clone_from(&report.lines);
    }
}

/// What workers counted for services that are gone, for metrics of all services.
#[derive(Clone, Debug, Default)]
pub struct PastCounts {
    /// Times of handoffs.
    pub handoffs: Histogram,
    /// Handoffs refused by a full flow table.
    pub table_full: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret;
    use std::path::Path;
    use std::thread;

    #[test]
    fn a_request_without_a_control_thread_is_refused() {
        let (requests, receiver) = std::sync::mpsc::channel();
        drop(receiver);
        assert_eq!(request(&requests).unwrap_err(), STOPPING);
        let (requests, receiver) = std::sync::mpsc::channel::<ReloadRequest>();
        let answering = thread::spawn(move || drop(receiver.recv()));
        assert!(request(&requests).is_err(), "it has stopped meanwhile");
        assert!(answering.join().is_ok());
    }

    #[test]
    fn what_a_running_process_cannot_read_has_a_cure_of_its_own() {
        let secret = |error: secret::Error| Fault::from(error);
        let denied = secret::Error::Denied("/s".into());
        assert_eq!(
            denied.to_string(),
            Fault::from(secret::Error::Denied("/s".into())).to_string()
        );
        for (what, begin) in [
            (Fault::Unreadable(None), "f.toml:3: cannot be read: "),
            (
                Fault::Unreadable(Some("`allow_file`: /etc/list".into())),
                "f.toml:3: `allow_file`: /etc/list cannot be read: ",
            ),
            (
                secret(denied),
                "f.toml:3: the secret file /s cannot be read: ",
            ),
        ] {
            let problem = Problem::at(Path::new("f.toml"), 3, what);
            assert!(problem.to_string().contains("run as root"), "{problem}");
            let text = for_running_process(problem).to_string();
            assert!(text.starts_with(begin), "{text}");
            assert!(text.contains("restart") && !text.contains("run as root"));
        }
        let absent = secret(secret::Error::Absent("/s".into()));
        let problem = Problem::at(Path::new("f.toml"), 8, absent);
        assert_eq!(
            for_running_process(problem).to_string(),
            "f.toml:8: the secret file /s is gone, and the running process has its secret; put it back"
        );
        let gone = for_running_process(Problem::of(Path::new("f.toml"), Fault::Absent));
        assert!(
            gone.to_string()
                .starts_with("f.toml: there is no such file; put it back")
        );
        let other = Problem::at(Path::new("f.toml"), 1, "else");
        assert_eq!(for_running_process(other).to_string(), "f.toml:1: else");
    }

    #[test]
    fn the_last_success_stays_when_a_reload_is_refused() {
        let mut last = LastReload::at_start();
        let started = last.success_at;
        last.note(&ReloadReport::refused(vec!["f:1: no".into()]));
        assert_eq!((last.successful, last.success_at), (false, started));
        assert_eq!(last.report, ["f:1: no"]);
        last.note(&ReloadReport {
            done: true,
            lines: vec![],
        });
        assert!(last.successful && last.success_at >= started);
    }
}
