//! Frames in several buffers (XDP frags, multi-buffer): whether the configuration's interfaces need them, and which transmit
//! them.
//!
//! A program without them costs less, and every driver with XDP runs it. So they are only asked for if the MTU of an interface
//! exceeds what its driver puts into one buffer.

use synward_core::layout::side;

use super::error::{SteeringError, map_failed};
use super::handle::Steering;
use super::interface_discovery::Found;
use super::native_refusal::most_mtu;
use super::receive_frames::one_frame_mtu;
use crate::config::{self, XdpMode, ZeroCopy};
use crate::kernel::{self, XdpFeatures};
use crate::maps::Plain;

/// Whether the program must be loaded for frames in several buffers. Generic XDP needs no such program: the kernel puts a frame
/// into one buffer for it (`netif_skb_check_for_xdp`, net/core/dev.c).
///
/// # Errors
/// Zero-copy is demanded on an interface whose packets exceed a frame of the socket.
pub(super) fn needs_frags(
    found: &[Found],
    wanted: &[config::Interface],
) -> Result<bool, SteeringError> {
    let mut needed = false;
    for (found, wanted) in found.iter().zip(wanted) {
        let (name, mtu) = (&found.steered.name, found.steered.mtu);
        let driver = kernel::driver(name).unwrap_or_default();
        if wanted.zero_copy == ZeroCopy::On
            && let Some(cause) = zero_copy_obstacle(name, &driver, mtu)
        {
            return Err(SteeringError::ZeroCopy { cause });
        }
        needed |= wanted.attach_mode() != XdpMode::Generic && mtu > most_mtu(&driver);
    }
    Ok(needed && kernel::kernel_has_frags())
}

/// Why sockets of an interface cannot have zero-copy: a packet of its MTU exceeds a frame of the socket. `None`: they can.
/// A socket for packets of several frames (`XDP_USE_SG`) is not opened: workers need the headers only, to which the program cuts
/// longer segments. But a driver with zero-copy fills frames of the socket before the program runs.
pub(super) fn zero_copy_obstacle(name: &str, driver: &str, mtu: u32) -> Option<String> {
    let most = one_frame_mtu(driver);
    (mtu > most).then(|| {
        format!(
            "{name}: a packet of its MTU ({mtu}) exceeds a frame of a zero-copy socket, which takes up to {most}: `ip link set \
             {name} mtu {most}`, or set zero_copy = \"auto\""
        )
    })
}

/// Whether a driver runs native XDP on frames in several buffers. Without an answer of the kernel, which gives one since Linux
/// 6.3, only those are known that were seen to.
pub(crate) fn driver_has_frags(driver: &str, features: Option<XdpFeatures>) -> bool {
    match features {
        Some(features) => features.receives_frags(),
        // `veth_xdp_set`, drivers/net/veth.c.
        None => driver == "veth" && kernel::kernel_has_frags(),
    }
}

impl Steering {
    /// Notes which interfaces transmit frames in several buffers that are redirected to them. Many drivers tell only while a
    /// program is attached. To other interfaces the kernel forwards such frames.
    pub(super) fn note_frags(&mut self) -> Result<(), SteeringError> {
        if !self.object.frags {
            return Ok(());
        }
        let map = &mut self.object.interfaces;
        let Plain(mut interfaces) = map.get(&0, 0).map_err(map_failed("INTERFACES"))?;
        let alone = self.found.len() == 1;
        for found in &mut self.found {
            let steered = &mut found.steered;
            let features = kernel::xdp_features(steered.index);
            let takes = features.is_ok_and(XdpFeatures::transmits_frags);
            let bits = &mut interfaces.interface[steered.slot as usize].side;
            *bits &= !side::TAKES_FRAGS;
            if takes {
                *bits |= side::TAKES_FRAGS;
            }
            let driver = kernel::driver(&steered.name).unwrap_or_default();
            if !takes && !alone && steered.mtu > most_mtu(&driver) {
                steered.notices.push(format!(
                    "{}: its driver ({driver}) does not say that it transmits redirected frames in several buffers (Linux 6.3 \
                     and later asks it): the kernel forwards segments above one page, which is slower",
                    steered.name
                ));
            }
        }
        map.set(0, Plain(interfaces), 0)
            .map_err(map_failed("INTERFACES"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_tell_whether_they_run_frags() {
        assert!(driver_has_frags("eth", Some(XdpFeatures(0x21))));
        assert!(!driver_has_frags("veth", Some(XdpFeatures(0x1))));
        assert!(!driver_has_frags("igb", None));
    }

    #[test]
    fn zero_copy_needs_packets_that_fit_a_frame() {
        assert_eq!(zero_copy_obstacle("eth0", "mlx5_core", 3818), None);
        for (driver, most) in [("mlx5_core", 3818), ("igb", 3050)] {
            let text = zero_copy_obstacle("eth0", driver, 9000).unwrap_or_default();
            let command = format!("`ip link set eth0 mtu {most}`");
            assert!(text.contains(&command), "{text}");
        }
    }
}
