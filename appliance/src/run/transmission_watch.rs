//! What drivers do not transmit, or receive cut short, while the appliance serves: for metrics, and as faults.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};

use synward_core::counters::{Counter, ServiceCounters};
use synward_core::transmit_failure::{FailureKey, way};

use super::outcome_counts::count_outcomes;
use super::start::Appliance;
use crate::engine::Outcome;
use crate::kernel;
use crate::maps::coarse_now;
use crate::self_test::WatchError;
use crate::self_test::cut_packets::CutPackets;
use crate::self_test::transmission_faults::{SocketState, TransmissionFaults, errno_label};
use crate::worker::status::PortStatus;

/// The frames that XDP lost; empty where the kernel does not let us see them.
///
/// # Errors
/// The kernel refuses to read the counters.
pub(super) fn lost_frames(appliance: &Appliance) -> Result<BTreeMap<FailureKey, u64>, WatchError> {
    match &appliance.transmit_watch {
        Some(watch) => watch.lost_frames(),
        None => Ok(BTreeMap::new()),
    }
}

/// The frames that an interface did not transmit, by errno. What does not fit into a socket has counters of its own.
pub(super) fn by_errno(lost: &BTreeMap<FailureKey, u64>, interface: u32) -> BTreeMap<String, u64> {
    let mut by_errno = BTreeMap::new();
    for (key, frames) in lost {
        if key.interface == interface && matches!(key.way, way::REDIRECT | way::TRANSMIT) {
            *by_errno.entry(errno_label(key.errno)).or_default() += frames;
        }
    }
    by_errno
}

/// What the rounds before have seen.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) transmission: TransmissionFaults,
    cut: CutPackets,
}

/// The faults of this round.
pub(super) fn find_faults(
    appliance: &Appliance,
    seen: &mut Seen,
    reports: &BTreeMap<u32, Vec<PortStatus>>,
) -> Vec<String> {
    let (beats, now) = (appliance.steering.heartbeats(), coarse_now());
    let sockets = socket_states(reports, |queue| beats.is_alive(queue, now));
    let name = |index| {
        let mut steered = appliance.steering.interfaces().iter();
        let known = steered.find(|one| one.index == index);
        known.map_or_else(|| format!("interface {index}"), |one| one.name.clone())
    };
    let (lost, unread) = match lost_frames(appliance) {
        Ok(lost) => (lost, None),
        Err(error) => (BTreeMap::new(), Some(error.to_string())),
    };
    let sent = sent(appliance);
    // Asked for only if a socket seems to stall, and once for all of them. If the kernel does not say that a link is up, it is not.
    let links = LazyCell::new(|| kernel::links().unwrap_or_default());
    let can_send = |index| {
        let mut links = links.iter();
        links.any(|one| one.index == index && one.up && one.carrier)
    };
    let mut faults = seen
        .transmission
        .renew(&lost, sent, &sockets, name, can_send);
    faults.extend(unread);
    if kernel::truncated_packets().is_some_and(|cut| seen.cut.renew(cut, sent)) {
        faults.extend(cut_packets(reports, name));
    }
    faults.extend(unfinished_checksums(appliance).filter(|_| {
        // Nobody connects. Otherwise it concerns a few senders, and is a note.
        count_outcomes(appliance, None, Outcome::Established) == 0
    }));
    faults
}

/// What the workers reported of their sockets. One that makes no progress takes no completions either, whatever the driver does:
/// what it reported is left out, also after a pause of the whole process.
fn socket_states(
    reports: &BTreeMap<u32, Vec<PortStatus>>,
    is_alive: impl Fn(u32) -> bool,
) -> Vec<SocketState> {
    let alive = reports.iter().filter(|(queue, _)| is_alive(**queue));
    let state = |port: &PortStatus| SocketState {
        interface: port.interface,
        queue: port.queue,
        transmitted: port.counters.transmitted,
        outstanding: port.frames.transmit,
        zero_copy: port.zero_copy,
        at: port.at,
    };
    alive
        .flat_map(|(_, ports)| ports.iter().map(state))
        .collect()
}

