//! A finding: what is wrong, why it matters, and the command that fixes it.

use serde::Serialize;

use super::facts::Unread;
use super::setting::Change;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nothing to do.
    Ok,
    /// synward serves, but worse than it could, or it could not be looked at.
    Warn,
    /// synward does not start, or a service does not work.
    Fail,
}

impl Status {
    /// The word in the output.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One finding. The fields that are serialized are those of `doctor --json` (docs/doctor.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable and documented, such as `nic.lro`.
    pub id: &'static str,
    /// The interface that it is about.
    pub interface: Option<String>,
    /// The service that it is about.
    pub service: Option<String>,
    /// How bad it is.
    pub status: Status,
    /// What is.
    pub what: String,
    /// Why it matters.
    pub why: String,
    /// The command that mends it. `None`: there is nothing to mend, or no command does it.
    pub command: Option<String>,
    /// Whether `tune` runs the command.
    #[serde(rename = "tune")]
    pub by_tune: bool,
    /// What `tune` changes.
    #[serde(skip)]
    pub change: Option<Change>,
}

impl Finding {
    /// A finding about this machine.
    pub(super) fn new(
        id: &'static str,
        status: Status,
        what: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        Self {
            id,
            interface: None,
            service: None,
            status,
            what: what.into(),
            why: why.into(),
            command: None,
            by_tune: false,
            change: None,
        }
    }

    /// Something could not be looked at. What a device does not have is nothing to mend.
    pub(super) fn unread(
        id: &'static str,
        subject: &str,
        error: &Unread,
        why: impl Into<String>,
    ) -> Self {
        match error {
            Unread::Absent => Self::new(
                id,
                Status::Ok,
                format!("{subject}: there is none here, or the kernel does not report it"),
                why,
            ),
            Unread::Failed(cause) => Self::new(
                id,
                Status::Warn,
                format!("{subject} could not be read: {cause}"),
                why,
            ),
        }
    }

    /// Names the interface.
    pub(super) fn on(mut self, interface: &str) -> Self {
        self.interface = Some(interface.to_owned());
        self
    }

    /// Adds a command that only a human may run.
    pub(super) fn advise(mut self, command: impl Into<String>) -> Self {
        self.command = Some(command.into());
        self
    }

    /// Adds a change that `tune` makes.
    pub(super) fn mend(mut self, change: Change) -> Self {
        self.command = Some(change.to_string());
        self.by_tune = true;
        self.change = Some(change);
        self
    }
}

/// The exit code for findings: 0 all are ok, 1 one fails, 3 there are only warnings.
pub fn exit_code(findings: &[Finding]) -> u8 {
    match findings.iter().map(|finding| finding.status).max() {
        None | Some(Status::Ok) => 0,
        Some(Status::Fail) => 1,
        Some(Status::Warn) => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_finding_decides_the_exit_code() {
        let of = |status| Finding::new("numa", status, "", "");
        assert_eq!(exit_code(&[]), 0);
        assert_eq!(exit_code(&[of(Status::Ok)]), 0);
        assert_eq!(exit_code(&[of(Status::Ok), of(Status::Warn)]), 3);
        assert_eq!(
            exit_code(&[of(Status::Fail), of(Status::Warn), of(Status::Ok)]),
            1
        );
    }
}
