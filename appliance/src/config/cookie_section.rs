//! `[cookie]`: the file with the secrets from which cookie keys are derived.

use std::path::{Path, PathBuf};

use super::appliance_section::absolute_path;
use super::config_report::ConfigReport;
use super::section_reader::Table;
use super::service_settings::{Handoff, Service};
use crate::problem::{Problem, Problems};
use crate::secret::{self, Keyring, ServiceKey};

/// The secret file and its content.
#[derive(Clone, Debug)]
pub struct Cookie {
    /// Path of the secret file.
    pub secret: PathBuf,
    /// Its content when the configuration was loaded; `None` if the file is absent and may be created at first start.
    pub keyring: Option<Keyring>,
}

/// Default path of the secret file.
pub const DEFAULT_SECRET: &str = "/etc/synward/secret";

/// Whether the secret file is read and checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadSecret {
    Yes,
    No,
}

impl Cookie {
    /// Reads the section, then the secret file if it exists. `default` is the path if the section sets none.
    pub(super) fn read(
        table: Option<&Table<'_>>,
        services: &[Service],
        default: &Path,
        read: ReadSecret,
        report: &ConfigReport,
    ) -> Self {
        let set = table.and_then(|table| table.value("secret"));
        let cure = r#"use an absolute path, such as "/etc/synward/secret""#;
        let path = match &set {
            Some(value) => absolute_path(value, cure),
            None => Some(default.to_owned()),
        };
        let Some(path) = path else {
            return Self {
                secret: default.to_owned(),
                keyring: None,
            };
        };
        if read == ReadSecret::No {
            return Self {
                secret: path,
                keyring: None,
            };
        }
        let line = set
            .map(|value| value.line)
            .or(table.map(|table| table.line))
            .unwrap_or(1);
        let keyring = match Keyring::read(&path) {
            Ok(keyring) => Some(keyring),
            Err(secret::Error::Absent(_)) if set.is_none() && !is_shared(services) => None,
            Err(secret::Error::Content(problems)) => {
                report.foreign(problems);
                None
            }
            Err(error) => {
                report.problem(line, error);
                None
            }
        };
        if let Some(keyring) = &keyring {
            require_keys(keyring, &path, services, report);
        }
        Self {
            secret: path,
            keyring,
        }
    }

    /// Wipes the keys; what remains tells whether another file has the same.
    pub fn forget_keys(&mut self) {
        if let Some(keyring) = &mut self.keyring {
            keyring.forget();
        }
    }

    /// The keys that were read. At first start: a new secret, written to the secret file (0600, its directory 0700)
    /// before this returns.
    pub fn keyring(&self) -> Result<Keyring, Problems> {
        match &self.keyring {
            Some(keyring) => Ok(keyring.clone()),
            None => Keyring::create(&self.secret).map_err(|error| match error {
                secret::Error::Content(problems) => problems,
                other => Problem::of(&self.secret, other).into(),
            }),
        }
    }
}

/// Whether another machine needs the same secret, in which case none is created at first start.
fn is_shared(services: &[Service]) -> bool {
    services
        .iter()
        .any(|service| service.handoff == Handoff::Forward)
}

/// Reports services without a key, or with more than [`secret::MAX_KEYS`]: the data plane holds no more for a service.
fn require_keys(keyring: &Keyring, path: &Path, services: &[Service], report: &ConfigReport) {
    for service in services {
        let keys: Vec<ServiceKey> = keyring.service_keys(&service.name);
        if keys.is_empty() {
            let name = &service.name;
            report.problem(
                service.line,
                format!(
                    "service \"{name}\" has no key in {}; add what `synward secret --service {name}` prints where the secret is",
                    path.display()
                ),
            );
        } else if keys.len() > secret::MAX_KEYS {
            let (name, count, path) = (&service.name, keys.len(), path.display());
            report.problem(
                service.line,
                format!(
                    "service \"{name}\" has {count} keys in {path}; at most {} are possible",
                    secret::MAX_KEYS
                ),
            );
        }
    }
}
