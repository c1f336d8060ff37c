//! Two network namespaces with a veth pair of two queues between them, removed when the test ends.

use std::{
    fs::File,
    os::fd::{AsRawFd, OwnedFd},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use synward::afxdp::{OpenError, Port, PortOptions};

use super::test_programs::{self, Mode};

/// One end of the veth pair.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// The end of the port under test.
    Here,
    /// The end that sends frames and receives them back.
    There,
}

impl End {
    /// The interface's name.
    pub(crate) fn interface(self) -> &'static str {
        match self {
            End::Here => "sw-ring-here",
            End::There => "sw-ring-there",
        }
    }
}

pub(crate) struct Lab {
    name: String,
}

impl Lab {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let lab = Lab {
            name: format!("sw-ring-{}-{number}", std::process::id()),
        };
        let (here, there) = (lab.namespace(End::Here), lab.namespace(End::There));
        for namespace in [&here, &there] {
            ip(&["netns", "add", namespace]);
            enter(
                namespace,
                &["sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"],
            );
        }
        let queues = ["numrxqueues", "2", "numtxqueues", "2"];
        let mut add = vec!["link", "add", End::Here.interface(), "netns", &here];
        add.extend(queues);
        add.extend([
            "type",
            "veth",
            "peer",
            "name",
            End::There.interface(),
            "netns",
            &there,
        ]);
        add.extend(queues);
        ip(&add);
        for (end, namespace) in [(End::Here, &here), (End::There, &there)] {
            lab.set_up(end, true);
            enter(namespace, &["ethtool", "-K", end.interface(), "tx", "off"]);
        }
        lab
    }

    /// Runs `work` on a separate thread in the namespace of `end`.
    pub(crate) fn inside<T: Send>(&self, end: End, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/run/netns/{}", self.namespace(end))).unwrap();
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                // SAFETY: setns takes two integers; it affects only this thread, which ends with `work`.
                let entered = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
                assert_eq!(entered, 0);
                work()
            });
            thread.join().unwrap()
        })
    }

    pub(crate) fn open(
        &self,
        end: End,
        queue: u32,
        options: &PortOptions,
    ) -> Result<Port, OpenError> {
        self.inside(end, || Port::open(end.interface(), queue, options))
    }

    /// Opens a port on queue 0 of both ends, (here, there), and steers test frames to both while the last value lives.
    pub(crate) fn open_steered_pair(
        &self,
        options: &PortOptions,
    ) -> (Port, Port, [[OwnedFd; 2]; 2]) {
        let [here, there] = [End::Here, End::There].map(|end| self.open(end, 0, options).unwrap());
        let steering = [
            self.steer(End::Here, &[&here]),
            self.steer(End::There, &[&there]),
        ];
        (here, there, steering)
    }

    pub(crate) fn index(&self, end: End) -> u32 {
        let name = std::ffi::CString::new(end.interface()).unwrap();
        // SAFETY: the name is a C string that outlives the call.
        let index = self.inside(end, || unsafe { libc::if_nametoindex(name.as_ptr()) });
        assert_ne!(index, 0);
        index
    }

    /// Attaches a program until the result is dropped.
    pub(crate) fn attach(&self, end: End, program: &OwnedFd, mode: Mode) -> OwnedFd {
        let index = self.index(end);
        self.inside(end, || test_programs::attach(program, index, mode))
            .unwrap()
    }

    /// Attaches [`test_programs::steer`] with the ports in their slots: the first for queue 0, and so on.
    pub(crate) fn steer(&self, end: End, ports: &[&Port]) -> [OwnedFd; 2] {
        let sockets = test_programs::socket_map(2).unwrap();
        for (queue, port) in ports.iter().enumerate() {
            test_programs::set_socket(&sockets, queue as u32, port.fd()).unwrap();
        }
        let program = test_programs::steer(&sockets).unwrap();
        [self.attach(end, &program, Mode::Native), sockets]
    }

    pub(crate) fn set_up(&self, end: End, up: bool) {
        let state = if up { "up" } else { "down" };
        let command = ["ip", "link", "set", end.interface(), state];
        enter(&self.namespace(end), &command);
    }

    fn namespace(&self, end: End) -> String {
        match end {
            End::Here => format!("{}-here", self.name),
            End::There => format!("{}-there", self.name),
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for end in [End::Here, End::There] {
            let _ = Command::new("ip")
                .args(["netns", "del", &self.namespace(end)])
                .status();
        }
    }
}

fn ip(arguments: &[&str]) {
    run("ip", arguments);
}

/// Runs a command in a namespace. Not with `ip netns exec`, which fails in a chroot whose root is not a mount point.
fn enter(namespace: &str, command: &[&str]) {
    let net = format!("--net=/run/netns/{namespace}");
    run("nsenter", &[&[net.as_str()], command].concat());
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {}: {error}",
        arguments.join(" ")
    );
}
