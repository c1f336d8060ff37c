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
    /// Its content when the configuration was loaded.
    pub content: SecretContent,
}

/// What is known of a secret file.
#[derive(Clone, Debug)]
pub enum SecretContent {
    /// Nothing: the file is absent, and may be created at first start.
    Absent,
    /// The secrets and keys.
    Keys(Keyring),
    /// The keys of the services are derived, and nothing is left to derive others: fingerprints, to compare files with
    /// ([`Keyring::fingerprints`]).
    Wiped(Vec<String>),
}

impl SecretContent {
    /// The secrets and keys, if they are there.
    pub fn keyring(&self) -> Option<&Keyring> {
        match self {
            Self::Keys(keyring) => Some(keyring),
            Self::Absent | Self::Wiped(_) => None,
        }
    }

    /// A short text for each line by which two files can be compared; none if the file is absent.
    pub fn fingerprints(&self) -> Vec<String> {
        match self {
            Self::Absent => Vec::new(),
            Self::Keys(keyring) => keyring.fingerprints(),
            Self::Wiped(fingerprints) => fingerprints.clone(),
        }
    }
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
                content: SecretContent::Absent,
            };
        };
        if read == ReadSecret::No {
            return Self {
                secret: path,
                content: SecretContent::Absent,
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
            content: keyring.map_or(SecretContent::Absent, SecretContent::Keys),
        }
    }

    /// Wipes the keys, once those of the services are derived.
    pub fn wipe(&mut self) {
        if let SecretContent::Keys(keyring) = &self.content {
            self.content = SecretContent::Wiped(keyring.fingerprints());
        }
    }

    /// The keys that were read. At first start: a new secret, written to the secret file (0600, its directory 0700)
    /// before this returns. Those that were wiped are read again.
    pub fn keyring(&self) -> Result<Keyring, Problems> {
        let error = |error| match error {
            secret::Error::Content(problems) => problems,
            other => Problem::of(&self.secret, other).into(),
        };
        match &self.content {
            SecretContent::Keys(keyring) => Ok(keyring.clone()),
            SecretContent::Wiped(_) => Keyring::read(&self.secret).map_err(error),
            SecretContent::Absent => Keyring::create(&self.secret).map_err(error),
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wiped_can_only_be_compared() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let keyring = Keyring::create(&path).unwrap();
        let mut cookie = Cookie {
            secret: path.clone(),
            content: SecretContent::Keys(keyring),
        };
        let before = cookie.content.fingerprints();
        cookie.wipe();
        assert!(cookie.content.keyring().is_none());
        assert_eq!((cookie.content.fingerprints(), before.len()), (before, 1));
        cookie.wipe();
        assert_eq!(cookie.content.fingerprints().len(), 1);
        let read = cookie.keyring().unwrap();
        assert_eq!(read.fingerprints(), cookie.content.fingerprints());
        std::fs::remove_file(path).unwrap();
        assert!(cookie.keyring().is_err(), "no other secret is made");
    }
}
