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

/// What takes longer than this in a lab has gone wrong.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// So many bytes of a program's name the kernel keeps (TASK_COMM_LEN, include/linux/sched.h).
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
    /// deploy/lab is not there. The appliance is looked for only when it is wanted.
    pub(super) fn find(synward: Option<&std::path::Path>, lab: &std::path::Path) -> Result<Self> {
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

/// What is between client and server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Path {
    /// An edge with two arms.
    Edge,
    /// Nothing.
    Direct,
}

/// What a piece of work needs of a lab.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Site {
    /// Receive queues of each interface; with one, floods and clients meet in it wherever they come from.
    pub(super) queues: u32,
    /// Ports of the server that are defended.
    pub(super) ports: &'static [u16],
    /// Whether there is an edge also where the defence is on the server, so that all have the same path.
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

/// A lab that stands; dropping it removes it with everything that runs in it.
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
    /// deploy/lab fails (it says why on stderr), or this program is interrupted.
    pub(super) fn up(
        programs: &'a Programs,
        name: &'a str,
        path: Path,
        site: Site,
        interrupt: &'a Interrupt,
    ) -> Result<Self> {
        // Removed however far it comes.
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
        // What the flood leaves no room for is lost, the client's frames too.
        command.args(["--no-qdisc", "--queues", &site.queues.to_string()]);
        let built = Process::start(&mut command, "deploy/lab up", &log, interrupt)
            .and_then(|process| process.finish(PATIENCE));
        // Left behind in a folder for that.
        let _ = std::fs::remove_file(log);
        built.map(|_| lab)
    }

    /// Lets what XDP transmits at the server, or is flooded at the edge, reach an edge that has no program of its own.
    ///
    /// # Errors
    /// The edge has other programs.
    pub(super) fn pass_through_edge(&self) -> Result<()> {
        if self.path == Path::Edge {
            self.pass(Role::Edge, "in0")?;
            self.pass(Role::Edge, "out0")?;
        }
        Ok(())
    }

    /// Ports of the server that are to be defended.
    pub(super) fn ports(&self) -> &'static [u16] {
        self.site.ports
    }

    /// Receive queues of each interface.
    pub(super) fn queues(&self) -> u32 {
        self.site.queues
    }

    /// A process of `program` in one of its namespaces: its folder in /proc.
    ///
    /// # Errors
    /// A namespace is gone.
    pub(super) fn process(&self, program: &std::path::Path) -> Result<Option<PathBuf>> {
        let namespaces = self.namespaces()?;
        let file = program.file_name().unwrap_or_default().to_string_lossy();
        let name = &file[..file.floor_char_boundary(COMM)];
        // Processes end meanwhile.
        let mut processes = std::fs::read_dir("/proc")?.filter_map(Result::ok);
        let found = processes.find(|process| {
            let path = process.path();
            std::fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == name)
                && std::fs::metadata(path.join("ns/net"))
                    .is_ok_and(|namespace| namespaces.contains(&namespace.ino()))
        });
        Ok(found.map(|process| process.path()))
    }

    /// Where frames of the client arrive first.
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

    /// The numbers of its network namespaces.
    ///
    /// # Errors
    /// One is gone.
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

    /// Lets time pass, in which what is under way is measured.
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

    /// This program, to be run in the lab.
    pub(super) fn bench(&self) -> &std::path::Path {
        &self.programs.bench
    }

    /// A folder that goes away with the lab.
    pub(super) fn folder(&self) -> PathBuf {
        PathBuf::from("/run/synward-lab").join(self.name)
    }

    /// Runs a program in a role's network namespace to its end; gives what it printed. No more than the network is
    /// that namespace's: not /sys.
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

    /// Starts a program in a role's network namespace; it need not end.
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

    /// Starts a program in a role's namespaces, with its /sys and a bpf file system of the lab's own.
    ///
    /// # Errors
    /// It does not start.
    pub(super) fn inhabit<const N: usize>(
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
