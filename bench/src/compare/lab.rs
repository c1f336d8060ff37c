//! A lab of network namespaces, as deploy/lab builds them, for one turn.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use std::os::unix::process::CommandExt as _;

use anyhow::{Context as _, Result, ensure};

use super::process::Process;
use crate::interrupt::Interrupt;

/// What takes longer than this in a lab has gone wrong.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// The programs that a turn starts.
pub(super) struct Programs {
    bench: PathBuf,
    pub(super) synward: PathBuf,
    lab: PathBuf,
}

impl Programs {
    /// This program itself, the appliance (beside it unless given) and deploy/lab.
    ///
    /// # Errors
    /// deploy/lab is not there. The appliance is looked for only when it is wanted.
    pub(super) fn find(synward: Option<&Path>, lab: &Path) -> Result<Self> {
        let bench = std::env::current_exe().context("the path of this program is not known")?;
        let lab = lab.canonicalize().with_context(|| {
            format!(
                "{} is not there: run from the repository, or say where it is with --lab",
                lab.display()
            )
        })?;
        Ok(Self {
            synward: match synward {
                Some(path) => std::path::absolute(path)?,
                None => bench.with_file_name("synward"),
            },
            bench,
            lab,
        })
    }
}

/// A namespace of a lab.
#[derive(Clone, Copy, Debug)]
pub(super) enum Role {
    Client,
    Edge,
    Server,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Edge => "edge",
            Self::Server => "server",
        }
    }
}

/// A lab that stands; dropping it removes it with everything that runs in it.
pub(super) struct Lab<'a> {
    programs: &'a Programs,
    name: &'a str,
    interrupt: &'a Interrupt,
}

impl<'a> Lab<'a> {
    /// Builds it.
    ///
    /// # Errors
    /// deploy/lab fails (it says why on stderr), or this program is interrupted.
    pub(super) fn up(
        programs: &'a Programs,
        name: &'a str,
        interrupt: &'a Interrupt,
    ) -> Result<Self> {
        // Removed however far it comes.
        let lab = Self {
            programs,
            name,
            interrupt,
        };
        let log = std::env::temp_dir().join(format!("synward-lab-{name}.log"));
        let mut command = lab.deploy();
        command.args(["up", name, "--file-mib", "1"]);
        let built = Process::start(&mut command, "deploy/lab up", &log, interrupt)
            .and_then(|process| process.finish(PATIENCE));
        // Left behind in a folder for that.
        let _ = std::fs::remove_file(log);
        built.map(|_| lab)
    }

    /// The appliance's program.
    pub(super) fn synward(&self) -> &Path {
        &self.programs.synward
    }

    /// This program, to be run in the lab.
    pub(super) fn bench(&self) -> &Path {
        &self.programs.bench
    }

    /// A folder that goes away with the lab.
    pub(super) fn folder(&self) -> PathBuf {
        Path::new("/run/synward-lab").join(self.name)
    }

    /// Runs a program in a role's network namespace to its end; gives what it printed. No more than the network is
    /// that namespace's: not /sys.
    ///
    /// # Errors
    /// It fails, or takes longer than `limit`.
    pub(super) fn run<const N: usize>(
        &self,
        role: Role,
        program: impl AsRef<Path>,
        arguments: [&str; N],
        limit: Duration,
    ) -> Result<String> {
        self.begin(role, program, arguments)?.finish(limit)
    }

    /// Starts a program in a role's network namespace; it need not end.
    ///
    /// # Errors
    /// It does not start.
    pub(super) fn begin<const N: usize>(
        &self,
        role: Role,
        program: impl AsRef<Path>,
        arguments: [&str; N],
    ) -> Result<Process<'a>> {
        let program = program.as_ref();
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/sw-{}-{}", self.name, role.name()))
            .arg(program)
            .args(arguments);
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{name} {}", arguments.first().unwrap_or(&""));
        self.start(&mut command, &name)
    }

    /// Starts a program in a role's namespaces, with its /sys and a bpf file system of the lab's own.
    ///
    /// # Errors
    /// It does not start.
    pub(super) fn inhabit<const N: usize>(
        &self,
        role: Role,
        program: &Path,
        arguments: [&str; N],
    ) -> Result<Process<'a>> {
        let mut command = self.deploy();
        command
            .args(["exec", self.name, role.name()])
            .arg(program)
            .args(arguments);
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        self.start(&mut command, &name)
    }

    /// Sets kernel parameters of a role's namespace.
    ///
    /// # Errors
    /// There is no such parameter.
    pub(super) fn sysctl(&self, role: Role, setting: &str) -> Result<()> {
        self.run(role, "sysctl", ["-qw", setting], PATIENCE)
            .map(drop)
    }

    /// Gives an interface a program that lets everything pass: frames that XDP transmits reach a veth only if it has one.
    ///
    /// # Errors
    /// It has another program.
    pub(super) fn pass(&self, role: Role, interface: &str) -> Result<()> {
        let arguments = ["pass", "--interface", interface];
        self.run(role, self.bench(), arguments, PATIENCE).map(drop)
    }

    fn start(&self, command: &mut Command, name: &str) -> Result<Process<'a>> {
        let file = name
            .split_whitespace()
            .collect::<Vec<_>>()
            .join("-")
            .replace('/', "_");
        let log = self.folder().join(format!("{file}.log"));
        Process::start(command, name, &log, self.interrupt)
    }

    fn deploy(&self) -> Command {
        let mut command = Command::new(&self.programs.lab);
        command.env("SYNWARD_BENCH", self.bench());
        command
    }
}

impl Drop for Lab<'_> {
    fn drop(&mut self) {
        // Also after an interruption: not in the terminal's process group, and waited for.
        let down = self
            .deploy()
            .args(["down", self.name])
            .process_group(0)
            .stdin(Stdio::null())
            .status();
        let removed = down.context("it does not start").and_then(|status| {
            ensure!(status.success(), "{status}");
            Ok(())
        });
        if let Err(error) = removed {
            super::tell(&format!(
                "`deploy/lab down {}` failed: {error:#}; run it by hand",
                self.name
            ));
        }
    }
}
