//! Two network namespaces with a veth between them, and a configuration. Removed when the test ends, even if it fails.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use synward::secret::Keyring;

use super::foreign_program;

/// The interface of the configuration.
pub(crate) const HERE: &str = "sw-here";

pub(crate) struct Lab {
    name: String,
    folder: tempfile::TempDir,
}

impl Lab {
    /// A machine without faults, except that its pin folder is not on a BPF file system.
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let lab = Lab {
            name: format!("sw-doc-{}-{number}", std::process::id()),
            folder: tempfile::tempdir().unwrap(),
        };
        // Another user reads the configuration and runs the program.
        fs::set_permissions(lab.folder.path(), Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(lab.bpffs()).unwrap();
        fs::write(
            lab.config(),
            format!(
                "[appliance]\npin = {:?}\ncontrol = \"{folder}/control\"\nmetrics = \"\"\n\
                 [cookie]\nsecret = \"{folder}/secret\"\n\
                 [[interface]]\nname = \"{HERE}\"\nside = \"both\"\nzero_copy = \"on\"\n\
                 [[service]]\nname = \"web\"\naddresses = [\"192.0.2.10\"]\nports = [80]\n",
                lab.bpffs().join("synward"),
                folder = lab.folder.path().display()
            ),
        )
        .unwrap();
        for namespace in [lab.here(), lab.there()] {
            run("ip", &["netns", "add", &namespace]);
        }
        let add = ["link", "add", HERE, "netns", &lab.here(), "type", "veth"];
        let peer = ["peer", "name", "sw-there", "netns", &lab.there()];
        run("ip", &[&add[..], &peer].concat());
        lab.ip(&["link", "set", HERE, "up"]);
        let there = format!("--net=/run/netns/{}", lab.there());
        run("nsenter", &[&there, "ip", "link", "set", "sw-there", "up"]);
        lab.inside("ethtool", &["-K", HERE, "rxvlan", "off"]);
        lab
    }

    /// Plants a fault of each kind that a veth can have.
    pub(crate) fn plant(&self) {
        // The program must be pinned while ip(8) attaches it, and is held by nobody afterwards.
        let bpffs = self.folder.path().join("other");
        fs::create_dir(&bpffs).unwrap();
        run("mount", &["-t", "bpf", "bpf", bpffs.to_str().unwrap()]);
        let pin = bpffs.join("drop_all");
        foreign_program::pin(&foreign_program::load("drop_all"), &pin);
        let pin = pin.to_str().unwrap();
        self.ip(&["link", "set", HERE, "xdpgeneric", "pinned", pin]);
        run("umount", &[bpffs.to_str().unwrap()]);

        self.ip(&["link", "set", HERE, "mtu", "9000"]);
        self.inside("ethtool", &["-K", HERE, "rxvlan", "on"]);
        self.inside("sysctl", &["-qw", "net.ipv4.tcp_syncookies=0"]);
    }

    /// Everything that a run might change: features, link, sysctl and mounts.
    pub(crate) fn state(&self) -> String {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let folder = self.folder.path().to_str().unwrap();
        let mounts = mounts.lines().filter(|line| line.contains(folder));
        [
            self.inside("ethtool", &["-k", HERE]),
            self.inside("ip", &["-details", "link", "show"]),
            self.inside("sysctl", &["net.ipv4.tcp_syncookies"]),
            mounts.collect(),
        ]
        .concat()
    }

    /// What `doctor --json` reports. The exit code agrees with the worst finding.
    pub(crate) fn doctor(&self) -> Value {
        let config = self.config();
        let config = config.to_str().unwrap();
        let (code, text) = self.synward(&["doctor", "--config", config, "--json"]);
        let report: Value = serde_json::from_str(&text).unwrap();
        let has = |status: &str| {
            let mut findings = report.as_array().unwrap().iter();
            findings.any(|finding| finding["status"] == status)
        };
        let worst = match (has("fail"), has("warn")) {
            (true, _) => 1,
            (false, true) => 3,
            (false, false) => 0,
        };
        assert_eq!(code, worst, "{text}");
        report
    }

    /// Runs `tune` with a record of this lab. Returns its exit code and what it printed.
    pub(crate) fn tune(&self, arguments: &[&str]) -> (i32, String) {
        let (config, record) = (self.config(), self.record());
        let (config, record) = (config.to_str().unwrap(), record.to_str().unwrap());
        let always = ["tune", "--config", config, "--state", record];
        self.synward(&[&always[..], arguments].concat())
    }

