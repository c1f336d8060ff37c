//! The secret file: text, 1 to 4 lines, each a secret of 64 hex digits or `service:NAME:` and the 64 hex digits of one
//! service's key. The first line that applies to a service issues its cookies; the cookies of all lines are accepted. To
//! rotate, append the new secret on every node, then move it to the top, and later remove the old one.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::error::Error;
use super::key_derivation::{derive_service_key, fingerprint};
use super::key_material::{Secret, ServiceKey, from_hex, to_hex};
use super::service_name::is_service_name;
use crate::problem::{Problem, Problems};
use crate::regular_file::{self, FileError};

/// Maximum number of keys of a service, and so of secrets in a file.
pub const MAX_KEYS: usize = 4;

/// Bytes that are read; a valid file is much shorter.
const MAX_BYTES: u64 = 64 * 1024;

/// The lines of a secret file, in order; not empty.
#[derive(Clone, Debug)]
pub struct Keyring(Vec<Entry>);

#[derive(Clone, Debug)]
enum Entry {
    Secret(Secret),
    Service { name: String, key: ServiceKey },
}

impl Keyring {
    /// Reads a secret file. It belongs to root or to the user of this process, and only its owner may have access to it.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let wrong = |error: FileError| match error {
            FileError::Io(error) if error.kind() == ErrorKind::NotFound => {
                Error::Absent(path.to_owned())
            }
            FileError::Io(error) if error.kind() == ErrorKind::PermissionDenied => {
                Error::Denied(path.to_owned())
            }
            FileError::Io(error) => Error::Read {
                path: path.to_owned(),
                error,
            },
            error => Error::File {
                path: path.to_owned(),
                error,
            },
        };
        let file = regular_file::open(path).map_err(wrong)?;
        let metadata = file.metadata().map_err(|error| wrong(error.into()))?;
        let (owner, me) = (metadata.uid(), rustix::process::geteuid().as_raw());
        if owner != 0 && owner != me {
            let path = path.to_owned();
            return Err(Error::Owner { path, owner, me });
        }
        let mode = metadata.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(Error::Mode {
                path: path.to_owned(),
                mode,
            });
        }
        let mut bytes = Zeroizing::new(Vec::new());
        regular_file::read_all(file, MAX_BYTES, &mut bytes).map_err(wrong)?;
        Ok(Self::parse(path, &bytes)?)
    }

    /// Generates a secret and writes it to a new file with mode 0600, in directories created as needed with 0700. The file
    /// is synced before this returns. If another process creates the file at the same time, that file is read.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let secret = Secret::generate()?;
        let line = Zeroizing::new(secret.to_hex() + "\n");
        match write_new(path, line.as_bytes()) {
            Ok(()) => Ok(Self(vec![Entry::Secret(secret)])),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Self::read(path),
            Err(error) => Err(Error::Create {
                path: path.to_owned(),
                error,
            }),
        }
    }

    /// The keys of a service: the first issues cookies, all are accepted. Empty if no line applies to the service.
    pub fn service_keys(&self, service: &str) -> Vec<ServiceKey> {
        let key = |entry: &Entry| match entry {
            Entry::Secret(secret) => Some(derive_service_key(secret, service)),
            Entry::Service { name, key } => (name == service).then(|| key.clone()),
        };
        self.0.iter().filter_map(key).collect()
    }

    /// A short text for each line, in order, by which two files can be compared and nothing is given away.
    pub fn fingerprints(&self) -> Vec<String> {
        let fingerprint = |entry: &Entry| match entry {
            Entry::Secret(secret) => fingerprint(&secret.0),
            Entry::Service { name, key } => format!("{name}:{}", fingerprint(&key.0)),
        };
        self.0.iter().map(fingerprint).collect()
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Problems> {
        let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        lines.pop_if(|last| last.is_empty());
        if lines.is_empty() {
            return Err(
                Problem::at(path, 1, "is empty; write what `synward secret` prints").into(),
            );
        }
        let mut problems = Vec::new();
        // It does not grow, which would leave copies behind.
        let mut entries = Vec::with_capacity(lines.len());
        let mut secrets = 0;
        for (index, line) in lines.iter().enumerate() {
            if let Some(first) = lines[..index]
                .iter()
                .position(|earlier| earlier.eq_ignore_ascii_case(line))
            {
                problems.push(Problem::at(
                    path,
                    index + 1,
                    format!("is the same as line {}; remove one", first + 1),
                ));
                continue;
            }
            match parse_line(line) {
                Err(what) => problems.push(Problem::at(path, index + 1, what)),
                Ok(entry) => {
                    secrets += usize::from(matches!(entry, Entry::Secret(_)));
                    if secrets == MAX_KEYS + 1 && matches!(entry, Entry::Secret(_)) {
                        problems.push(Problem::at(
                            path,
                            index + 1,
                            format!(
                                "is secret {secrets}; at most {MAX_KEYS} are \
                            possible: remove the oldest"
                            ),
                        ));
                    }
                    entries.push(entry);
                }
            }
        }
        if problems.is_empty() {
            Ok(Self(entries))
        } else {
            Err(Problems(problems))
        }
    }
}

