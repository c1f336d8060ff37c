//! Finds NICs that hide VLAN tags from XDP.
//!
//! With `rx-vlan-offload`, a NIC removes the tag of a received frame and reports it beside the frame. The kernel knows it, but
//! the XDP program does not see it: it would answer a client in a VLAN without a tag, and the answer is lost.

use super::error::SteeringError;
use crate::config::Config;
use crate::kernel::{self, Link};

/// Refuses an interface that carries VLANs and whose NIC removes the tags.
pub(super) fn check(link: &Link, links: &[Link]) -> Result<(), SteeringError> {
    // A driver that does not say keeps the tags, as far as is known.
    let strips = kernel::receive_offloads(&link.name).is_ok_and(|offloads| offloads.vlan);
    match fault(link, links, strips) {
        Some(fault) => Err(SteeringError::TagsStripped(fault)),
        None => Ok(()),
    }
}

/// The interfaces of the configuration whose NIC removes VLAN tags: the line of each, and why that is wrong. Empty if the
/// kernel does not list its interfaces.
pub fn stripped_tag_warnings(config: &Config) -> Vec<(usize, String)> {
    let links = kernel::links().unwrap_or_default();
    let warning = |wanted: &crate::config::Interface| {
        let link = links.iter().find(|link| link.name == wanted.name)?;
        let error = check(link, &links).err()?;
        Some((wanted.line, error.to_string()))
    };
    config.interfaces.iter().filter_map(warning).collect()
}

/// Why the tags of an interface must not be removed, with the cure. `None`: they are not, or the interface has no VLANs.
fn fault(link: &Link, links: &[Link], strips: bool) -> Option<String> {
    let is_vlan = |other: &&Link| other.kind == "vlan" && other.lower == Some(link.index);
    let vlans = links.iter().filter(is_vlan);
    let vlans = vlans.map(|vlan| vlan.name.as_str()).collect::<Vec<_>>();
    if !strips || vlans.is_empty() {
        return None;
    }
    let name = &link.name;
    // The sender of a veth leaves the tag beside the frame, whatever the receiver is set to.
    let peer = match link.kind.as_str() {
        "veth" => ", and `txvlan off` on its peer",
        _ => "",
    };
    Some(format!(
        "{name} carries VLANs ({}), but its NIC removes the tags before XDP sees them (rx-vlan-offload), so that answers would \
         leave without a tag: `ethtool -K {name} rxvlan off`{peer}",
        vlans.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str, kind: &str, lower: Option<u32>) -> Link {
        Link {
            index,
            name: name.into(),
            kind: kind.into(),
            lower,
            ..Link::default()
        }
    }

    #[test]
    fn stripped_tags_matter_where_there_are_vlans() {
        let links = [
            link(2, "eth0", "", None),
            link(3, "eth1", "", None),
            link(4, "eth0.5", "vlan", Some(2)),
            link(5, "guests", "vlan", Some(2)),
            link(6, "mv0", "macvlan", Some(3)),
        ];
        assert_eq!(
            fault(&links[0], &links, true).as_deref(),
            Some(
                "eth0 carries VLANs (eth0.5, guests), but its NIC removes the tags before XDP sees them (rx-vlan-offload), so \
                 that answers would leave without a tag: `ethtool -K eth0 rxvlan off`"
            )
        );
        assert_eq!(fault(&links[0], &links, false), None);
        assert_eq!(fault(&links[1], &links, true), None, "no VLAN");
    }

    #[test]
    fn a_veth_has_a_peer_to_mend() {
        let links = [
            link(2, "ve0", "veth", Some(9)),
            link(3, "ve0.5", "vlan", Some(2)),
        ];
        let fault = fault(&links[0], &links, true);
        assert!(
            fault
                .as_deref()
                .is_some_and(|fault| fault.ends_with("`txvlan off` on its peer")),
            "{fault:?}"
        );
    }
}
