//! `synward check` and `synward secret` from outside: every problem with its line, and the exit code.
//!
//! | file | what it shows |
//! |---|---|
//! | [`problems`] | what may be wrong in a file, line by line |
//! | [`files`] | files that are valid, and files that cannot be read |
//! | [`secrets`] | the secret file, and what is derived from it |
//! | [`usage`] | wrong use, commands to come, completions and manual pages |
#![allow(clippy::unwrap_used)]

mod files;
mod problems;
mod secrets;
mod usage;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// What a run printed and how it ended.
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

fn synward(arguments: &[&str]) -> Ran {
    let output: Output = Command::new(env!("CARGO_BIN_EXE_synward"))
        .args(arguments)
        .output()
        .unwrap();
    Ran {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A folder with a secret file and whatever a test adds.
struct Room(TempDir);

impl Room {
    fn new() -> Self {
        let room = Self(tempfile::tempdir().unwrap());
        room.write("secret", "ab".repeat(32), 0o600);
        room
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    /// A section to put at the end of a file: it names this room's secret, whatever the machine has in /etc.
    fn cookie(&self) -> String {
        format!(
            "\n[cookie]\nsecret = \"{}\"\n",
            self.0.path().join("secret").display()
        )
    }

    fn check(&self, text: impl AsRef<[u8]>) -> Ran {
        check(&self.write("f.toml", text, 0o644))
    }

    /// `FILE` in what is printed is the file that was checked, `DIR` the room.
    fn shorten(&self, text: &str) -> String {
        let folder = self.0.path().display().to_string();
        text.replace(&format!("{folder}/f.toml"), "FILE")
            .replace(&folder, "DIR")
    }
}

fn check(path: &Path) -> Ran {
    synward(&["check", "--config", path.to_str().unwrap()])
}

const INTERFACE: &str = "[[interface]]\nname = \"eth0\"\nside = \"both\"\n";
const SERVICE: &str = "[[service]]\nname = \"web\"\naddresses = [\"192.0.2.10\"]\nports = [80]\n";
