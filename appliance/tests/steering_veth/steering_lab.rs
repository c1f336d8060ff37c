//! Two network namespaces with a veth pair between them, and a BPF file system of their own. They are removed when the test
//! ends, even if it fails.

use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use synward::config::Config;
use synward::kernel;
use synward::local_checks::{self, LocalError};
use synward::secret::Keyring;
use synward::steering::Steering;

/// The interface of the appliance and that of the client.
pub(crate) const HERE: &str = "sw-here";
pub(crate) const THERE: &str = "sw-there";

pub(crate) struct Lab {
    name: String,
    folder: tempfile::TempDir,
}

impl Lab {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let lab = Lab {
            name: format!("sw-steer-{}-{number}", std::process::id()),
            folder: tempfile::tempdir().unwrap(),
        };
        let bpffs = lab.folder.path().join("bpf");
        fs::create_dir(&bpffs).unwrap();
        run("mount", &["-t", "bpf", "bpf", bpffs.to_str().unwrap()]);
        Keyring::create(&lab.folder.path().join("secret")).unwrap();

        let (here, there) = (lab.here(), lab.there());
        run("ip", &["netns", "add", &here]);
        run("ip", &["netns", "add", &there]);
        let queues = ["numrxqueues", "2", "numtxqueues", "2"];
        let mut add = vec!["link", "add", HERE, "netns", &here];
        add.extend(queues);
        add.extend(["type", "veth", "peer", "name", THERE, "netns", &there]);
        add.extend(queues);
        run("ip", &add);
        lab.ip(&["addr", "add", "192.0.2.1/24", "dev", HERE]);
        lab.ip(&["addr", "add", "192.0.2.10/24", "dev", HERE]);
        lab.ip(&["addr", "add", "2001:db8::10/64", "nodad", "dev", HERE]);
        lab.ip(&["link", "set", HERE, "up"]);
        let at_client = |arguments: &[&str]| drop(ip_in(&there, arguments));
        at_client(&["addr", "add", "192.0.2.2/24", "dev", THERE]);
        at_client(&["addr", "add", "192.0.2.3/24", "dev", THERE]);
        at_client(&["addr", "add", "2001:db8::2/64", "nodad", "dev", THERE]);
        at_client(&["link", "set", THERE, "up"]);
        lab
    }

    pub(crate) fn here(&self) -> String {
        format!("{}-here", self.name)
    }

    pub(crate) fn there(&self) -> String {
        format!("{}-there", self.name)
    }

    /// Runs `ip` in the appliance's namespace.
    pub(crate) fn ip(&self, arguments: &[&str]) {
        ip_in(&self.here(), arguments);
    }

    /// Runs `tc` in the appliance's namespace.
    pub(crate) fn tc(&self, arguments: &[&str]) {
        assert!(self.try_tc(arguments), "tc {}", arguments.join(" "));
    }

    /// [`Self::tc`], which may fail.
    pub(crate) fn try_tc(&self, arguments: &[&str]) -> bool {
        let net = format!("--net=/run/netns/{}", self.here());
        let mut command = Command::new("nsenter");
        let done = command.arg(net).arg("tc").args(arguments).output();
        done.unwrap().status.success()
    }

    /// Runs `ip` in the client's namespace.
    pub(crate) fn client_ip(&self, arguments: &[&str]) {
        ip_in(&self.there(), arguments);
    }

    /// The index of the appliance's interface.
    pub(crate) fn index(&self) -> u32 {
        let output = ip_in(&self.here(), &["-json", "link", "show", "dev", HERE]);
        let links: serde_json::Value = serde_json::from_str(&output).unwrap();
        links[0]["ifindex"].as_u64().unwrap() as u32
    }

    /// Routes a network of the client's side to an address of the appliance.
    pub(crate) fn route_from_client(&self, net: &str, via: &str) {
        ip_in(&self.there(), &["route", "add", net, "via", via]);
    }

    /// The pin folder. It does not exist at first.
    pub(crate) fn pin(&self) -> PathBuf {
        self.folder.path().join("bpf/synward")
    }

    /// The names of the pinned files.
    pub(crate) fn pinned(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.pin()) else {
            return Vec::new();
        };
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Writes a configuration with one interface and one service, applies `edits` (old, new), and returns its path.
    pub(crate) fn write_config(&self, edits: &[(&str, &str)]) -> PathBuf {
        let mut text = format!(
            r#"
[appliance]
pin = {pin:?}
adopt_seconds = 0
[cookie]
secret = {secret:?}
[flows]
capacity = 4096
[[interface]]
name = "{HERE}"
side = "both"
xdp = "auto"
[[service]]
name = "web"
addresses = ["192.0.2.10", "2001:db8::10"]
ports = [80]
"#,
            pin = self.pin(),
            secret = self.folder.path().join("secret"),
        );
        for (old, new) in edits {
            assert!(text.contains(old), "{old}");
            text = text.replace(old, new);
        }
        let path = self.folder.path().join("synward.toml");
        fs::write(&path, text).unwrap();
        path
    }

    /// Loads the configuration of [`Self::write_config`].
    pub(crate) fn load(&self, edits: &[(&str, &str)]) -> Result<Steering, LocalError> {
        let path = self.write_config(edits);
        inside(&self.here(), || load(&path))
    }

    /// Loads and attaches.
    pub(crate) fn steer(&self, edits: &[(&str, &str)]) -> Result<Steering, LocalError> {
        let mut steering = self.load(edits)?;
        inside(&self.here(), || steering.attach())?;
        Ok(steering)
    }

    /// The id of the XDP program on an interface of the appliance, and whether it is native.
    pub(crate) fn xdp(&self, interface: &str) -> Option<(u32, bool)> {
        let output = ip_in(
            &self.here(),
            &["-json", "-details", "link", "show", "dev", interface],
        );
        let links: serde_json::Value = serde_json::from_str(&output).unwrap();
        let xdp = links.get(0)?.get("xdp")?;
        let id = xdp.get("prog")?.get("id")?.as_u64()?;
        // XDP_ATTACHED_DRV is 1, XDP_ATTACHED_SKB 2.
        Some((id as u32, xdp.get("mode")?.as_u64()? == 1))
    }

    /// Asserts that nothing is attached or pinned, and that `program` is unloaded.
    pub(crate) fn assert_clean(&self, program: Option<u32>) {
        // A child forked by a sibling test may hold a descriptor of the link until it executes its program.
        until("nothing is attached", || self.xdp(HERE).is_none());
        assert!(!self.pin().exists(), "{:?}", self.pinned());
        // The kernel frees the program after a grace period.
        until("the program is unloaded", || {
            program.is_none_or(|id| !is_loaded(id))
        });
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in [self.here(), self.there()] {
            let _ = Command::new("ip")
                .args(["netns", "del", &namespace])
                .status();
        }
        let _ = Command::new("umount")
            .arg(self.folder.path().join("bpf"))
            .status();
    }
}

