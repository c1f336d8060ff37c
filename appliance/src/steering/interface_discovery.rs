//! Finds the configured interfaces and checks that XDP can steer each.

use synward_core::layout::{MAX_QUEUES, side};

use super::error::SteeringError;
use super::kernel_crash::crash_of_native_xdp;
use super::vlan_stripping;
use crate::config::{self, Attach, Queues, Side};
use crate::kernel::{self, AttachedProgram, Link};

/// An interface that is steered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SteeredInterface {
    /// Interface name, as the configuration has it.
    pub name: String,
    /// Interface index.
    pub index: u32,
    /// Its row in the XSKMAP and in the map of interfaces.
    pub slot: u32,
    /// The receive queues that get a socket, each below [`MAX_QUEUES`].
    pub queues: Vec<u32>,
    /// Whether it faces clients, servers or both.
    pub side: Side,
    /// Whether XDP is native. Meaningful after the program is attached.
    pub native: bool,
    /// Whether another program calls ours (`attach = "none"`).
    pub called: bool,
    /// A hardware address that its bond, if it has one, has not: what the self-test sends from, and to.
    pub mac: [u8; 6],
    /// MTU, bytes.
    pub mtu: u32,
    /// Notices for the log.
    pub notices: Vec<String>,
}

impl SteeredInterface {
    /// What the interface is called now. It may have been renamed since it was found, and is known by its index.
    pub fn device(&self) -> String {
        kernel::interface_name(self.index).unwrap_or_else(|| self.name.clone())
    }

    /// eth0 with index 3, one queue and native XDP.
    #[cfg(test)]
    pub(super) fn example() -> Self {
        Self {
            name: "eth0".into(),
            index: 3,
            slot: 0,
            queues: vec![0],
            side: Side::Outside,
            native: true,
            called: false,
            mac: [0; 6],
            mtu: 1500,
            notices: Vec::new(),
        }
    }
}

/// An interface of the configuration, found in the kernel.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) steered: SteeredInterface,
    /// The XDP program that was attached before.
    pub(super) before: Option<AttachedProgram>,
    /// Why native XDP would crash the kernel; `None`: it would not.
    pub(super) crash: Option<String>,
    kind: String,
}

impl Found {
    /// The kind of the device, for messages.
    pub(super) fn kind(&self) -> &str {
        if self.kind.is_empty() {
            "hardware"
        } else {
            &self.kind
        }
    }
}

/// What an interface had when the program was attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attached {
    pub(super) interface: SteeredInterface,
    /// The id of the XDP program; `None`: that of somebody else, which calls ours.
    pub(super) program: Option<u32>,
    /// Receive queues that the driver used.
    pub(super) receive_queues: u32,
    /// Whether the interface was deleted since, or moved to another network namespace. One that comes back, even
    /// under the same index, has lost all that was bound to it.
    pub(super) gone: bool,
}

impl Attached {
    /// The interface among `links`, unless it is gone.
    pub(super) fn link<'a>(&self, links: &'a [Link]) -> Option<&'a Link> {
        let mut links = links.iter().filter(|_| !self.gone);
        links.find(|link| link.index == self.interface.index)
    }

    /// Another interface that has the name.
    pub(super) fn namesake<'a>(&self, links: &'a [Link]) -> Option<&'a Link> {
        let is_another = |link: &&Link| self.gone || link.index != self.interface.index;
        let mut others = links.iter().filter(is_another);
        others.find(|link| link.name == self.interface.name)
    }
}

/// The bits of [`Interface::side`](synward_core::layout::Interface::side).
pub(super) fn side_bits(of: Side) -> u32 {
    let outside = if of.faces_clients() { side::OUTSIDE } else { 0 };
    let inside = if of.faces_servers() { side::INSIDE } else { 0 };
    outside | inside
}

/// Finds the configured interfaces in this network namespace, in order, and checks each.
pub(super) fn find_steered(wanted: &[config::Interface]) -> Result<Vec<Found>, SteeringError> {
    let links = kernel::links().map_err(SteeringError::Netlink)?;
    let find = |(slot, wanted)| find(wanted, slot, &links);
    (0..).zip(wanted).map(find).collect()
}

/// Finds one interface of the configuration, and checks it.
pub(super) fn find(
    wanted: &config::Interface,
    slot: u32,
    links: &[Link],
) -> Result<Found, SteeringError> {
    let name = wanted.name.clone();
    let Some(link) = links.iter().find(|link| link.name == name) else {
        return Err(SteeringError::NoInterface { name });
    };
    check_kind(link, links)?;
    vlan_stripping::check(link, links)?;
    let (queues, notices) = queues(wanted, receive_queues(link))?;
    Ok(Found {
        before: link.xdp,
        crash: crash_of_native_xdp(link),
        kind: link.kind.clone(),
        steered: SteeredInterface {
            index: link.index,
            slot,
            queues,
            side: wanted.side,
            native: false,
            called: wanted.attach == Attach::None,
            mac: own_mac(link, links),
            mtu: link.mtu,
            notices,
            name,
        },
    })
}

