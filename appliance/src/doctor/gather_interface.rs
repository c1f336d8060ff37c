//! Gathers the facts about interfaces.
//!
//! What /sys/class/net shows may belong to another network namespace. Facts about the device are therefore read by its
//! address on the bus, which the driver tells.

use std::fs;
use std::path::{Path, PathBuf};

use super::facts::{Interface, Irq, Node, Peer, Program, Read, State, Unread};
use super::file_facts::text;
use crate::config::{Attach, Config, Queues, XdpMode, ZeroCopy};
use crate::kernel::{self, Link};
use crate::steering;

/// The interfaces of the configuration; without one, those that look like a machine's port to a network.
pub(super) fn gather(
    config: Option<&Config>,
    links: &[Link],
    pin: Option<&Path>,
) -> Vec<Interface> {
    let Some(config) = config else {
        let ports = links.iter().filter(|link| is_port(link, links));
        return ports
            .map(|link| Interface {
                name: link.name.clone(),
                xdp_mode: XdpMode::Auto,
                zero_copy: ZeroCopy::Auto,
                queues: Queues::All,
                state: Some(state(link, links, pin)),
            })
            .collect();
    };
    let interfaces = config.interfaces.iter();
    interfaces
        .map(|wanted| {
            let link = links.iter().find(|link| link.name == wanted.name);
            Interface {
                name: wanted.name.clone(),
                xdp_mode: wanted.attach_mode(),
                zero_copy: wanted.zero_copy,
                queues: wanted.queues.clone(),
                state: link.map(|link| with_caller(state(link, links, pin), wanted.attach)),
            }
        })
        .collect()
}

/// Whether an interface looks like a port to a network: hardware, or a virtual device that is no port of a bridge.
fn is_port(link: &Link, links: &[Link]) -> bool {
    let is_like_hardware = match link.kind.as_str() {
        "" => true,
        "veth" | "tun" => link.master.is_none(),
        _ => false,
    };
    is_like_hardware && steering::refused_kind(link, links).is_none()
}

fn state(link: &Link, links: &[Link], pin: Option<&Path>) -> State {
    let name = &link.name;
    let driver = kernel::driver(name).map_err(Unread::from);
    let peer = links
        .iter()
        .find(|peer| link.kind == "veth" && peer.lower == Some(link.index) && peer.kind == "veth");
    let is_vlan = |other: &&Link| other.kind == "vlan" && other.lower == Some(link.index);
    let vlans = links.iter().filter(is_vlan);
    let device = device(name);
    State {
        kind: link.kind.clone(),
        refusal: steering::refused_kind(link, links),
        crash: steering::crash_of_native_xdp(link),
        up: link.up,
        carrier: link.carrier,
        mtu: link.mtu,
        peer: peer.map(|peer| Peer {
            name: peer.name.clone(),
            mtu: peer.mtu,
            sends_on: kernel::channel_counts(&peer.name)
                .ok()
                .map(|counts| counts.tx.used),
        }),
        vlans: vlans.map(|vlan| vlan.name.clone()).collect(),
        known: driver
            .as_ref()
            .ok()
            .and_then(|driver| steering::facts_of(driver)),
        driver,
        xdp: kernel::xdp_features(link.index).map_err(too_old),
        channels: kernel::channel_counts(name).map_err(Unread::from),
        ring: kernel::receive_ring(name).map_err(Unread::from),
        rss: kernel::rss_table(name).map_err(Unread::from),
        queues: kernel::receive_queues(name).unwrap_or(link.receive_queues),
        offloads: kernel::offloads(name).map_err(Unread::from),
        node: device
            .as_deref()
            .map_or(Ok(None), |device| node(device).map(Some)),
        irqs: device.as_deref().map_or(Err(Unread::Absent), irqs),
        program: program(link, pin),
    }
}

/// The family `netdev` of generic netlink is of Linux 6.3.
fn too_old(error: std::io::Error) -> Unread {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            Unread::Failed("this kernel does not tell (Linux 6.3 and later does)".into())
        }
        _ => error.into(),
    }
}

/// The folder of the PCI device of an interface.
fn device(interface: &str) -> Option<PathBuf> {
    let address = kernel::bus(interface).ok()?;
    let is_address = !address.is_empty() && !address.contains('/');
    let folder = Path::new("/sys/bus/pci/devices").join(&address);
    (is_address && folder.exists()).then_some(folder)
}