/// The line of a service's key in a secret file.
pub fn service_line(service: &str, key: &ServiceKey) -> String {
    format!("service:{service}:{}", to_hex(&key.0))
}

/// Parses a line. The error says what is wrong with it, but never shows its content.
fn parse_line(line: &[u8]) -> Result<Entry, String> {
    const CURE: &str = "write 64 hex digits (`synward secret`) or service:NAME:64 hex digits (`synward secret --service NAME`)";
    let Ok(text) = std::str::from_utf8(line) else {
        return Err(format!("is not text; {CURE}"));
    };
    if text.starts_with('\u{feff}') {
        return Err("begins with a byte order mark; save the file as UTF-8 without one".into());
    }
    if text.is_empty() {
        return Err("is empty; remove it".into());
    }
    if text.trim() != text {
        return Err("begins or ends with white space; remove that".into());
    }
    let Some(rest) = text.strip_prefix("service:") else {
        return hex(text, CURE).map(|bytes| Entry::Secret(Secret(bytes)));
    };
    match rest.split_once(':') {
        Some((name, digits)) if is_service_name(name) => {
            hex(digits, CURE).map(|bytes| Entry::Service {
                name: name.to_owned(),
                key: ServiceKey(bytes),
            })
        }
        _ => Err(format!("names no service; {CURE}")),
    }
}

fn hex(digits: &str, cure: &str) -> Result<[u8; 32], String> {
    from_hex(digits).ok_or_else(|| match digits.chars().count() {
        64 => format!("has 64 characters, but not all of them are hex digits; {cure}"),
        count => format!("has {count} characters where 64 hex digits belong; {cure}"),
    })
}

