//! Why steering fails, and the cure.

use std::io;
use std::path::PathBuf;

use aya::maps::MapError;

use super::occupant::Occupant;
use crate::kernel::ChannelWords;

/// Why steering cannot start or change. Every message is one line that names the thing and the cure.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum SteeringError {
    #[error(
        "{name} takes no program at TC: {cause}; handoff = \"local\" needs one on every interface that faces clients"
    )]
    Classifier { name: String, cause: String },

    #[error(
        "no interface {name} here: `ip link` lists those that exist; correct the name in [[interface]]"
    )]
    NoInterface { name: String },

    #[error(
        "{name} is the loopback interface: name the interface at which packets arrive from other machines"
    )]
    Loopback { name: String },

    #[error(
        "{name} carries no Ethernet frames (link type {link_type}): only Ethernet interfaces can be steered"
    )]
    NotEthernet { name: String, link_type: u16 },

    #[error("{name} is a {kind}, which XDP cannot send from: name its ports instead ({ports})")]
    Master {
        name: String,
        kind: String,
        ports: String,
    },

    #[error("{name} is a VLAN: name {lower} instead, tags are looked through")]
    Vlan { name: String, lower: String },

    #[error(
        "{name} is a {kind} device on top of {lower}, which XDP cannot send from: name {lower} instead"
    )]
    Stacked {
        name: String,
        kind: String,
        lower: String,
    },

    #[error("`next` of {name}, {}: {cause}", path.display())]
    Next {
        name: String,
        path: PathBuf,
        cause: String,
    },

    #[error(
        "zero_copy = \"on\" of {name} needs a native XDP program there, and with attach = \"none\" synward attaches none: attach \
         the program that calls synward's first, or set zero_copy = \"auto\""
    )]
    NothingToCall { name: String },

    #[error("{0}")]
    Occupied(Box<Occupant>),

    #[error(
        "{name} has {has} receive queues, so there is no queue {queue}: correct `queues`, or make more with \
         `ethtool -L {name} {channels}`"
    )]
    NoQueue {
        name: String,
        queue: u32,
        has: u32,
        /// The words that make enough.
        channels: ChannelWords,
    },

    #[error(
        "{name} has {has} receive queues, and at most {most} can be steered: `ethtool -L {name} {channels}` makes it \
         so"
    )]
    TooManyQueues {
        name: String,
        has: u32,
        most: u32,
        /// The words that make so few.
        channels: ChannelWords,
    },

    #[error("{cause}")]
    ZeroCopy { cause: String },

    #[error("{refusal}; or set {cure}")]
    Native { refusal: String, cure: &'static str },

    #[error("{0}")]
    TagsStripped(String),

    #[error("{name} refuses generic XDP: {cause}")]
    Generic { name: String, cause: String },

    #[error(
        "{name} takes XDP without a link only, which cannot be pinned or taken over: use a newer kernel, and take the \
         program off with `ip link set {name} xdp off`"
    )]
    NoLink { name: String },

    #[error(
        "{} is not on a BPF file system: {cure}, or set pin = \"\" to pin nothing", pin.display()
    )]
    NotBpffs { pin: PathBuf, cure: String },

    #[error("another synward{holder} steers with {}: stop it, or give this one a pin folder of its own", pin.display())]
    Held { pin: PathBuf, holder: String },

    #[error(
        "synward{holder} runs with {}: stop it first; `unload` removes what a stopped one has left", pin.display()
    )]
    Runs { pin: PathBuf, holder: String },

    #[error(
        "{} was left by a synward of another version (schema {found}, this one's is {ours}): take it off with \
         `synward unload`, which ends its spliced connections", pin.display()
    )]
    Schema {
        pin: PathBuf,
        found: String,
        ours: u32,
    },

    #[error(
        "{} holds a flow table of another size ({found} entries, the configuration makes it {ours}): set capacity in \
         [flows] as it was, or take it off with `synward unload`, which ends its spliced connections", pin.display()
    )]
    Size { pin: PathBuf, found: u32, ours: u32 },

    #[error("{}: {cause}", path.display())]
    Pin { path: PathBuf, cause: String },

    #[error(
        "the kernel has no memory for a table of {capacity} flows ({megabytes} MB): lower capacity in [flows], or \
         raise the memory limit of the service"
    )]
    Memory { capacity: u32, megabytes: u64 },

    #[error(
        "this process may open no more files, and each eBPF map is one: `ulimit -n 4096`, or LimitNOFILE=4096 in its unit"
    )]
    OpenFiles,

    #[error(
        "the system has no more open files: `sysctl -w fs.file-max=1000000`, or find what holds them"
    )]
    SystemFiles,

    #[error(
        "the kernel refuses to make eBPF maps ({cause}): in a container, allow it the bpf system call and the \
         capabilities in the host's user namespace"
    )]
    Refused { cause: String },

    #[error(
        "the kernel refuses the XDP program ({cause}): use a newer one, or report it with the kernel's version"
    )]
    Verifier { cause: String },

    #[error("eBPF map {map}: {cause}")]
    Map { map: &'static str, cause: String },

    #[error(
        "the eBPF object has no {what}: it is not the one that this program was built with; build again"
    )]
    Object { what: &'static str },

    #[error(
        "{needed} {what} do not fit into maps that were made for {room}: restart synward, which makes them larger"
    )]
    Room {
        what: &'static str,
        needed: usize,
        room: u32,
    },

    #[error("a slot is out of range: interface {slot}, queue {queue}")]
    Slot { slot: u32, queue: u32 },

    #[error("there is no service number {service}")]
    NoService { service: u32 },

    #[error("nothing is pinned, so nothing can be left in place: set pin in [appliance]")]
    NothingPinned,

    #[error("asking the kernel about interfaces failed: {0}")]
    Netlink(io::Error),

    #[error("no random numbers from the kernel: {0}")]
    Random(String),
}

/// Converts an error of the map named `map`.
pub(super) fn map_failed(map: &'static str) -> impl Fn(MapError) -> SteeringError {
    move |error| SteeringError::Map {
        map,
        cause: cause(&error),
    }
}

/// The innermost cause of an error, on one line. It holds the message of the kernel.
pub(crate) fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string().replace('\n', " ")
}

/// The system error number in the causes of an error, if any.
pub(super) fn errno(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return io.raw_os_error();
        }
        next = error.source();
    }
    None
}
