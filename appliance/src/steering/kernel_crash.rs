//! The channels with which native XDP on an interface crashes the kernel.
//!
//! virtio_net transmits a redirected frame on a queue pair that is spare for this CPU if it uses more pairs than there are CPUs
//! (`virtnet_xdp_get_sq`, drivers/net/virtio_net.c). It has spare ones only if the device has enough of them for every CPU
//! when the program is attached (`virtnet_xdp_set`). With more pairs in use than CPUs, and no spare ones, it takes one that
//! does not exist: a null pointer in the softirq, seen with Linux 6.18. The channels cannot be changed while a program is attached.

use aya::util::nr_cpus;

use crate::kernel::{self, Channels, Link};

/// Why native XDP on an interface would crash the kernel, with the cure. `None`: it would not, as far as is known.
pub(crate) fn crash_of_native_xdp(link: &Link) -> Option<String> {
    // With a native program the number of channels contains the spare ones, and the kernel has not crashed.
    if link.xdp.is_some_and(|program| program.native) {
        return None;
    }
    if kernel::driver(&link.name).ok()? != "virtio_net" {
        return None;
    }
    let cpus = u32::try_from(nr_cpus().ok()?).ok()?;
    crash_of_virtio_net(&link.name, kernel::channels(&link.name).ok()?, cpus)
}

/// `cpus` are those that the kernel counts as possible.
fn crash_of_virtio_net(name: &str, channels: Channels, cpus: u32) -> Option<String> {
    let Channels { used, most } = channels;
    let has_spare_ones = used.saturating_add(cpus) <= most;
    (used > cpus && !has_spare_ones).then(|| {
        format!(
            "it would crash the kernel, because virtio_net uses {used} of {most} channels for {cpus} CPU(s) and has no spare \
             one for each CPU: `ethtool -L {name} combined {cpus}`"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crashes(used: u32, most: u32, cpus: u32) -> bool {
        crash_of_virtio_net("eth0", Channels { used, most }, cpus).is_some()
    }

    #[test]
    fn more_channels_than_cpus_need_a_spare_one_for_each_cpu() {
        // In qemu with two CPUs, Linux 6.18: of four channels two or one are usable, three and four crash.
        assert!(crashes(4, 4, 2));
        assert!(crashes(3, 4, 2));
        assert!(!crashes(2, 4, 2), "two are spare");
        assert!(!crashes(4, 6, 2), "two are spare");
        assert!(!crashes(8, 8, 8), "none is spare, and each CPU has one");
        assert!(!crashes(1, 1, 8), "they share one under a lock");
        assert!(crashes(9, 16, 8));
    }

    #[test]
    fn the_cure_is_a_channel_for_each_cpu() {
        assert_eq!(
            crash_of_virtio_net("eth0", Channels { used: 4, most: 4 }, 2).as_deref(),
            Some(
                "it would crash the kernel, because virtio_net uses 4 of 4 channels for 2 CPU(s) and has no spare one for each \
                 CPU: `ethtool -L eth0 combined 2`"
            )
        );
    }
}