/// A hardware address that a switch looks for nowhere else. The ports of a bond have one together, which a switch would look for
/// at the port where it saw it last: that may be one on which the bond receives nothing.
fn own_mac(link: &Link, links: &[Link]) -> [u8; 6] {
    let mut masters = links
        .iter()
        .filter(|other| link.master == Some(other.index));
    let shared = masters.find(|master| matches!(master.kind.as_str(), "bond" | "team"));
    let Some(master) = shared else {
        return link.mac;
    };
    // Where a bond receives, its own address is at the right port. A team does not say where it does.
    if master.kind == "bond" && !link.standby {
        return link.mac;
    }
    let mut own = link.permanent_mac.unwrap_or(link.mac);
    if own == master.mac {
        // As a rule the bond has the permanent address of its first port. With the other value of the bit that says whether an
        // address is local (IEEE 802) nobody has it.
        own[0] ^= 2;
    }
    own
}

/// The receive queues that the driver of an interface uses.
pub(super) fn receive_queues(link: &Link) -> u32 {
    kernel::receive_queues(&link.name)
        .unwrap_or(link.receive_queues)
        .max(1)
}

/// Looks up the queues of an interface again. Attaching a native program makes some drivers use more queues
/// (`virtnet_xdp_set`, drivers/net/virtio_net.c).
pub(super) fn count_queues_again(
    wanted: &config::Interface,
    found: &mut Found,
    links: &[Link],
) -> Result<(), SteeringError> {
    let index = found.steered.index;
    let Some(link) = links.iter().find(|link| link.index == index) else {
        return Ok(());
    };
    let (queues, notices) = queues(wanted, receive_queues(link))?;
    if queues != found.steered.queues {
        tracing::info!(
            interface = %link.name, before = found.steered.queues.len(), now = queues.len(),
            "the driver uses another number of receive queues since the program is attached"
        );
        found.steered.queues = queues;
        found.steered.notices.extend(notices);
    }
    Ok(())
}

/// Why XDP cannot steer a device of this kind. `None`: it can.
pub(crate) fn refused_kind(link: &Link, links: &[Link]) -> Option<String> {
    check_kind(link, links).err().map(|error| error.to_string())
}

/// Refuses devices on which XDP sees no frames, or from which it cannot send.
fn check_kind(link: &Link, links: &[Link]) -> Result<(), SteeringError> {
    let (name, kind) = (link.name.clone(), link.kind.clone());
    let lower = || {
        let lower = link
            .lower
            .and_then(|index| links.iter().find(|link| link.index == index));
        lower.map_or_else(|| "the device below".into(), |lower| lower.name.clone())
    };
    match (link.link_type, kind.as_str()) {
        (libc::ARPHRD_LOOPBACK, _) => Err(SteeringError::Loopback { name }),
        (_, "bridge" | "bond" | "team" | "openvswitch" | "vrf" | "hsr") => {
            let is_port = |port: &&Link| port.master == Some(link.index);
            let ports: Vec<_> = links
                .iter()
                .filter(is_port)
                .map(|port| port.name.as_str())
                .collect();
            let ports = if ports.is_empty() {
                "it has none".into()
            } else {
                ports.join(", ")
            };
            Err(SteeringError::Master { name, kind, ports })
        }
        (_, "vlan") => Err(SteeringError::Vlan {
            name,
            lower: lower(),
        }),
        (_, "macvlan" | "macvtap" | "ipvlan" | "ipvtap" | "macsec") => {
            let lower = lower();
            Err(SteeringError::Stacked { name, kind, lower })
        }
        (libc::ARPHRD_ETHER, _) => Ok(()),
        (link_type, _) => Err(SteeringError::NotEthernet { name, link_type }),
    }
}

