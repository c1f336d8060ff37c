//! Findings about the queues of a NIC: how many, how packets are spread over them, and which CPUs handle them.

use synward_core::layout::MAX_QUEUES;

use super::facts::{Interface, Irq, Machine, State, Unread};
use super::finding::{Finding, Status};
use super::nic::without_native;
use super::setting::{Change, Setting};
use crate::config::{Cores, Queues, XdpMode, ZeroCopy};
use crate::kernel::{ChannelCounts, ChannelWords};
use crate::steering::ChannelNeed;

/// A receive ring with fewer descriptors loses frames while a CPU is busy for some tens of microseconds: 512 minimum
/// frames are 34 µs of 10 Gbit/s.
const SHORT_RING: u32 = 512;
const GOOD_RING: u32 = 1024;

pub(super) fn queues(interface: &Interface, state: &State, machine: &Machine) -> Finding {
    const ID: &str = "nic.queues";
    const WHY: &str = "each receive queue has one worker and is handled on one CPU; XDP needs transmit queues of its own";
    let finding = |status, what| Finding::new(ID, status, what, WHY).on(&interface.name);
    let used = state.queues;
    let change = |counts: &ChannelCounts, to| Change {
        setting: Setting::Channels {
            interface: interface.name.clone(),
        },
        to: counts.words_for(to).to_string(),
    };
    if let Some(missing) = missing_queue(interface, used) {
        let what = format!(
            "{used} receive queue(s), so there is no queue {missing}: synward does not start; correct `queues`, or make more"
        );
        let fail = finding(Status::Fail, what);
        let counts = state.channels.as_ref().ok();
        let counts = counts.filter(|counts| missing < counts.combined.most.max(counts.rx.most));
        return match counts {
            Some(counts) => fail.advise(change(counts, missing + 1).to_string()),
            None => fail,
        };
    }
    let counts = match &state.channels {
        Ok(counts) => counts,
        Err(Unread::Absent) => {
            let what = format!("{used} receive queue(s); the driver does not report channels");
            return finding(Status::Ok, what);
        }
        Err(error) => {
            return Finding::unread(ID, "the channels", error, WHY).on(&interface.name);
        }
    };
    let (channels, most) = match counts.combined.most {
        0 => (counts.rx.used.max(counts.tx.used), counts.tx.most),
        most => (counts.combined.used, most),
    };
    let need = state.known.map_or(ChannelNeed::Any, |known| known.channels);
    let limit = match need {
        ChannelNeed::Half => (most / 2).max(1),
        _ => most,
    };
    let good = machine.cpus.min(limit).clamp(1, MAX_QUEUES);
    if used > MAX_QUEUES && interface.queues == Queues::All {
        let what = format!(
            "{used} receive queues, and at most {MAX_QUEUES} can be steered: synward does not start"
        );
        return finding(Status::Fail, what).mend(change(counts, good));
    }
    if let Some(crash) = &state.crash
        && without_native(interface) != Status::Ok
    {
        let what = format!("no native XDP: {crash}");
        return finding(without_native(interface), what).mend(change(counts, good));
    }
    if let Some(fault) = peer_with_more_queues(interface, state, counts) {
        return fault;
    }
    match need {
        ChannelNeed::Half if channels > limit && without_native(interface) != Status::Ok => {
            let what = format!(
                "{channels} of {most} channels are in use, and this driver runs native XDP with at most half of them"
            );
            return finding(without_native(interface), what).mend(change(counts, good));
        }
        ChannelNeed::OnePerCpu if channels < machine.cpus && channels < good => {
            let what = format!(
                "{channels} channels serve {} CPUs, and this driver loses frames that are redirected on a CPU without one",
                machine.cpus
            );
            return finding(Status::Warn, what).mend(change(counts, good));
        }
        _ => {}
    }
    // A virtual device gets its frames from one sender, and what is spread over its queues is the sender's decision.
    if state.kind.is_empty() && channels < good {
        let what = format!(
            "{channels} of {most} channels are in use, on a machine with {} CPUs",
            machine.cpus
        );
        return finding(Status::Warn, what).mend(change(counts, good));
    }
    finding(Status::Ok, format!("{used} receive queue(s)"))
}

