//! The self-test: before the appliance says that it is ready, it sends a frame by every way that frames leave by, and looks
//! whether the drivers transmit it. Some drivers accept a program or a socket and then drop everything.
//!
//! - *Sockets*: every AF_XDP socket transmits a frame. The driver must complete it.
//! - *Redirects*: an XDP program redirects frames to every interface, from every CPU, as XDP_TX and XDP_REDIRECT do. Drivers
//!   report a failure to the kernel's tracepoints alone ([`transmit_watch`]). If any socket has zero-copy, frames without
//!   headroom are tried too, because redirected frames of a zero-copy queue have none.
//!
//! What fails makes the appliance use the next safer mode ([`outcome`]). The test cannot receive: a frame that arrives needs a
//! sender. While the appliance serves, [`transmission_faults`] looks at the same tracepoints and at the sockets.
//!
//! The frames disturb nobody. They have the EtherType of local experiments and go from the interface's MAC address to the same
//! address. A switch knows that address at the port where the frame arrives and drops it; other hosts ignore it. The ports of a
//! bond have one address together: there the test has the permanent address of each, or one that is made of it if the bond has it
//! too, so that no switch looks for the bond at another port.
//!
//! | file | idea |
//! |---|---|
//! | [`transmit_watch`] | counts the frames that XDP could not transmit |
//! | `redirects` | frames that XDP redirects |
//! | `socket_frames` | frames that sockets transmit |
//! | `probe_frame` | the frame |
//! | [`transmission_faults`] | faults while the appliance serves |
//! | [`cut_packets`] | packets that arrive cut short meanwhile |
//! | [`outcome`] | from what failed to the next safer mode, or to a refusal |
#![forbid(unsafe_code)]

pub mod cut_packets;
pub mod outcome;
mod probe_frame;
mod redirects;
mod socket_frames;
pub mod transmission_faults;
pub mod transmit_watch;

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use crate::afxdp::Port;
use crate::kernel::{self, Link};
use crate::steering::SteeredInterface;

pub use outcome::{Step, Tested, next_step};
pub use transmit_watch::{TransmitWatch, WatchError};

/// The sockets by queue, each with the index of its interface.
pub type Sockets = BTreeMap<u32, Vec<(u32, Port)>>;

/// How long to wait for a carrier. Attaching a program makes some drivers reset the link (ixgbe, mlx5).
const CARRIER: Duration = Duration::from_secs(5);

/// A frame that XDP redirected and nobody transmitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Index of the interface that should have transmitted it.
    pub interface: u32,
    /// The errno of the driver; 0: it gave none.
    pub errno: u32,
    /// Whether the frame had headroom, as those of a zero-copy queue have not.
    pub headroom: bool,
}

/// A socket whose frame the driver did not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsent {
    /// Index of the interface.
    pub interface: u32,
    /// The queue.
    pub queue: u32,
    /// Whether the socket has zero-copy.
    pub zero_copy: bool,
}

/// What failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Redirected frames that were lost.
    pub lost: Vec<Lost>,
    /// Sockets that did not transmit.
    pub unsent: Vec<Unsent>,
    /// The index of an interface and a queue on which a worker is to answer, and its socket may not send.
    pub mute: Option<(u32, u32)>,
    /// Why redirects could not be tried.
    pub untried: Option<String>,
}

/// Tries every way once. `watch` is `None` where the kernel does not let us at its tracepoints: redirects are not tried then.
/// `redirects`: frames go from one interface to another, not only back. Calls `follow_bonds` often while it waits for carriers.
pub fn run(
    watch: Option<&mut TransmitWatch>,
    interfaces: &[SteeredInterface],
    redirects: bool,
    sockets: &mut Sockets,
    follow_bonds: impl FnMut(),
) -> Findings {
    let with_carrier = wait_for_carriers(interfaces, follow_bonds);
    let unsent = socket_frames::unsent(sockets, &with_carrier);
    let is_zero_copy = |(_, port): &(u32, Port)| port.zero_copy();
    let zero_copy = sockets.values().flatten().any(is_zero_copy);
    // Generic XDP transmits through the interface's queueing discipline, as the kernel itself does.
    let is_native = interfaces.iter().any(|one| one.native);
    // Where another program calls ours and none is attached yet, drivers transmit nothing.
    let can = |one: &&&SteeredInterface| one.native || (redirects && !one.called);
    let targets = with_carrier.iter().filter(can);
    let targets = targets.copied().collect::<Vec<_>>();
    let lost = match watch {
        Some(watch) if is_native => redirects::lost(watch, &targets, zero_copy),
        _ => Ok(Vec::new()),
    };
    match lost {
        Ok(lost) => Findings {
            lost,
            unsent,
            ..Findings::default()
        },
        Err(error) => Findings {
            unsent,
            untried: Some(error.to_string()),
            ..Findings::default()
        },
    }
}

/// The first socket that may not send on an interface that workers answer on: the index of the interface, and the queue.
pub fn mute(sockets: &Sockets, answers: impl Fn(u32) -> bool) -> Option<(u32, u32)> {
    let mut ports = sockets.values().flatten();
    let (interface, port) = ports.find(|(index, port)| !port.transmits() && answers(*index))?;
    Some((*interface, port.queue()))
}

/// The interfaces that can transmit now. The others are reported as degraded while the appliance serves.
fn wait_for_carriers(
    interfaces: &[SteeredInterface],
    mut follow_bonds: impl FnMut(),
) -> Vec<&SteeredInterface> {
    let deadline = Instant::now() + CARRIER;
    loop {
        // The bond of a port that has no carrier uses another port.
        follow_bonds();
        let links = kernel::links().unwrap_or_default();
        let is = |one: &SteeredInterface, state: fn(&Link) -> bool| {
            let mut links = links.iter();
            links.any(|link| link.index == one.index && state(link))
        };
        let is_ready = |one: &SteeredInterface| is(one, |link| link.up && link.carrier);
        let waits = interfaces
            .iter()
            .any(|one| is(one, |link| link.up && !link.carrier));
        if !waits || Instant::now() >= deadline {
            let (ready, others) = interfaces
                .iter()
                .partition::<Vec<_>, _>(|one| is_ready(one));
            for one in others {
                tracing::warn!(interface = %one.name, "not tested: the interface has no carrier");
            }
            return ready;
        }
        thread::sleep(Duration::from_millis(50));
    }
}
