//! The facts that findings are made of: plain data, so that each finding is tested without a machine that has it.

use std::io;
use std::path::PathBuf;

use crate::config::{self, Cores, Responder};
use crate::kernel::{ChannelCounts, ClockState, Count, Offload, XdpFeatures};
use crate::steering::{DriverFacts, MissingBpffs};

/// Something that was read, or why not.
pub type Read<T> = Result<T, Unread>;

/// Why something was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// The device does not have it, or its driver does not tell.
    Absent,
    /// Reading failed: the cause in words.
    Failed(String),
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EOPNOTSUPP | libc::ENODATA) => Self::Absent,
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// Everything that was looked at.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What the configuration asks for.
    pub plan: Plan,
    /// This machine.
    pub machine: Machine,
    /// Its interfaces.
    pub interfaces: Vec<Interface>,
    /// Why the kernel did not list its interfaces.
    pub links_error: Option<String>,
    /// What stands in the way of local services.
    pub local: Local,
}

/// What the configuration asks for. Without one, nothing is demanded.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whether there is a configuration.
    pub configured: bool,
    /// It has services with `handoff = "local"`.
    pub local: bool,
    /// It has services with `splice` or `forward` and addresses of IPv4.
    pub forwards_v4: bool,
    /// The same for IPv6.
    pub forwards_v6: bool,
    /// The CPUs of the workers.
    pub cores: Cores,
    /// Who answers SYNs.
    pub responder: Responder,
    /// Where links and maps are pinned.
    pub pin: Option<PathBuf>,
}

/// This machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// CPUs that this process may run on.
    pub cpus: u32,
    /// NUMA nodes.
    pub nodes: usize,
    /// The release of the kernel, as `uname -r` prints it.
    pub release: Read<String>,
    /// Whether the kernel has type information.
    pub has_btf: bool,
    /// `net.core.bpf_jit_enable`.
    pub jit: Read<u64>,
    /// `net.ipv4.tcp_syncookies`.
    pub syncookies: Read<u64>,
    /// `net.ipv4.ip_forward`.
    pub forwarding_v4: Read<u64>,
    /// `net.ipv6.conf.all.forwarding`.
    pub forwarding_v6: Read<u64>,
    /// What is missing so that the pin folder is on a BPF file system.
    pub missing_bpffs: Option<MissingBpffs>,
    /// The limit of locked memory, bytes; `None`: there is none.
    pub memlock: Read<Option<u64>>,
    /// Effective capabilities, one bit each.
    pub capabilities: Read<u64>,
    /// Whether this process is root.
    pub is_root: bool,
    /// Huge pages: reserved, and free of these.
    pub huge_pages: Read<(u64, u64)>,
    /// The clock.
    pub clock: Read<ClockState>,
}

/// An interface.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// `xdp` of the configuration.
    pub xdp_mode: config::XdpMode,
    /// `zero_copy` of the configuration.
    pub zero_copy: config::ZeroCopy,
    /// The queues that are to get a worker.
    pub queues: config::Queues,
    /// What the kernel says of it. `None`: it does not exist.
    pub state: Option<State>,
}

/// What the kernel says of an interface.
#[derive(Clone, Debug)]
pub struct State {
    /// Kind of a virtual device, such as `veth`. Empty for hardware.
    pub kind: String,
    /// Why XDP cannot steer a device of this kind.
    pub refusal: Option<String>,
    /// Why native XDP would crash the kernel.
    pub crash: Option<String>,
    /// Whether it is set up.
    pub up: bool,
    /// Whether it has a carrier.
    pub carrier: bool,
    /// MTU, bytes.
    pub mtu: u32,
    /// The other end of a veth in this namespace.
    pub peer: Option<Peer>,
    /// VLAN devices on top of it.
    pub vlans: Vec<String>,
    /// The driver, as `ethtool -i` shows it.
    pub driver: Read<String>,
    /// What is known about that driver.
    pub known: Option<&'static DriverFacts>,
    /// What it can do with XDP.
    pub xdp: Read<XdpFeatures>,
    /// Channels.
    pub channels: Read<ChannelCounts>,
    /// The receive ring.
    pub ring: Read<Count>,
    /// The RSS table.
    pub rss: Read<Vec<u32>>,
    /// Receive queues in use.
    pub queues: u32,
    /// Features.
    pub offloads: Read<Vec<Offload>>,
    /// The NUMA node of the device and its CPUs.
    pub node: Read<Option<Node>>,
    /// Interrupts.
    pub irqs: Read<Vec<Irq>>,
    /// The XDP program.
    pub program: Program,
}

/// The other end of a veth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// MTU, bytes.
    pub mtu: u32,
    /// The queues on which it sends; `None`: the kernel does not tell.
    pub sends_on: Option<u32>,
}

/// A NUMA node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its number.
    pub number: u32,
    /// Its CPUs.
    pub cpus: Vec<usize>,
}

/// An interrupt of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Irq {
    /// Its number.
    pub number: u32,
    /// The CPUs on which it is handled.
    pub cpus: Vec<usize>,
    /// The queue that it serves; `None` if its name ends with no queue, as that of the link does.
    pub queue: Option<usize>,
}

/// The XDP program of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// There is none.
    None,
    /// synward's own.
    Own,
    /// There is one, and whose it is only root may see.
    Hidden {
        /// The number of the program.
        what: String,
    },
    /// The one that calls synward's (`attach = "none"`).
    Caller {
        /// The program, and who holds it.
        what: String,
    },
    /// Somebody else's.
    Foreign {
        /// The program, and who holds it.
        what: String,
        /// What to do about it.
        cure: String,
        /// The command, if one works and harms nobody.
        command: Option<String>,
    },
}

/// What stands in the way of local services.
#[derive(Clone, Debug, Default)]
pub struct Local {
    /// Why this kernel cannot serve them.
    pub kernel: Option<String>,
    /// About listeners: service, and a sentence.
    pub listeners: Vec<(String, String)>,
    /// `net.netfilter.nf_conntrack_tcp_loose`; `None`: there is no connection tracking.
    pub conntrack_loose: Option<u64>,
    /// Rules of the firewall that concern segments without a connection, or why they could not be read.
    pub rules: Option<Read<Vec<String>>>,
}