/// A veth runs native XDP only if it has a receive queue for each queue on which its other end sends (`veth_xdp_set`,
/// drivers/net/veth.c). An end in another network namespace is not seen.
fn peer_with_more_queues(
    interface: &Interface,
    state: &State,
    counts: &ChannelCounts,
) -> Option<Finding> {
    const WHY: &str =
        "a veth refuses native XDP if its other end sends on more queues than it receives on";
    let peer = state.peer.as_ref()?;
    let (sends_on, status) = (peer.sends_on?, without_native(interface));
    let used = counts.rx.used;
    if status == Status::Ok || sends_on <= used {
        return None;
    }
    let what = format!(
        "{used} receive queue(s), and {}, the other end of the veth, sends on {sends_on}: native XDP needs as many",
        peer.name
    );
    let found = Finding::new("nic.queues", status, what, WHY).on(&interface.name);
    if sends_on > counts.rx.most {
        let peer = super::setting::quoted(&peer.name);
        return Some(found.advise(format!("ethtool -L {peer} tx {used}")));
    }
    let words = ChannelWords::Separate {
        rx: sends_on,
        tx: counts.tx.used,
    };
    Some(found.mend(Change {
        setting: Setting::Channels {
            interface: interface.name.clone(),
        },
        to: words.to_string(),
    }))
}

/// The highest queue that the configuration names, if the interface has not so many.
fn missing_queue(interface: &Interface, used: u32) -> Option<u32> {
    match &interface.queues {
        Queues::All => None,
        Queues::List(queues) => queues.iter().copied().max().filter(|most| *most >= used),
    }
}

pub(super) fn rss(interface: &Interface, state: &State) -> Finding {
    const ID: &str = "nic.rss";
    const WHY: &str = "a receive queue without a place in the RSS table gets no packets: its worker and its CPU are idle in a \
                       flood";
    let finding = |status, what| Finding::new(ID, status, what, WHY).on(&interface.name);
    let table = match &state.rss {
        Ok(table) => table,
        Err(error) => {
            return Finding::unread(ID, "the RSS table", error, WHY).on(&interface.name);
        }
    };
    let mut queues = table.clone();
    queues.sort_unstable();
    queues.dedup();
    let (spread, used) = (queues.len() as u32, state.queues);
    if table.is_empty() || spread >= used {
        return finding(
            Status::Ok,
            format!("packets are spread over {spread} of {used} queue(s)"),
        );
    }
    finding(
        Status::Warn,
        format!("packets are spread over {spread} of {used} queues"),
    )
    .mend(Change {
        setting: Setting::Rss {
            interface: interface.name.clone(),
        },
        to: format!("equal {used}"),
    })
}

pub(super) fn ring(interface: &Interface, state: &State) -> Finding {
    const ID: &str = "nic.ring";
    const WHY: &str = "a short receive ring loses frames of a burst";
    let finding = |status, what| Finding::new(ID, status, what, WHY).on(&interface.name);
    let ring = match &state.ring {
        Ok(ring) => ring,
        Err(error) => {
            return Finding::unread(ID, "the receive ring", error, WHY).on(&interface.name);
        }
    };
    let good = GOOD_RING.min(ring.most);
    if ring.used >= SHORT_RING || ring.used >= good {
        let what = format!("{} descriptors in the receive ring", ring.used);
        return finding(Status::Ok, what);
    }
    finding(
        Status::Warn,
        format!(
            "{} descriptors in the receive ring, of {}",
            ring.used, ring.most
        ),
    )
    .mend(Change {
        setting: Setting::Ring {
            interface: interface.name.clone(),
        },
        to: format!("rx {good}"),
    })
}

