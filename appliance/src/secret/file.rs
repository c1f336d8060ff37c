//! The secret file: text, 1 to 4 lines, each a secret of 64 hex digits or `service:NAME:` and the 64 hex digits of one
//! service's key. The first line that applies to a service issues cookies, all of them are accepted: so a new secret
//! is first appended on every node, then moved to the top, and later the old one is removed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{Secret, ServiceKey, derive_service_key, from_hex, to_hex};
use crate::config::is_name;
use crate::problem::{Problem, Problems};

/// Keys of one service at a time, and so also secrets in a file.
pub const MAX_KEYS: usize = 4;

/// Far more than any valid file has.
const MAX_BYTES: u64 = 64 * 1024;

/// The lines of a secret file, in order; not empty.
#[derive(Clone, Debug)]
pub struct Keyring(Vec<Entry>);

#[derive(Clone, Debug)]
enum Entry {
    Secret(Secret),
    Service { name: String, key: ServiceKey },
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file does not exist.
    #[error("there is no secret file {path}; make one: synward secret > {path}; chmod 600 {path}", path = .0.display())]
    Absent(PathBuf),
    /// The file is not a plain file.
    #[error("the secret file {} is not a regular file; name a text file", .0.display())]
    NotAFile(PathBuf),
    /// More than the owner may read or write the file; the permission bits.
    #[error("the secret file {path} has mode {mode:04o}, so others can get at it; run: chmod 600 {path}", path = path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Reading failed.
    #[error("the secret file {} cannot be read: {source}; run as its owner or as root", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: std::io::Error,
    },
    /// Creating failed.
    #[error("the secret file {path} cannot be made: {source}; run as root, or make it: synward secret > {path}; chmod 600 {path}", path = path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: std::io::Error,
    },
    /// Lines are wrong; what they hold is never shown.
    #[error(transparent)]
    Content(#[from] Problems),
    /// The kernel gives no random bytes.
    #[error("the kernel gives no random bytes: {0}")]
    NoRandom(String),
}

impl Keyring {
    /// Reads a secret file, which nobody but its owner may be able to read or write.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let wrong = |source: std::io::Error| match source.kind() {
            ErrorKind::NotFound => Error::Absent(path.to_owned()),
            _ => Error::Read {
                path: path.to_owned(),
                source,
            },
        };
        // Looked at before it is opened, because opening a FIFO would wait; and again once it is open.
        if !fs::metadata(path).map_err(wrong)?.is_file() {
            return Err(Error::NotAFile(path.to_owned()));
        }
        let file = File::open(path).map_err(wrong)?;
        let mode = file.metadata().map_err(wrong)?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(Error::Mode {
                path: path.to_owned(),
                mode,
            });
        }
        let mut bytes = Zeroizing::new(Vec::new());
        file.take(MAX_BYTES)
            .read_to_end(&mut bytes)
            .map_err(wrong)?;
        Ok(Self::parse(path, &bytes)?)
    }

    /// Makes a secret and writes it to a new file: mode 0600, folders as needed 0700, on the disk before this returns.
    /// If somebody else makes the file at the same moment, theirs is read.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let secret = Secret::generate()?;
        let line = Zeroizing::new(secret.to_hex() + "\n");
        match write_new(path, line.as_bytes()) {
            Ok(()) => Ok(Self(vec![Entry::Secret(secret)])),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Self::read(path),
            Err(source) => Err(Error::Create {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// The keys of the service of that name: the first issues, all are accepted. Empty if no line applies to it.
    pub fn service_keys(&self, service: &str) -> Vec<ServiceKey> {
        let key = |entry: &Entry| match entry {
            Entry::Secret(secret) => Some(derive_service_key(secret, service)),
            Entry::Service { name, key } => (name == service).then(|| key.clone()),
        };
        self.0.iter().filter_map(key).collect()
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
        let mut entries = Vec::new();
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
                        problems.push(Problem::at(path, index + 1, format!("is secret {secrets}; at most {MAX_KEYS} are possible: remove the oldest")));
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

/// The line that stands for one service's key in a secret file.
pub fn service_line(service: &str, key: &ServiceKey) -> String {
    format!("service:{service}:{}", to_hex(&key.0))
}

/// The error says what is wrong with the line, but never what it holds.
fn parse_line(line: &[u8]) -> Result<Entry, String> {
    const CURE: &str = "write 64 hex digits (`synward secret`) or service:NAME:64 hex digits (`synward secret --service NAME`)";
    let Ok(text) = std::str::from_utf8(line) else {
        return Err(format!("is not text; {CURE}"));
    };
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
        Some((name, digits)) if is_name(name) => hex(digits, CURE).map(|bytes| Entry::Service {
            name: name.to_owned(),
            key: ServiceKey(bytes),
        }),
        _ => Err(format!("names no service; {CURE}")),
    }
}

fn hex(digits: &str, cure: &str) -> Result<[u8; 32], String> {
    from_hex(digits).ok_or_else(|| match digits.chars().count() {
        64 => format!("has 64 characters, but not all of them are hex digits; {cure}"),
        count => format!("has {count} characters where 64 hex digits belong; {cure}"),
    })
}

/// Writes a file that did not exist. It appears under its name only when it is complete and on the disk.
fn write_new(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    // Not the process's number: in containers that share the folder it is often the same.
    let unique = getrandom::u64().map_err(std::io::Error::other)?;
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".new-{unique:016x}"));
    let draft = PathBuf::from(draft);
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)?;
        // Whatever the umask is.
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(content)?;
        file.sync_all()?;
        // Unlike a rename, a link replaces nobody's file.
        fs::hard_link(&draft, path)
    })();
    let _ = fs::remove_file(&draft);
    written?;
    File::open(folder)?.sync_all()
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
    fn the_first_line_issues_and_all_are_accepted() {
        let keyring = parse(&format!("{}\n{}\n", "01".repeat(32), "02".repeat(32))).unwrap();
        let expected = [1, 2].map(|byte| derive_service_key(&Secret([byte; 32]), "web").0);
        assert_eq!(keys(&keyring, "web"), expected);
    }

    #[test]
    fn a_service_line_stands_in_for_the_secret_of_that_service_alone() {
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
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/secret");
        assert!(matches!(Keyring::read(&path), Err(Error::Absent(_))));
        let made = Keyring::create(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert_eq!(
            fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1,
            "no draft is left behind"
        );
        assert_eq!(
            keys(&Keyring::read(&path).unwrap(), "web"),
            keys(&made, "web")
        );
        assert_eq!(
            keys(&Keyring::create(&path).unwrap(), "web"),
            keys(&made, "web"),
            "an existing file is never replaced"
        );
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
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
            Keyring::read(folder.path()),
            Err(Error::NotAFile(_))
        ));
    }
}