fn node(device: &Path) -> Read<Node> {
    let number = text(device.join("numa_node"))?;
    // -1 on a machine without nodes.
    let Ok(number) = number.parse() else {
        return Err(Unread::Absent);
    };
    let cpus = text(device.join("local_cpulist"))?;
    Ok(Node {
        number,
        cpus: cpu_list(&cpus),
    })
}

fn irqs(device: &Path) -> Read<Vec<Irq>> {
    let folder = device.join("msi_irqs");
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(Unread::Absent),
        Err(error) => return Err(Unread::Failed(format!("{}: {error}", folder.display()))),
    };
    let mut numbers: Vec<u32> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    let irq = |number: u32| {
        let folder = PathBuf::from(format!("/proc/irq/{number}"));
        let cpus = text(folder.join("effective_affinity_list"))?;
        let name = fs::read_to_string(format!("/sys/kernel/irq/{number}/actions"));
        Ok(Irq {
            number,
            cpus: cpu_list(&cpus),
            queue: name.ok().and_then(|name| queue_of(name.trim())),
        })
    };
    // A vector without a handler has no folder in /proc/irq, or no CPU.
    let irqs = numbers
        .into_iter()
        .filter(|number| Path::new(&format!("/proc/irq/{number}")).exists());
    let irqs: Read<Vec<Irq>> = irqs.map(irq).collect();
    irqs.map(|irqs| {
        irqs.into_iter()
            .filter(|irq| !irq.cpus.is_empty())
            .collect()
    })
}

/// The queue of an interrupt, as drivers name it: `eth0-rx-1`, `i40e-eth0-TxRx-1`, `virtio0-input.1`.
fn queue_of(name: &str) -> Option<usize> {
    // mlx5 ends its names with the address on the bus.
    let own = name.split('@').next()?;
    let (_, queue) = own.rsplit_once(['-', '.'])?;
    queue.parse().ok()
}

/// The CPUs of a list such as `0-3,8` (Documentation/admin-guide/cputopology.rst).
fn cpu_list(text: &str) -> Vec<usize> {
    /// More CPUs than the kernel can have (CONFIG_NR_CPUS).
    const MOST: usize = 1 << 14;
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<usize>(), last.trim().parse::<usize>())
        {
            cpus.extend(first..=last.min(MOST));
        }
    }
    cpus
}

/// With `attach = "none"` the program of somebody else belongs there.
fn with_caller(mut state: State, attach: Attach) -> State {
    state.program = match (attach, state.program) {
        (Attach::None, Program::Foreign { what, .. } | Program::Hidden { what }) => {
            Program::Caller { what }
        }
        (_, program) => program,
    };
    state
}

fn program(link: &Link, pin: Option<&Path>) -> Program {
    let Some(attached) = link.xdp else {
        return Program::None;
    };
    let occupant = steering::Occupant::find(&link.name, Some(attached));
    if occupant.is_synward(pin) {
        return Program::Own;
    }
    if occupant.is_hidden() && !rustix::process::geteuid().is_root() {
        let what = occupant.describe();
        return Program::Hidden { what };
    }
    Program::Foreign {
        what: occupant.describe(),
        cure: occupant.cure(),
        command: occupant.harmless_command(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_have_ranges() {
        assert_eq!(cpu_list("0-2,8"), [0, 1, 2, 8]);
        assert_eq!(cpu_list("3"), [3]);
        assert_eq!(cpu_list(""), [0; 0]);
        assert_eq!(cpu_list("5-2,x,1-"), [0; 0]);
    }

    #[test]
    fn interrupts_of_queues_are_known_by_their_names() {
        let names = [
            "out0-rx-1",
            "i40e-eth0-TxRx-1",
            "virtio0-input.1",
            "out0",
            "virtio0-config",
            "mlx5_comp1@pci:0000:01:00.0",
        ];
        let queues = names.map(queue_of);
        assert_eq!(queues, [Some(1), Some(1), Some(1), None, None, None]);
    }

    #[test]
    fn ports_are_what_leads_to_a_network() {
        let link = |kind: &str, master| Link {
            kind: kind.into(),
            master,
            link_type: libc::ARPHRD_ETHER,
            ..Link::default()
        };
        for (kind, master, is) in [
            ("", None, true),
            ("", Some(7), true),
            ("veth", None, true),
            ("veth", Some(7), false),
            ("bridge", None, false),
            ("vlan", None, false),
            ("dummy", None, false),
        ] {
            assert_eq!(is_port(&link(kind, master), &[]), is, "{kind}");
        }
        let loopback = Link {
            link_type: libc::ARPHRD_LOOPBACK,
            ..Link::default()
        };
        assert!(!is_port(&loopback, &[]));
    }
}