/// Loads a configuration in the namespace of the calling thread.
pub(crate) fn load(path: &Path) -> Result<Steering, LocalError> {
    let config = Config::load(path).unwrap();
    kernel::check_host()?;
    let abi = local_checks::check_kernel(&config)?;
    let keyring = config.cookie.keyring().unwrap();
    Ok(Steering::load(&config, &keyring, abi.as_ref())?)
}

/// Runs `work` on a new thread inside a network namespace.
pub(crate) fn inside<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> T {
    let namespace = File::open(format!("/run/netns/{namespace}")).unwrap();
    let enter = || {
        // SAFETY: setns takes two numbers; it changes only this thread, which ends with `work`.
        let entered = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
        assert_eq!(entered, 0);
        work()
    };
    thread::scope(|scope| scope.spawn(enter).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Waits for a condition, at most a minute.
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within a minute");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a program with this id is loaded.
pub(crate) fn is_loaded(id: u32) -> bool {
    aya::programs::loaded_programs()
        .flatten()
        .any(|program| program.id() == id)
}

/// Runs ip(8) in a namespace and returns its output. `ip -n` fails in a chroot whose root is not a mount point.
pub(crate) fn ip_in(namespace: &str, arguments: &[&str]) -> String {
    let net = format!("--net=/run/netns/{namespace}");
    run("nsenter", &[&[net.as_str(), "ip"], arguments].concat())
}

/// Runs a command and returns its output.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {}: {error}",
        arguments.join(" ")
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The number of the link of a program.
pub(crate) fn link_of(program: u32) -> u32 {
    let mut links = aya::programs::loaded_links().flatten();
    links
        .find(|link| link.program_id() == program)
        .unwrap()
        .id()
}

/// Detaches the link of a program, although its owner holds it (`BPF_LINK_DETACH`).
pub(crate) fn detach_link_of(program: u32) {
    let link = link_of(program);
    const BPF_LINK_GET_FD_BY_ID: libc::c_long = 30;
    const BPF_LINK_DETACH: libc::c_long = 34;
    let bpf = |command: libc::c_long, argument: i32| {
        let attribute = [argument, 0, 0, 0];
        // SAFETY: the attribute is a live object of the size given, and both commands only read it.
        unsafe {
            libc::syscall(
                libc::SYS_bpf,
                command,
                &raw const attribute,
                size_of_val(&attribute),
            )
        }
    };
    let fd = bpf(BPF_LINK_GET_FD_BY_ID, link as i32) as i32;
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    assert_eq!(
        bpf(BPF_LINK_DETACH, fd),
        0,
        "{}",
        std::io::Error::last_os_error()
    );
    // SAFETY: the descriptor is ours, and nobody else has it.
    assert_eq!(unsafe { libc::close(fd) }, 0);
}
