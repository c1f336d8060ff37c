//! Which devices have traffic of an interface: VLAN devices on it, and what it is a port of.

use std::collections::BTreeSet;

use synward_core::layout::{ANY_VLAN, VlanTags, push_vlan_tag};

use crate::kernel::Link;

/// The VLANs with devices on an interface, or on the bond that it is a port of: one tag, or a tag in a service tag.
pub(super) fn vlans_on(links: &[Link], interface: u32) -> BTreeSet<VlanTags> {
    let find = |index| links.iter().find(|link| link.index == index);
    let master = find(interface).and_then(|link| link.master).and_then(find);
    let is_bond = |link: &Link| matches!(link.kind.as_str(), "bond" | "team");
    // A VRF is a table of routes: it takes no frames.
    let master = master.filter(|master| master.kind != "vrf");
    let entry = |tags| VlanTags {
        tags,
        interface,
        reserved: 0,
    };
    if master.is_some_and(|master| !is_bond(master)) {
        return [entry(ANY_VLAN)].into();
    }
    let mut found = BTreeSet::new();
    for lower in [Some(interface), master.map(|link| link.index)]
        .into_iter()
        .flatten()
    {
        for (outer, tags) in devices_on(links, lower, 0) {
            found.insert(entry(tags));
            found.extend(
                devices_on(links, outer, tags)
                    .into_iter()
                    .map(|(_, tags)| entry(tags)),
            );
        }
    }
    found
}

/// The devices that have the traffic of an interface as theirs: what it is a port of, VLAN devices on either, and so on. A VRF
/// takes no frames.
pub(super) fn devices_above(links: &[Link], interface: u32) -> Vec<&Link> {
    let find = |index| links.iter().find(|link| link.index == index);
    let mut found: Vec<&Link> = Vec::new();
    let mut waiting = vec![interface];
    while let Some(index) = waiting.pop() {
        let master = find(index).and_then(|link| link.master).and_then(find);
        let master = master.filter(|master| master.kind != "vrf");
        let vlans = devices_on(links, index, 0).into_iter();
        let vlans = vlans.filter_map(|(vlan, _)| find(vlan));
        for above in master.into_iter().chain(vlans) {
            let is_known = |one: &&Link| one.index == above.index;
            if above.index != interface && !found.iter().any(is_known) {
                found.push(above);
                waiting.push(above.index);
            }
        }
    }
    found
}

/// The VLAN devices directly on a device, or on a macvlan of it, which takes frames of any tag: their indices, and their tags
/// behind `outer`.
fn devices_on(links: &[Link], lower: u32, outer: u64) -> Vec<(u32, u64)> {
    let on = |lower| links.iter().filter(move |link| link.lower == Some(lower));
    let is_macvlan = |link: &&Link| matches!(link.kind.as_str(), "macvlan" | "macvtap");
    let macvlans = on(lower).filter(is_macvlan).map(|link| link.index);
    [lower]
        .into_iter()
        .chain(macvlans)
        .flat_map(on)
        .filter_map(|link| {
            let (protocol, id) = link.vlan?;
            Some((link.index, push_vlan_tag(outer, protocol, id)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUSTOMER: u16 = 0x8100;
    const SERVICE: u16 = 0x88a8;

    fn port(index: u32, master: Option<u32>) -> Link {
        Link {
            index,
            master,
            ..Link::default()
        }
    }

    fn vlan(index: u32, lower: u32, protocol: u16, id: u16) -> Link {
        Link {
            index,
            lower: Some(lower),
            kind: "vlan".into(),
            vlan: Some((protocol, id)),
            ..Link::default()
        }
    }

    fn master(index: u32, kind: &str) -> Link {
        Link {
            index,
            kind: kind.into(),
            ..Link::default()
        }
    }

    fn tags(links: &[Link], interface: u32) -> Vec<u64> {
        vlans_on(links, interface)
            .iter()
            .map(|one| one.tags)
            .collect()
    }

    #[test]
    fn only_vlans_with_devices_are_looked_through() {
        let links = [
            port(1, None),
            vlan(2, 1, CUSTOMER, 7),
            vlan(3, 1, SERVICE, 100),
            vlan(4, 3, CUSTOMER, 8),
            port(5, None),
        ];
        let double = 0x88a8_0064_8100_0008;
        assert_eq!(tags(&links, 1), [0x8100_0007, 0x88a8_0064, double]);
        assert_eq!(tags(&links, 5), [0; 0]);
    }

    #[test]
    fn ports_have_the_vlans_of_their_bond_and_all_of_a_bridge() {
        let links = [
            port(1, Some(2)),
            master(2, "bond"),
            vlan(3, 2, CUSTOMER, 7),
            port(4, Some(5)),
            master(5, "bridge"),
        ];
        assert_eq!(tags(&links, 1), [0x8100_0007]);
        assert_eq!(tags(&links, 4), [ANY_VLAN]);
    }

    #[test]
    fn clients_are_behind_vlans_and_masters_too() {
        let above = |links: &[Link], interface| -> Vec<u32> {
            let above = devices_above(links, interface);
            above.into_iter().map(|link| link.index).collect()
        };
        let links = [
            port(1, Some(2)),
            master(2, "bond"),
            vlan(3, 2, CUSTOMER, 7),
            vlan(4, 1, SERVICE, 100),
            vlan(5, 4, CUSTOMER, 8),
            port(6, Some(7)),
            master(7, "vrf"),
            vlan(8, 9, CUSTOMER, 7),
        ];
        assert_eq!(above(&links, 1), [2, 4, 5, 3]);
        assert_eq!(above(&links, 6), [0; 0]);
        let bridged = [
            port(1, Some(2)),
            Link {
                master: Some(3),
                ..master(2, "bond")
            },
            master(3, "bridge"),
            Link {
                master: Some(5),
                ..vlan(4, 1, CUSTOMER, 7)
            },
            master(5, "bridge"),
        ];
        assert_eq!(above(&bridged, 1), [2, 4, 5, 3]);
    }

    #[test]
    fn a_macvlan_hands_tags_on_and_a_vrf_takes_none() {
        let macvlan = Link {
            lower: Some(1),
            ..master(3, "macvlan")
        };
        let links = [
            port(1, Some(2)),
            master(2, "vrf"),
            macvlan,
            vlan(4, 3, CUSTOMER, 7),
        ];
        assert_eq!(tags(&links, 1), [0x8100_0007]);
    }
}
