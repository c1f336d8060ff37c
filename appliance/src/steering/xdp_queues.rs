//! The queues that a driver keeps for frames of XDP, on which a socket can receive and not send.
//!
//! virtio_net takes a queue pair for each CPU when a native program is attached, if the device has so many more than are in use
//! (`virtnet_xdp_set`, drivers/net/virtio_net.c). These pairs receive packets as well. XDP transmits on them without a lock
//! (`virtnet_xdp_get_sq`), and the driver frees nothing there before it sends the next frame (`virtnet_poll_cleantx`). A frame of
//! an AF_XDP socket in copy mode would be sent beside XDP, and would not be completed.

use std::ops::Range;

use aya::util::nr_cpus;

use super::interface_discovery::SteeredInterface;
use crate::kernel::{self, Link};

/// The queues of an interface on which sockets only receive, now that the program is attached. Mostly empty.
pub fn queues_of_xdp(interface: &SteeredInterface) -> Range<u32> {
    let queues = || {
        let device = interface.device();
        if kernel::driver(&device).ok()? != "virtio_net" || !runs_native(interface) {
            return None;
        }
        let cpus = u32::try_from(nr_cpus().ok()?).ok()?;
        let used = kernel::channels(&device).ok()?.used;
        Some(queues_of_virtio_net(used, cpus))
    };
    queues().unwrap_or_default()
}

/// Whether a native program runs on an interface.
fn runs_native(interface: &SteeredInterface) -> bool {
    match interface.called {
        true => kernel::links().map_or(interface.native, |links| {
            has_native(&links, interface.index)
        }),
        false => interface.native,
    }
}

/// Whether an interface has a native program now. The owner of a program that calls ours attaches it when he likes.
fn has_native(links: &[Link], index: u32) -> bool {
    let mut links = links.iter();
    let program = links
        .find(|link| link.index == index)
        .and_then(|link| link.xdp);
    program.is_some_and(|program| program.native)
}

/// `used` includes the pairs that XDP has. `cpus` are those that the kernel counts as possible: it has a pair for each, or none.
/// With none, more than `cpus` in use would crash the kernel ([`super::kernel_crash`]).
fn queues_of_virtio_net(used: u32, cpus: u32) -> Range<u32> {
    match used > cpus {
        true => used - cpus..used,
        false => used..used,
    }
}

/// What follows from them for the user, with the cure. `None`: nothing.
pub fn queues_of_xdp_note(name: &str, queues: &Range<u32>) -> Option<String> {
    let which = match queues.len() {
        0 => return None,
        1 => format!("queue {}", queues.start),
        _ => format!("queues {} to {}", queues.start, queues.end - 1),
    };
    // As many as there are CPUs. A device with more has some to spare if few enough of them are in use.
    let most = queues.len();
    Some(format!(
        "{name}: virtio_net keeps {which} for frames of XDP: what workers send there the kernel sends, and its firewall sees; a \
         device with at most {most} queue pair(s) has no such queues (qemu: queues={most})"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::AttachedProgram;

    #[test]
    fn a_program_that_calls_ours_may_come_after_the_start() {
        let links = |xdp| {
            [Link {
                index: 3,
                xdp,
                ..Link::default()
            }]
        };
        let program = |native| Some(AttachedProgram { id: 9, native });
        assert!(!has_native(&links(None), 3));
        assert!(!has_native(&links(program(false)), 3));
        assert!(has_native(&links(program(true)), 3));
        assert!(!has_native(&links(program(true)), 4));
    }

    #[test]
    fn xdp_has_a_queue_for_each_cpu_or_none() {
        // In qemu with two CPUs and four queue pairs, two of them in use: four are used when the program is attached.
        assert_eq!(queues_of_virtio_net(4, 2), 2..4);
        assert_eq!(queues_of_virtio_net(3, 2), 1..3);
        assert!(queues_of_virtio_net(2, 2).is_empty(), "none is spare");
        assert!(queues_of_virtio_net(1, 8).is_empty());
    }

    #[test]
    fn the_note_names_queues_and_cure() {
        assert_eq!(queues_of_xdp_note("eth0", &(2..2)), None);
        let one = queues_of_xdp_note("eth0", &(1..2)).unwrap_or_default();
        assert!(
            one.contains("keeps queue 1 for") && one.contains("at most 1 queue"),
            "{one}"
        );
        assert_eq!(
            queues_of_xdp_note("eth0", &(2..4)).as_deref(),
            Some(
                "eth0: virtio_net keeps queues 2 to 3 for frames of XDP: what workers send there the kernel sends, and its \
                 firewall sees; a device with at most 2 queue pair(s) has no such queues (qemu: queues=2)"
            )
        );
    }
}