/// What to do about packets that arrive cut short. `None` without zero-copy: then somebody sends them so.
fn cut_packets(
    reports: &BTreeMap<u32, Vec<PortStatus>>,
    name: impl Fn(u32) -> String,
) -> Option<String> {
    let ports = reports.values().flatten();
    let zero_copy = ports.filter(|port| port.zero_copy);
    let indices: BTreeSet<u32> = zero_copy.map(|port| port.interface).collect();
    let names: Vec<_> = indices.into_iter().map(name).collect();
    let names = names.join(" and ");
    (!names.is_empty()).then(|| {
        format!(
            "packets arrive cut short, as from a driver that cuts frames in zero-copy mode: set zero_copy of {names} to \
             \"off\", and restart synward"
        )
    })
}

/// Lets the XDP program answer the SYNs of queues whose driver completes nothing, and the workers again when it does.
pub(super) fn bypass_stalled(appliance: &mut Appliance, faults: &TransmissionFaults) {
    let stalled = faults.stalled_queues();
    for (index, answering) in appliance.responders.clone() {
        let bypassed = stalled.get(&index).copied().unwrap_or_default();
        let bypassed = bypassed.and(answering);
        let before = appliance
            .bypassed
            .insert(index, bypassed)
            .unwrap_or_default();
        let mut steered = appliance.steering.interfaces().iter();
        let Some(interface) = steered.find(|one| one.index == index).cloned() else {
            continue;
        };
        if bypassed == before {
            continue;
        }
        if let Err(error) = appliance.renew_responder(&interface) {
            // The next round tries again.
            appliance.bypassed.insert(index, before);
            tracing::error!(%error, "queues that transmit nothing cannot be bypassed");
        }
    }
}

/// What to do about segments whose checksum their sender left to the hardware. Generic XDP sees such segments of senders on
/// this host or on a virtual machine's host, and so does native XDP on a veth.
pub(super) fn unfinished_checksums(appliance: &Appliance) -> Option<String> {
    let count = count_outcomes(appliance, None, Outcome::UnfinishedChecksum);
    let text = || {
        let steered = appliance.steering.interfaces().iter();
        let names = steered.map(|one| one.name.as_str());
        let names = names.collect::<Vec<_>>().join(" or ");
        format!(
            "segments arrive with checksums that their sender left to the hardware, and open no connection: \
             `ethtool -K IF tx off` at the other end of {names}"
        )
    };
    (count > 0).then(text)
}

/// The frames that the XDP program has sent.
fn sent(appliance: &Appliance) -> u64 {
    const SENT: [Counter; 4] = [
        Counter::AnsweredXdp,
        Counter::ToServer,
        Counter::ToClient,
        Counter::Forwarded,
    ];
    let services = 0..appliance.config.services.len() as u32;
    let counters = services.filter_map(|index| appliance.steering.counters(index).ok());
    let of_one = |counters: ServiceCounters| SENT.map(|counter| counters.value(counter));
    counters.flat_map(of_one).sum()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::afxdp::FrameAccount;

    #[test]
    fn a_frozen_worker_does_not_say_what_its_driver_completes() {
        let port = |transmit| PortStatus {
            interface: 2,
            queue: 0,
            zero_copy: false,
            kernel: Default::default(),
            counters: Default::default(),
            frames: FrameAccount {
                transmit,
                ..FrameAccount::default()
            },
            at: Instant::now(),
        };
        let reports = BTreeMap::from([(0, vec![port(1), port(2)]), (1, vec![port(3)])]);
        let outstanding = |is_alive: fn(u32) -> bool| -> Vec<u32> {
            let states = socket_states(&reports, is_alive);
            states.iter().map(|one| one.outstanding).collect()
        };
        assert_eq!(outstanding(|_| true), [1, 2, 3]);
        assert_eq!(outstanding(|queue| queue == 1), [3]);
    }
}