/// One finding if the interrupts are spread; else one for each interrupt that is to move.
pub(super) fn irq(interface: &Interface, state: &State, machine: &Machine) -> Vec<Finding> {
    const ID: &str = "nic.irq";
    const WHY: &str =
        "one CPU that handles the interrupts of several queues is the limit of all of them";
    let finding = |status, what| Finding::new(ID, status, what, WHY).on(&interface.name);
    let irqs = match &state.irqs {
        Ok(irqs) => irqs,
        Err(error) => {
            return vec![Finding::unread(ID, "interrupts", error, WHY).on(&interface.name)];
        }
    };
    let crowded = crowded(irqs, machine.cpus);
    let shares = shares_transmit_queues(interface, state);
    if crowded.is_none() && !shares {
        let what = format!("{} interrupt(s), spread over the CPUs", irqs.len());
        return vec![finding(Status::Ok, what)];
    }
    let local = match &state.node {
        Ok(Some(node)) if !node.cpus.is_empty() => node.cpus.clone(),
        _ => (0..machine.cpus as usize).collect(),
    };
    // XDP transmits on the queue that has the number of its CPU, on whatever node that is. Where that is another queue than it
    // receives from, two CPUs share each transmit queue (igb_xdp_tx_queue_mapping, igb_clean_tx_irq).
    let transmits = |queue: &usize| shares && *queue < machine.cpus as usize;
    // Otherwise the queues are spread over the CPUs of the NIC's node.
    let nth = |place: usize| local.get(place % local.len()).copied();
    let moved = irqs.iter().enumerate().filter_map(|(at, irq)| {
        let spread = || crowded.and_then(|_| nth(irq.queue.unwrap_or(at)));
        let to = irq.queue.filter(transmits).or_else(spread)?;
        Some((irq, to))
    });
    let moves: Vec<_> = moved
        .filter(|(irq, to)| irq.cpus.first() != Some(to))
        .map(|(irq, to)| {
            let what = match crowded {
                Some((cpu, several)) => format!(
                    "CPU {cpu} handles {several} of {} interrupts; interrupt {} belongs on CPU {to}",
                    irqs.len(),
                    irq.number
                ),
                None => format!(
                    "interrupt {} is handled on CPU {}, and XDP transmits on its queue from CPU {to}: with zero-copy both wait for \
                     the lock of that queue",
                    irq.number,
                    irq.cpus.first().copied().unwrap_or_default()
                ),
            };
            finding(Status::Warn, what).mend(Change {
                setting: Setting::Irq {
                    interface: interface.name.clone(),
                    number: irq.number,
                },
                to: to.to_string(),
            })
        })
        .collect();
    if moves.is_empty() {
        let what = format!(
            "{} interrupt(s), each queue's on a CPU of its own",
            irqs.len()
        );
        return vec![finding(Status::Ok, what)];
    }
    moves
}

/// Whether it matters which CPU handles which queue: the driver takes the lock of a transmit queue whenever it polls a queue with
/// zero-copy, and XDP takes the lock of the one that has the number of its CPU. igb has zero-copy since Linux 6.14.
fn shares_transmit_queues(interface: &Interface, state: &State) -> bool {
    let locks = state.known.is_some_and(|known| known.zero_copy_locks);
    let has_zero_copy = state.xdp.as_ref().is_ok_and(|xdp| xdp.zero_copy());
    let wants = interface.zero_copy != ZeroCopy::Off && interface.xdp_mode != XdpMode::Generic;
    locks && has_zero_copy && wants
}

/// The CPU that handles more interrupts than its share and one, which may be that of the link, and how many.
fn crowded(irqs: &[Irq], cpus: u32) -> Option<(usize, usize)> {
    let share = irqs.len().div_ceil(cpus.max(1) as usize);
    let firsts = irqs.iter().filter_map(|irq| irq.cpus.first());
    let count = |cpu: &usize| {
        let on = irqs.iter().filter(|irq| irq.cpus.first() == Some(cpu));
        (*cpu, on.count())
    };
    firsts
        .map(count)
        .max_by_key(|(_, several)| *several)
        .filter(|(_, several)| *several > share + 1)
}

pub(super) fn numa(
    interface: &Interface,
    state: &State,
    machine: &Machine,
    cores: &Cores,
) -> Finding {
    const ID: &str = "numa";
    const WHY: &str = "a worker on a CPU of another node reaches the frames of its NIC over the link between the nodes";
    let finding = |status, what| Finding::new(ID, status, what, WHY).on(&interface.name);
    let node = match &state.node {
        _ if machine.nodes <= 1 => return finding(Status::Ok, "one NUMA node".into()),
        Ok(Some(node)) => node,
        Ok(None) => return finding(Status::Ok, "no device of a NUMA node".into()),
        Err(error) => {
            return Finding::unread(ID, "the NUMA node", error, WHY).on(&interface.name);
        }
    };
    let list = format!("{:?}", node.cpus);
    match cores {
        Cores::List(cores) if cores.iter().all(|core| node.cpus.contains(core)) => {
            finding(Status::Ok, format!("workers run on node {}", node.number))
        }
        Cores::List(cores) => finding(
            Status::Warn,
            format!(
                "the device is on node {}, and cores = {cores:?} has CPUs of another node: set cores = {list} in [appliance]",
                node.number
            ),
        ),
        Cores::Auto => finding(
            Status::Warn,
            format!(
                "the device is on node {} of {}, and workers run on all CPUs: set cores = {list} in [appliance]",
                node.number, machine.nodes
            ),
        ),
    }
}
