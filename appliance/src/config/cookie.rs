//! `[cookie]`: where the secrets are that cookies are made with.

use std::path::{Path, PathBuf};

use super::appliance::absolute;
use super::reader::Table;
use super::report::Report;
use super::service::{Handoff, Service};
use crate::problem::{Problem, Problems};
use crate::secret::{self, Keyring, ServiceKey};

/// The secret file and what was in it.
#[derive(Clone, Debug)]
pub struct Cookie {
    /// Path of the secret file.
    pub secret: PathBuf,
    /// What it held when the configuration was loaded; `None` if it is absent and may be made at first start.
    pub keyring: Option<Keyring>,
}

/// Where the secret file is unless the configuration says otherwise.
pub const DEFAULT_SECRET: &str = "/etc/synward/secret";

impl Cookie {
    /// Reads the section, and then the secret file if there is one. `default` is the file to use where none is set.
    pub(super) fn read(
        table: Option<&Table<'_>>,
        services: &[Service],
        default: &Path,
        report: &Report,
    ) -> Self {
        let set = table.and_then(|table| table.value("secret"));
        let cure = r#"use an absolute path, such as "/etc/synward/secret""#;
        let path = match &set {
            Some(value) => absolute(value, cure),
            None => Some(default.to_owned()),
        };
        let Some(path) = path else {
            return Self {
                secret: default.to_owned(),
                keyring: None,
            };
        };
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
                report.problem(line, error.to_string());
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

    /// The keys: those read, or at first start a new secret, which is written to the secret file (0600, its folder
    /// 0700) before this returns.
    pub fn keyring(&self) -> Result<Keyring, Problems> {
        match &self.keyring {
            Some(keyring) => Ok(keyring.clone()),
            None => Keyring::create(&self.secret).map_err(|error| match error {
                secret::Error::Content(problems) => problems,
                other => Problem::of(&self.secret, other.to_string()).into(),
            }),
        }
    }
}

/// Whether another machine has to know the secret too, so that none may be made here at first start.
fn is_shared(services: &[Service]) -> bool {
    services
        .iter()
        .any(|service| service.handoff == Handoff::Forward)
}

/// Every service needs a key, and the data plane takes at most [`secret::MAX_KEYS`] of them.
fn require_keys(keyring: &Keyring, path: &Path, services: &[Service], report: &Report) {
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
