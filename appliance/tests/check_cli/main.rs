//! `synward check` and `synward secret` as a user runs them: every problem with its line, and the exit code.
//!
//! | file | tests |
//! |---|---|
//! | [`problems`] | problems of a file, line by line |
//! | [`files`] | valid files, and files that cannot be read |
//! | [`secrets`] | the secret file and the derived keys |
//! | [`usage`] | wrong use, completions and manual pages |
#![allow(clippy::unwrap_used)]

mod files;
mod problems;
#[path = "../program_run/mod.rs"]
mod program_run;
mod secrets;
mod usage;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use program_run::{ProgramRun, run_synward};

/// A temporary directory with a secret file and the files of a test.
struct TestFolder(TempDir);

impl TestFolder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("secret", "ab".repeat(32), 0o600);
        folder
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    /// A section for the end of a file. It names the secret file of this directory, so that /etc is not read.
    fn cookie(&self) -> String {
        format!(
            "\n[cookie]\nsecret = \"{}\"\n",
            self.0.path().join("secret").display()
        )
    }

    /// Leaves out that this machine has no interface of the file's name.
    fn check(&self, text: impl AsRef<[u8]>) -> ProgramRun {
        let mut ran = check(&self.write("f.toml", text, 0o644));
        let lines = ran.stderr.split_inclusive('\n');
        ran.stderr = lines
            .filter(|line| !line.contains("no interface eth0 here"))
            .collect();
        ran
    }

    /// Replaces the checked file by `FILE` and the directory by `DIR` in printed text.
    fn shorten(&self, text: &str) -> String {
        let folder = self.0.path().display().to_string();
        text.replace(&format!("{folder}/f.toml"), "FILE")
            .replace(&folder, "DIR")
    }
}

fn check(path: &Path) -> ProgramRun {
    run_synward(&["check", "--config", path.to_str().unwrap()])
}

const INTERFACE: &str = "[[interface]]\nname = \"eth0\"\nside = \"both\"\n";
const SERVICE: &str = "[[service]]\nname = \"web\"\naddresses = [\"192.0.2.10\"]\nports = [80]\n";