/// Writes a new file. It appears under its name only when it is complete and synced.
fn write_new(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let directory = path
        .parent()
        .filter(|directory| !directory.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    // Not the pid: containers that share the directory often have the same pid.
    let unique = getrandom::u64().map_err(std::io::Error::other)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".new-{unique:016x}"));
    let temporary = PathBuf::from(temporary);
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        // Independent of the umask.
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(content)?;
        file.sync_all()?;
        // Unlike a rename, a link does not replace an existing file.
        fs::hard_link(&temporary, path)
    })();
    let _ = fs::remove_file(&temporary);
    written?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Keyring, String> {
        Keyring::parse(Path::new("s"), text.as_bytes()).map_err(|problems| problems.to_string())
    }

    fn keys(keyring: &Keyring, service: &str) -> Vec<[u8; 32]> {
        keyring
            .service_keys(service)
            .iter()
            .map(|key| key.0)
            .collect()
    }

    #[test]
    fn the_first_line_issues_and_all_lines_are_accepted() {
        let keyring = parse(&format!("{}\n{}\n", "01".repeat(32), "02".repeat(32))).unwrap();
        let expected = [1, 2].map(|byte| derive_service_key(&Secret([byte; 32]), "web").0);
        assert_eq!(keys(&keyring, "web"), expected);
    }

    #[test]
    fn a_service_line_replaces_the_secret_for_that_service_only() {
        let secret = Secret([9; 32]);
        let line = service_line("web", &derive_service_key(&secret, "web"));
        let narrow = parse(&line).unwrap();
        let full = parse(&secret.to_hex()).unwrap();
        assert_eq!(keys(&narrow, "web"), keys(&full, "web"));
        assert!(keys(&narrow, "mail").is_empty());
    }

    #[test]
    fn wrong_lines_are_named_but_not_shown() {
        let good = "ab".repeat(32);
        let refused = |text: &str| parse(text).map(|_| ()).unwrap_err();
        assert_eq!(
            refused(""),
            "s:1: is empty; write what `synward secret` prints"
        );
        assert!(
            refused("abc\n")
                .starts_with("s:1: has 3 characters where 64 hex digits belong; write 64 hex")
        );
        assert!(
            refused(&"x".repeat(64))
                .starts_with("s:1: has 64 characters, but not all of them are hex digits")
        );
        assert_eq!(
            refused(&format!("{good}\n\n{}\n", "cd".repeat(32))),
            "s:2: is empty; remove it"
        );
        assert_eq!(
            refused(&format!("{good}\r\n")),
            "s:1: begins or ends with white space; remove that"
        );
        assert_eq!(
            refused(&format!("{good}\n{}\n", good.to_uppercase())),
            "s:2: is the same as line 1; remove one"
        );
        assert!(refused("service:We b:00").starts_with("s:1: names no service"));
        assert!(refused("service:web:00").starts_with("s:1: has 2 characters where"));
        assert_eq!(
            refused(&format!("\u{feff}{good}\n")),
            "s:1: begins with a byte order mark; save the file as UTF-8 without one"
        );
        let five: String = (1..=5)
            .map(|byte| format!("{byte:02}").repeat(32) + "\n")
            .collect();
        assert_eq!(
            refused(&five),
            "s:5: is secret 5; at most 4 are possible: remove the oldest"
        );
        let broken = Keyring::parse(Path::new("s"), &[0xff; 64])
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(broken.starts_with("s:1: is not text"));
    }

    #[test]
    fn a_created_file_is_private_and_reads_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/secret");
        assert!(matches!(Keyring::read(&path), Err(Error::Absent(_))));
        let created = Keyring::create(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert_eq!(
            fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1,
            "the temporary file is removed"
        );
        assert_eq!(
            keys(&Keyring::read(&path).unwrap(), "web"),
            keys(&created, "web")
        );
        assert_eq!(
            keys(&Keyring::create(&path).unwrap(), "web"),
            keys(&created, "web"),
            "an existing file is never replaced"
        );
    }

    #[test]
    fn a_file_of_another_user_is_refused() {
        if !rustix::process::geteuid().is_root() {
            // Only root can give a file away.
            let _ = std::io::stderr().write_all(b"SKIPPED: a test that needs root\n");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        Keyring::create(&path).unwrap();
        std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
        let refused = Keyring::read(&path).unwrap_err().to_string();
        assert!(
            refused.contains("belongs to user 65534") && refused.contains("chown 0 "),
            "{refused}"
        );
        std::os::unix::fs::chown(&path, Some(0), None).unwrap();
        assert!(Keyring::read(&path).is_ok());
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        fs::write(&path, "ab".repeat(32)).unwrap();
        for (mode, accepted) in [
            (0o600, true),
            (0o400, true),
            (0o640, false),
            (0o604, false),
            (0o620, false),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(Keyring::read(&path).is_ok(), accepted, "{mode:o}");
        }
        let refused = Keyring::read(&path).unwrap_err().to_string();
        assert!(
            refused.contains("mode 0620") && refused.contains("chmod 600"),
            "{refused}"
        );
        assert!(matches!(
            Keyring::read(directory.path()),
            Err(Error::File { .. })
        ));
    }
}
