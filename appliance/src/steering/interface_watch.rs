//! Compares the steered interfaces with what the kernel has now: an interface that was deleted or recreated, a program that
//! was detached or replaced, receive queues that appeared, another MTU, a link that is down.
//!
//! What [`interface_mend`](super::interface_mend) cannot mend is reported as a reason why the appliance is degraded, with the
//! cure.

use std::time::Instant;

use super::chain;
use super::error::SteeringError;
use super::handle::Steering;
use super::interface_discovery::{Attached, SteeredInterface, count_queues_again, receive_queues};
use super::receive_frames::has_same_frames;
use crate::kernel::{self, ChannelWords, Link, LinkWatch};

impl Steering {
    /// Notes what the interfaces have now that the program is attached, with how many queues, and which of them their bonds use.
    pub(super) fn watch_attached(&mut self) -> Result<(), SteeringError> {
        let links = kernel::links().map_err(SteeringError::Netlink)?;
        for (found, wanted) in self.found.iter_mut().zip(&self.wanted) {
            count_queues_again(wanted, found, &links)?;
        }
        self.note_frags()?;
        self.interfaces = self
            .found
            .iter()
            .map(|found| found.steered.clone())
            .collect();
        self.expect_arrivals(&links, Instant::now());
        let program = self.object.program_id()?;
        let attached = |interface: &SteeredInterface| {
            let link = links.iter().find(|link| link.index == interface.index)?;
            Some(Attached {
                interface: interface.clone(),
                program: (!interface.called).then_some(program),
                receive_queues: receive_queues(link),
                gone: false,
            })
        };
        self.watched = self.interfaces.iter().filter_map(attached).collect();
        let watch = LinkWatch::open().inspect_err(
            |error| tracing::warn!(%error, "interfaces that are gone for less than a second will not be noticed"),
        );
        self.link_watch = watch.ok();
        // The first round of the control thread comes after the self-test.
        self.follow_standby_ports()
    }

    /// The reasons why interfaces do not carry the traffic of their services, each with the cure. Empty before
    /// [`Steering::attach`]. `needs_workers`: connections need a worker on the queue on which they arrive.
    ///
    /// # Errors
    /// The kernel cannot list its interfaces.
    pub fn find_faults(&mut self, needs_workers: bool) -> Result<Vec<String>, SteeringError> {
        let links = kernel::links().map_err(SteeringError::Netlink)?;
        let unfed = self.find_unfed(&links, Instant::now());
        let fault = |attached: &Attached| {
            let link = attached.link(&links);
            let queues = link.filter(|_| needs_workers).map_or(0, receive_queues);
            let name = &link.map_or(&attached.interface.name, |link| &link.name);
            let words = |count| kernel::receive_channel_words(name, count);
            let fits = |mtu| has_same_frames(name, attached.interface.mtu, mtu);
            find_fault(attached, &links, queues, words, fits)
        };
        let faults = self.watched.iter().filter_map(fault);
        Ok(faults.chain(unfed).collect())
    }
}