/// The queues that get a socket, of the `has` queues of the interface, and a notice about queues without one.
fn queues(wanted: &config::Interface, has: u32) -> Result<(Vec<u32>, Vec<String>), SteeringError> {
    let name = wanted.name.clone();
    match &wanted.queues {
        Queues::All if has > MAX_QUEUES => Err(SteeringError::TooManyQueues {
            channels: kernel::receive_channel_words(&name, MAX_QUEUES),
            name,
            has,
            most: MAX_QUEUES,
        }),
        Queues::All => Ok(((0..has).collect(), Vec::new())),
        Queues::List(list) => {
            if let Some(&queue) = list.iter().find(|queue| **queue >= has) {
                let channels = kernel::receive_channel_words(&name, queue + 1);
                return Err(SteeringError::NoQueue {
                    name,
                    queue,
                    has,
                    channels,
                });
            }
            let missing = (0..has).filter(|queue| !list.contains(queue)).count();
            let notice = format!(
                "{name}: {missing} of {has} receive queues have no worker (`queues`): connections of clients whose \
                 packets arrive there are not opened"
            );
            Ok((
                list.clone(),
                (missing > 0).then_some(notice).into_iter().collect(),
            ))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::{XdpMode, ZeroCopy};

    fn wanted(queues: Queues) -> config::Interface {
        config::Interface {
            name: "nic0".into(),
            side: Side::Both,
            xdp: XdpMode::Auto,
            zero_copy: ZeroCopy::Auto,
            queues,
            attach: Attach::Native,
            next: None,
            line: 1,
        }
    }

    #[test]
    fn an_unused_port_of_a_bond_is_known_by_an_address_that_the_bond_has_not() {
        let (shared, own) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 9]);
        let port = |master, permanent_mac| Link {
            index: 3,
            mac: shared,
            permanent_mac,
            master,
            standby: true,
            ..Link::default()
        };
        let master = |index, kind: &str| Link {
            index,
            kind: kind.into(),
            mac: shared,
            ..Link::default()
        };
        let links = [master(1, "bond"), master(2, "bridge"), master(4, "team")];
        for above in [1, 4] {
            assert_eq!(own_mac(&port(Some(above), Some(own)), &links), own);
            // The bond has the address of its first port.
            let first = port(Some(above), Some(shared));
            assert_eq!(own_mac(&first, &links), [0, 0, 0, 0, 0, 1]);
            // A veth has none of its own.
            assert_eq!(
                own_mac(&port(Some(above), None), &links),
                [0, 0, 0, 0, 0, 1]
            );
        }
        // The port that a bond uses.
        let mut used = port(Some(1), Some(own));
        used.standby = false;
        assert_eq!(own_mac(&used, &links), shared);
        assert_eq!(own_mac(&port(Some(2), Some(own)), &links), shared);
        assert_eq!(own_mac(&port(None, Some(own)), &links), shared);
        assert_eq!(own_mac(&port(Some(7), None), &links), shared);
    }

    #[test]
    fn all_selects_every_existing_queue() {
        assert_eq!(
            queues(&wanted(Queues::All), 3).unwrap(),
            (vec![0, 1, 2], vec![])
        );
        let refused = queues(&wanted(Queues::All), 257).unwrap_err().to_string();
        assert_eq!(
            refused,
            "nic0 has 257 receive queues, and at most 256 can be steered: `ethtool -L nic0 combined 256` makes it so"
        );
    }

    #[test]
    fn listed_queues_must_exist_and_others_yield_a_notice() {
        let (chosen, notices) = queues(&wanted(Queues::List(vec![1])), 2).unwrap();
        assert_eq!(chosen, [1]);
        assert!(notices[0].starts_with("nic0: 1 of 2 receive queues have no worker"));
        let refused = queues(&wanted(Queues::List(vec![0, 7])), 2)
            .unwrap_err()
            .to_string();
        assert_eq!(
            refused,
            "nic0 has 2 receive queues, so there is no queue 7: correct `queues`, or make more with `ethtool -L nic0 combined 8`"
        );
    }

    #[test]
    fn refuses_devices_that_xdp_cannot_send_from_and_names_the_replacement() {
        let link = |index, name: &str, kind: &str| Link {
            index,
            name: name.into(),
            kind: kind.into(),
            link_type: libc::ARPHRD_ETHER,
            ..Link::default()
        };
        let mut port = link(1, "eth0", "");
        port.master = Some(2);
        let mut links = vec![
            port,
            link(2, "br0", "bridge"),
            link(3, "eth9.7", "vlan"),
            link(4, "mv0", "macvlan"),
        ];
        links[2].lower = Some(1);
        links[3].lower = Some(1);
        assert!(check_kind(&links[0], &links).is_ok());
        for (at, message) in [
            (
                1,
                "br0 is a bridge, which XDP cannot send from: name its ports instead (eth0)",
            ),
            (
                2,
                "eth9.7 is a VLAN: name eth0 instead, tags are looked through",
            ),
            (
                3,
                "mv0 is a macvlan device on top of eth0, which XDP cannot send from: name eth0 instead",
            ),
        ] {
            assert_eq!(
                check_kind(&links[at], &links).unwrap_err().to_string(),
                message
            );
        }
    }
}