    /// Runs `tune`, and kills it while it runs its command number `at`, counted from 0: before the command changes something, which
    /// it then does within a second, or after. Returns whether `tune` was killed, and not too short for that.
    pub(crate) fn killed_tune(&self, at: usize, after: bool, arguments: &[&str]) -> bool {
        let bin = self.folder.path().join("bin");
        let count = self.folder.path().join("count");
        fs::create_dir_all(&bin).unwrap();
        fs::write(&count, "").unwrap();
        let (first, last) = match after {
            true => ("", "kill -9 $PPID"),
            false => ("kill -9 $PPID; sleep 0.5", ""),
        };
        for program in ["ethtool", "ip", "sysctl", "mount", "umount"] {
            let script = format!(
                "#!/bin/sh\nn=$(wc -c < {count}); printf x >> {count}\n\
                 PATH=${{PATH#*:}}\n\
                 [ $n = {at} ] || exec {program} \"$@\"\n\
                 {first}\n{program} \"$@\"\n{last}\n",
                count = count.display()
            );
            fs::write(bin.join(program), script).unwrap();
            fs::set_permissions(bin.join(program), Permissions::from_mode(0o755)).unwrap();
        }
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let (config, record) = (self.config(), self.record());
        let status = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{}", self.here()))
            .args([env!("CARGO_BIN_EXE_synward"), "tune"])
            .args(["--config", config.to_str().unwrap()])
            .args(["--state", record.to_str().unwrap()])
            .args(arguments)
            .env("PATH", path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        status.code().is_none()
    }

    /// Runs the program in the namespace. Returns its exit code and what it printed.
    pub(crate) fn synward(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
        )
    }

    /// The same with all of its output.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.enter(&[&[env!("CARGO_BIN_EXE_synward")], arguments].concat())
    }

    /// Runs the program with a reader that has ended. Returns its exit code and its errors.
    pub(crate) fn run_unread(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut child = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{}", self.here()))
            .arg(env!("CARGO_BIN_EXE_synward"))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), error)
    }

    /// Starts an appliance in the namespace, and waits until it is ready. It does not demand zero-copy, which a veth has not.
    pub(crate) fn start(&self) -> Running {
        let planted = fs::read_to_string(self.config()).unwrap();
        fs::write(self.config(), planted.replace("zero_copy = \"on\"\n", "")).unwrap();
        Keyring::create(&self.folder.path().join("secret")).unwrap();
        let config = self.config();
        let net = format!("--net=/run/netns/{}", self.here());
        let mut process = Command::new("nsenter")
            .args([&net, env!("CARGO_BIN_EXE_synward"), "run", "--config"])
            .arg(config)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(process.stderr.take().unwrap());
        let mut running = Running { process, log };
        running.wait_until_ready();
        running
    }

    /// Runs the program without any privilege, with the configuration. Returns exit code, output and errors.
    pub(crate) fn as_nobody(&self, arguments: &[&str]) -> (i32, String, String) {
        // The folder in which it was built may be closed to others.
        let program = self.folder.path().join("program");
        if !program.exists() {
            fs::copy(env!("CARGO_BIN_EXE_synward"), &program).unwrap();
        }
        let config = self.config();
        let nobody = [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
        ];
        let command = [
            &nobody[..],
            &[program.to_str().unwrap()],
            arguments,
            &["--config", config.to_str().unwrap()],
        ];
        let output = self.enter(&command.concat());
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }

    /// Runs ip(8) in the namespace.
    pub(crate) fn ip(&self, arguments: &[&str]) {
        self.inside("ip", arguments);
    }

    /// Where the BPF file system belongs.
    pub(crate) fn bpffs(&self) -> PathBuf {
        self.folder.path().join("bpf")
    }

    /// The record of `tune`.
    pub(crate) fn record(&self) -> PathBuf {
        self.folder.path().join("tune.json")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("synward.toml")
    }

    fn here(&self) -> String {
        format!("{}-here", self.name)
    }

    fn there(&self) -> String {
        format!("{}-there", self.name)
    }

    fn inside(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.enter(&[&[program], arguments].concat());
        succeeded(output, program)
    }

    fn enter(&self, command: &[&str]) -> Output {
        let net = format!("--net=/run/netns/{}", self.here());
        Command::new("nsenter")
            .arg(net)
            .args(command)
            .output()
            .unwrap()
    }
}

/// An appliance that runs.
pub(crate) struct Running {
    process: Child,
    log: BufReader<ChildStderr>,
}

impl Running {
    fn wait_until_ready(&mut self) {
        let mut said = String::new();
        while self.log.read_line(&mut said).unwrap() > 0 {
            if said.lines().last().unwrap().contains("ready") {
                return;
            }
        }
        panic!("{said}");
    }

    /// Stops it, and waits for its end.
    pub(crate) fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        // What it says until then must not block it.
        let mut said = String::new();
        self.log.read_to_string(&mut said).unwrap();
        assert!(self.process.wait().unwrap().success(), "{said}");
    }
}

/// A failed test leaves no process.
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in [self.here(), self.there()] {
            let _ = Command::new("ip")
                .args(["netns", "del", &namespace])
                .status();
        }
        for mount in ["bpf", "other"].map(|name| self.folder.path().join(name)) {
            unmount(&mount);
        }
    }
}

/// Unmounts what a failed test has left.
fn unmount(at: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    if mounts.contains(&format!(" {} ", at.display())) {
        let _ = Command::new("umount").arg(at).status();
    }
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    succeeded(output, program)
}

fn succeeded(output: Output, program: &str) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {error}");
    String::from_utf8(output.stdout).unwrap()
}