/// The reason why an interface does not carry the traffic of its services, with the cure. `None`: nothing is wrong.
/// `receive_queues` is the number of receive queues that the driver uses now, `channel_words` says how `ethtool -L` makes so
/// many, `fits` whether what was made for the MTU at start serves another one, too.
pub(super) fn find_fault(
    attached: &Attached,
    links: &[Link],
    receive_queues: u32,
    channel_words: impl Fn(u32) -> ChannelWords,
    fits: impl Fn(u32) -> bool,
) -> Option<String> {
    let name = &attached.interface.name;
    let Some(link) = attached.link(links) else {
        return Some(match attached.namesake(links) {
            Some(link) if attached.interface.called && link.xdp.is_none() => {
                chain::nothing_attached(&link.name)
            }
            Some(_) => format!(
                "{name} was deleted and created again: its traffic is not steered; restart synward"
            ),
            None => format!("{name} is gone: create it again, and synward steers it"),
        });
    };
    // An interface may be renamed: the program and the sockets are bound to its index.
    let (was, name) = (name, &link.name);
    match (link.xdp, attached.program) {
        (None, None) => return Some(chain::nothing_attached(name)),
        (Some(_), None) => {}
        (None, Some(_)) => {
            return Some(format!(
                "{name} has no XDP program any more, somebody has detached it: its traffic is not steered; restart synward"
            ));
        }
        (Some(program), Some(ours)) if program.id != ours => {
            return Some(format!(
                "{name} runs XDP program {}, not synward's ({ours}): its traffic is not steered; stop what attached it, then \
                 restart synward",
                program.id
            ));
        }
        (Some(_), Some(_)) => {}
    }
    if !link.up {
        return Some(format!("{name} is down: `ip link set {name} up`"));
    }
    if !link.carrier {
        return Some(format!(
            "{name} has no carrier: check the cable and the other end"
        ));
    }
    if receive_queues > attached.receive_queues {
        return Some(format!(
            "{name} has {receive_queues} receive queues, {} more than synward knows of: connections that arrive on queue {had} \
             and above are not opened; `ethtool -L {name} {}`",
            receive_queues - attached.receive_queues,
            channel_words(attached.receive_queues),
            had = attached.receive_queues
        ));
    }
    let had = attached.interface.mtu;
    if link.mtu > had && !fits(link.mtu) {
        return Some(format!(
            "{name} has an MTU of {}, and had {had} at start, for which sockets have room: `ip link set {name} mtu {had}`, or \
             restart synward",
            link.mtu
        ));
    }
    let other = attached.namesake(links)?;
    Some(format!(
        "{was} is another interface (index {}) than at start, which is now called {name}: restart synward",
        other.index
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::AttachedProgram;

    const PROGRAM: AttachedProgram = AttachedProgram {
        id: 9,
        native: true,
    };

    fn attached() -> Attached {
        Attached {
            interface: SteeredInterface {
                queues: vec![0, 1],
                ..SteeredInterface::example()
            },
            program: Some(9),
            receive_queues: 2,
            gone: false,
        }
    }

    fn link() -> Link {
        Link {
            index: 3,
            name: "eth0".into(),
            xdp: Some(PROGRAM),
            up: true,
            carrier: true,
            mtu: 1500,
            ..Link::default()
        }
    }

    fn fault(link: Link, queues: u32) -> String {
        let fits = |mtu| mtu <= 1770;
        find_fault(&attached(), &[link], queues, ChannelWords::Combined, fits).unwrap_or_default()
    }

    #[test]
    fn an_interface_as_it_was_attached_has_no_fault() {
        assert_eq!(fault(link(), 2), "");
        assert_eq!(
            fault(link(), 1),
            "",
            "fewer queues leave none without a worker"
        );
        for mtu in [1400, 1600] {
            assert_eq!(fault(Link { mtu, ..link() }, 2), "", "followed");
        }
        let renamed = Link {
            name: "lan0".into(),
            ..link()
        };
        assert_eq!(fault(renamed, 2), "");
    }

    #[test]
    fn an_interface_under_the_old_name_or_index_is_another_one() {
        let renamed = Link {
            name: "lan0".into(),
            ..link()
        };
        let other = Link { index: 4, ..link() };
        let fault = |attached: &Attached, links: &[Link]| {
            find_fault(attached, links, 2, ChannelWords::Combined, |_| true).unwrap_or_default()
        };
        assert_eq!(
            fault(&attached(), &[renamed, other]),
            "eth0 is another interface (index 4) than at start, which is now called lan0: restart synward"
        );
        let gone = Attached {
            gone: true,
            ..attached()
        };
        assert_eq!(
            fault(&gone, &[link()]),
            "eth0 was deleted and created again: its traffic is not steered; restart synward"
        );
        let elsewhere = Link {
            name: "eth1".into(),
            ..link()
        };
        let text = fault(&gone, &[elsewhere]);
        assert!(text.starts_with("eth0 is gone"), "{text}");
    }

    #[test]
    fn the_program_of_a_caller_is_its_own() {
        let mut called = Attached {
            program: None,
            ..attached()
        };
        called.interface.called = true;
        assert_eq!(
            find_fault(&called, &[link()], 2, ChannelWords::Combined, |_| true),
            None
        );
        let bare = Link {
            xdp: None,
            ..link()
        };
        let fault = find_fault(
            &called,
            std::slice::from_ref(&bare),
            2,
            ChannelWords::Combined,
            |_| true,
        )
        .unwrap_or_default();
        let expected = "eth0 has no XDP program, and with attach";
        assert!(fault.starts_with(expected), "{fault}");
        let created_again = Link { index: 4, ..bare };
        let fault = find_fault(&called, &[created_again], 2, ChannelWords::Combined, |_| {
            true
        })
        .unwrap_or_default();
        assert!(fault.starts_with(expected), "{fault}");
    }

    #[test]
    fn every_fault_names_the_interface_and_the_cure() {
        let other = AttachedProgram { id: 10, ..PROGRAM };
        let cases = [
            (
                Link {
                    index: 4,
                    name: "eth1".into(),
                    ..link()
                },
                2,
                "eth0 is gone: create it again, and synward steers it",
            ),
            (
                Link { index: 4, ..link() },
                2,
                "eth0 was deleted and created again: its traffic is not steered; restart synward",
            ),
            (
                Link {
                    xdp: None,
                    ..link()
                },
                2,
                "eth0 has no XDP program any more, somebody has detached it: its traffic is not steered; restart synward",
            ),
            (
                Link {
                    xdp: Some(other),
                    ..link()
                },
                2,
                "eth0 runs XDP program 10, not synward's (9): its traffic is not steered; stop what attached it, then \
                 restart synward",
            ),
            (
                Link {
                    up: false,
                    carrier: false,
                    ..link()
                },
                2,
                "eth0 is down: `ip link set eth0 up`",
            ),
            (
                Link {
                    carrier: false,
                    ..link()
                },
                2,
                "eth0 has no carrier: check the cable and the other end",
            ),
            (
                link(),
                4,
                "eth0 has 4 receive queues, 2 more than synward knows of: connections that arrive on queue 2 and above are not \
                 opened; `ethtool -L eth0 combined 2`",
            ),
            (
                Link {
                    mtu: 3000,
                    ..link()
                },
                2,
                "eth0 has an MTU of 3000, and had 1500 at start, for which sockets have room: `ip link set eth0 mtu 1500`, or \
                 restart synward",
            ),
        ];
        for (link, queues, expected) in cases {
            assert_eq!(fault(link, queues), expected);
        }
    }
}
