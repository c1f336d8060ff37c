//! A lab of network namespaces, as deploy/lab builds them, for one turn.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;

use anyhow::{Context as _, Result, ensure};

use super::process::Process;
use super::progress::print_progress;
use crate::interrupt::Interrupt;

/// Limit for anything in a lab that should end by itself.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a program's name that the kernel keeps (TASK_COMM_LEN, include/linux/sched.h).
const COMM: usize = 15;

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
    /// deploy/lab does not exist. The appliance is looked up only when it is started.
    pub(super) fn find(synward: Option<&std::path::Path>, lab: &std::path::Path) -> Result<Self> {
        let bench = std::env::current_exe().context("the path of this program is not known")?;
        let lab = lab.canonicalize().with_context(|| {
            format!(
                "{} does not exist: run from the repository, or give its path with --lab",
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

/// The path between client and server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Path {
    /// An edge with two arms.
    Edge,
    /// Nothing.
    Direct,
}

/// Properties of the lab that a workload needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Site {
    /// Receive queues of each interface; with one, floods and clients share it.
    pub(super) queues: u32,
    /// Defended ports of the server.
    pub(super) ports: &'static [u16],
    /// Whether a defence on the server has an edge in front of it too, so that the path is the same for all.
    pub(super) same_path: bool,
}

impl Default for Site {
    fn default() -> Self {
        Self {
            queues: 2,
            ports: &[80],
            same_path: true,
        }
    }
}

/// A lab; dropping it removes it and ends everything that runs in it.
pub(super) struct Lab<'a> {
    programs: &'a Programs,
    name: &'a str,
    path: Path,
    site: Site,
    interrupt: &'a Interrupt,
}

impl<'a> Lab<'a> {
    /// Builds it.
    ///
    /// # Errors
    /// deploy/lab fails (with the reason on stderr), or this program is interrupted.
    pub(super) fn up(
        programs: &'a Programs,
        name: &'a str,
        path: Path,
        site: Site,
        interrupt: &'a Interrupt,
    ) -> Result<Self> {
        // Drop removes a lab that was built only in part.
        let lab = Self {
            programs,
            name,
            path,
            site,
            interrupt,
        };
        let log = std::env::temp_dir().join(format!("synward-lab-{name}.log"));
        let mut command = lab.deploy();
        let arms = match path {
            Path::Edge => "two",
            Path::Direct => "none",
        };
        command.args(["up", name, "--file-mib", "1", "--arms", arms]);
        // Frames for which the flood leaves no room are lost, the client's too.
        command.args(["--no-qdisc", "--queues", &site.queues.to_string()]);
        let built = Process::start(&mut command, "deploy/lab up", &log, interrupt)
            .and_then(|process| process.finish(PATIENCE));
        // If this fails, the file stays in the temporary directory.
        let _ = std::fs::remove_file(log);
        built.map(|_| lab)
    }

    /// Attaches pass programs to an edge without programs of its own, so that frames transmitted by XDP at the server,
    /// or flooded at the edge, arrive there.
    ///
    /// # Errors
    /// The edge has other XDP programs.
    pub(super) fn pass_through_edge(&self) -> Result<()> {
        if self.path == Path::Edge {
            self.pass(Role::Edge, "in0")?;
            self.pass(Role::Edge, "out0")?;
        }
        Ok(())
    }

    /// Ports of the server to defend.
    pub(super) fn ports(&self) -> &'static [u16] {
        self.site.ports
    }

    /// Receive queues of each interface.
    pub(super) fn queues(&self) -> u32 {
        self.site.queues
    }

    /// The /proc folder of a process of `program` in one of the lab's namespaces.
    ///
    /// # Errors
    /// A namespace no longer exists.
    pub(super) fn process(&self, program: &std::path::Path) -> Result<Option<PathBuf>> {
        let namespaces = self.namespaces()?;
        let file = program.file_name().unwrap_or_default().to_string_lossy();
        let name = &file[..file.floor_char_boundary(COMM)];
        // Processes may end while /proc is read.
        let mut processes = std::fs::read_dir("/proc")?.filter_map(Result::ok);
        let found = processes.find(|process| {
            let path = process.path();
            std::fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == name)
                && std::fs::metadata(path.join("ns/net"))
                    .is_ok_and(|namespace| namespaces.contains(&namespace.ino()))
        });
        Ok(found.map(|process| process.path()))
    }

    /// The interface where the client's frames arrive first.
    pub(super) fn front(&self) -> (Role, &'static str) {
        match self.path {
            Path::Edge => (Role::Edge, "out0"),
            Path::Direct => (Role::Server, "server0"),
        }
    }

    /// Frames that an interface has received.
    ///
    /// # Errors
    /// There is no such interface.
    pub(super) fn received(&self, role: Role, interface: &str) -> Result<u64> {
        let devices = self.run(role, "cat", ["/proc/net/dev"], PATIENCE)?;
        received(&devices, interface)
            .with_context(|| format!("/proc/net/dev of the {} has no {interface}", role.name()))
    }

    /// The inode numbers of its network namespaces.
    ///
    /// # Errors
    /// One no longer exists.
    pub(super) fn namespaces(&self) -> Result<Vec<u64>> {
        [Role::Client, Role::Edge, Role::Server]
            .into_iter()
            .map(|role| {
                let path = self.namespace(role);
                let metadata = std::fs::metadata(&path);
                Ok(metadata.with_context(|| format!("{path} is gone"))?.ino())
            })
            .collect()
    }

    /// Sleeps while a measurement runs.
    ///
    /// # Errors
    /// This program is interrupted.
    pub(super) fn pause(&self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            ensure!(!self.interrupt.requested(), "interrupted");
            match end.saturating_duration_since(Instant::now()) {
                Duration::ZERO => return Ok(()),
                left => sleep(left.min(Duration::from_millis(50))),
            }
        }
    }

    /// The appliance's program.
    pub(super) fn synward(&self) -> &std::path::Path {
        &self.programs.synward
    }

    /// The path of `bench`.
    pub(super) fn bench(&self) -> &std::path::Path {
        &self.programs.bench
    }

    /// A folder that is removed with the lab.
    pub(super) fn folder(&self) -> PathBuf {
        PathBuf::from("/run/synward-lab").join(self.name)
    }

    /// Runs a program in a role's network namespace and returns its output. Only the network is the namespace's, not
    /// /sys.
    ///
    /// # Errors
    /// It fails, or takes longer than `limit`.
    pub(super) fn run<const N: usize>(
        &self,
        role: Role,
        program: impl AsRef<std::path::Path>,
        arguments: [&str; N],
        limit: Duration,
    ) -> Result<String> {
        self.begin(role, program, arguments)?.finish(limit)
    }

    /// Starts a program in a role's network namespace, without waiting for it.
    ///
    /// # Errors
    /// It does not start.
    pub(super) fn begin<'b>(
        &self,
        role: Role,
        program: impl AsRef<std::path::Path>,
        arguments: impl AsRef<[&'b str]>,
    ) -> Result<Process<'a>> {
        let (program, arguments) = (program.as_ref(), arguments.as_ref());
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.namespace(role)))
            .arg(program)
            .args(arguments);
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{name} {}", arguments.first().unwrap_or(&""));
        self.start(&mut command, &name)
    }

    /// Starts a program in a role's namespaces, with its /sys and the lab's own bpf file system.
    ///
    /// # Errors
    /// It does not start.
    pub(super) fn start_inside<const N: usize>(
        &self,
        role: Role,
        program: &std::path::Path,
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

    /// Attaches a pass program to an interface: frames that XDP transmits reach a veth only if it has an XDP program.
    ///
    /// # Errors
    /// It has another XDP program.
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

    fn namespace(&self, role: Role) -> String {
        format!("/run/netns/sw-{}-{}", self.name, role.name())
    }

    fn deploy(&self) -> Command {
        let mut command = Command::new(&self.programs.lab);
        command.env("SYNWARD_BENCH", self.bench());
        command
    }
}

impl Drop for Lab<'_> {
    fn drop(&mut self) {
        // This also runs after an interruption: the process is outside the terminal's process group, and is waited for.
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
            print_progress(&format!(
                "`deploy/lab down {}` failed: {error:#}; run it by hand",
                self.name
            ));
        }
    }
}

/// The second column of /proc/net/dev: packets received.
fn received(devices: &str, interface: &str) -> Option<u64> {
    devices.lines().find_map(|line| {
        let (name, columns) = line.split_once(':')?;
        let packets = columns.split_whitespace().nth(1)?;
        (name.trim() == interface)
            .then(|| packets.parse().ok())
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn received_packets_are_found_by_interface() {
        let devices = "Inter-|   Receive |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets
    lo:       0       1    0    0    0     0          0         0        0       0
  out0: 1234567      42    0    0    0     0          0         0        0       7
";
        assert_eq!(received(devices, "out0"), Some(42));
        assert_eq!(received(devices, "in0"), None);
    }
}
