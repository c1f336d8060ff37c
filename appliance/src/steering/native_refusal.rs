//! Explains why a driver refuses native XDP, with the command that mends it.

use std::fmt;

use super::driver_table::facts_of;

/// Largest MTU for frames in one page of 4 KiB, after the XDP headroom (256), `skb_shared_info` (320) and the Ethernet
/// header. It stands for drivers whose own limit is not known.
const PAGE_MTU: u32 = 4096 - 256 - 320 - 14;

/// The largest MTU with which a driver runs XDP on frames in one buffer.
pub(crate) fn most_mtu(driver: &str) -> u32 {
    let limit = facts_of(driver).and_then(|facts| facts.mtu);
    limit.unwrap_or(PAGE_MTU)
}

/// A refusal, and what is known about the interface. Its text names the driver, the obstacle and the cure.
#[derive(Clone, Debug)]
pub(super) struct NativeRefusal<'a> {
    pub(super) interface: &'a str,
    /// The driver's name, as `ethtool -i` shows it.
    pub(super) driver: String,
    pub(super) mtu: u32,
    /// Whether large receive offload is on.
    pub(super) lro: bool,
    /// The error number.
    pub(super) errno: Option<i32>,
    /// The text of the driver or the kernel; empty if there is none.
    pub(super) said: String,
    /// The error in words.
    pub(super) error: String,
}

/// What keeps a driver from running XDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Obstacle {
    /// It cannot run XDP at all.
    NoXdp,
    /// The hypervisor hands over merged segments or unfinished checksums, and offers no control of that.
    HostOffloads,
    /// Large receive offload is on.
    Lro,
    /// Frames may be larger than the driver can hand to XDP.
    Mtu,
    /// XDP needs more queues than there are.
    Queues,
    Unknown,
}

impl NativeRefusal<'_> {
    fn is_veth(&self) -> bool {
        self.driver == "veth"
    }

    /// The largest MTU with which the driver runs XDP.
    fn most(&self) -> u32 {
        most_mtu(&self.driver)
    }

    /// The obstacle, by the text of the driver if it has a known word, else by the error number and the interface.
    fn obstacle(&self) -> Obstacle {
        let said = self.said.to_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
        if has(&["not support xdp in native mode"]) {
            return Obstacle::NoXdp;
        }
        // virtnet_xdp_set, drivers/net/virtio_net.c.
        if has(&["gro_hw", "guest_csum", "lro/csum"]) {
            return Obstacle::HostOffloads;
        }
        if has(&["lro", "large receive", "rsc"]) {
            return Obstacle::Lro;
        }
        if has(&["mtu", "frame size", "single page"]) {
            return Obstacle::Mtu;
        }
        if has(&["queue", "channel", "tx ring", "rss"]) {
            return Obstacle::Queues;
        }
        match self.errno {
            Some(libc::ERANGE) if self.is_veth() => Obstacle::Mtu,
            Some(libc::ENOSPC) if self.is_veth() => Obstacle::Queues,
            _ if self.mtu > self.most() => Obstacle::Mtu,
            _ if self.lro => Obstacle::Lro,
            Some(libc::EOPNOTSUPP) if said.is_empty() => Obstacle::NoXdp,
            _ => Obstacle::Unknown,
        }
    }
}

impl fmt::Display for NativeRefusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            interface, driver, ..
        } = self;
        match self.obstacle() {
            Obstacle::NoXdp => return write!(f, "its driver ({driver}) has no XDP"),
            Obstacle::Mtu if self.is_veth() => {
                return write!(
                    f,
                    "its peer's MTU is too big for one page a frame, which is at most {PAGE_MTU}; `ip link set {interface} \
                     mtu 1500` on both ends, or give this end the peer's MTU"
                );
            }
            Obstacle::Queues if self.is_veth() => {
                return write!(
                    f,
                    "its peer sends on more queues than it has for receiving; `ethtool -L {interface} rx N` gives it more"
                );
            }
            _ => {}
        }
        match self.said.as_str() {
            "" => write!(f, "its driver ({driver}) answers \"{}\"", self.error)?,
            said => write!(f, "its driver ({driver}) says \"{said}\"")?,
        }
        match self.obstacle() {
            Obstacle::HostOffloads => f.write_str(
                "; the hypervisor decides: let it offer control of guest offloads (qemu: ctrl_guest_offloads=on), or none of \
                 them (guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off)",
            ),
            Obstacle::Lro => write!(
                f,
                "; large receive offload merges frames: `ethtool -K {interface} lro off`"
            ),
            Obstacle::Mtu => write!(
                f,
                "; its MTU ({}) is too big for a frame in one buffer, which is at most {}: `ip link set {interface} mtu 1500`",
                self.mtu,
                self.most()
            ),
            Obstacle::Queues => write!(
                f,
                "; XDP needs transmit queues of its own, one for each CPU or channel: `ethtool -l {interface}` shows the \
                 maximum, `ethtool -L {interface} combined N` uses half of it"
            ),
            Obstacle::NoXdp | Obstacle::Unknown => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(driver: &str, errno: i32, said: &str) -> NativeRefusal<'static> {
        NativeRefusal {
            interface: "eth0",
            driver: driver.to_owned(),
            mtu: 1500,
            lro: false,
            errno: Some(errno),
            said: said.to_owned(),
            error: "Invalid argument (os error 22)".to_owned(),
        }
    }

    #[test]
    fn a_driver_without_xdp_is_named() {
        let without = refusal(
            "e1000e",
            libc::EOPNOTSUPP,
            "Underlying driver does not support XDP in native mode",
        );
        assert_eq!(without.to_string(), "its driver (e1000e) has no XDP");
        let silent = refusal("tg3", libc::EOPNOTSUPP, "");
        assert_eq!(silent.to_string(), "its driver (tg3) has no XDP");
    }

    #[test]
    fn guest_offloads_are_the_hypervisors() {
        for said in [
            "virtio_net: Can't set XDP while host is implementing GRO_HW/CSUM, disable GRO_HW/CSUM first",
            "virtio_net: Can't set XDP while host is implementing LRO/CSUM, disable LRO/CSUM first",
        ] {
            let text = refusal("virtio_net", libc::EOPNOTSUPP, said).to_string();
            assert!(
                text.starts_with(&format!(
                    "its driver (virtio_net) says \"{said}\"; the hypervisor decides"
                )),
                "{text}"
            );
            assert!(text.contains("ctrl_guest_offloads=on"), "{text}");
        }
    }

    #[test]
    fn each_obstacle_has_its_command() {
        let command = |refusal: NativeRefusal<'_>, command: &str| {
            let text = refusal.to_string();
            assert!(text.contains(command), "{text}");
        };
        command(
            refusal(
                "bnxt_en",
                libc::EOPNOTSUPP,
                "MTU 9000 larger than 3498 w/o XDP frag support",
            ),
            "`ip link set eth0 mtu 1500`",
        );
        command(
            refusal(
                "mlx5_core",
                libc::EINVAL,
                "can't set XDP while LRO is on, disable LRO first",
            ),
            "`ethtool -K eth0 lro off`",
        );
        command(
            refusal(
                "ena",
                libc::EINVAL,
                "Failed to set xdp program, the Rx/Tx channel count should be at most half of the maximum allowed channel count",
            ),
            "`ethtool -L eth0 combined N`",
        );
        command(
            NativeRefusal {
                lro: true,
                ..refusal("ixgbe", libc::EINVAL, "")
            },
            "`ethtool -K eth0 lro off`",
        );
        command(
            NativeRefusal {
                mtu: 9000,
                ..refusal("igb", libc::EINVAL, "")
            },
            "`ip link set eth0 mtu 1500`",
        );
        command(refusal("veth", libc::ENOSPC, ""), "`ethtool -L eth0 rx N`");
        command(refusal("veth", libc::ERANGE, ""), "on both ends");
    }

    #[test]
    fn the_limit_of_the_mtu_is_the_drivers_own() {
        // igc says nothing of the MTU, and gve nothing at all.
        for (driver, said, mtu, most) in [
            ("igc", "igc: Jumbo frames not supported", 2000, 1500),
            ("gve", "", 3000, 2032),
            ("nfp", "", 9000, 3506),
        ] {
            let refusal = NativeRefusal {
                mtu,
                ..refusal(driver, libc::EOPNOTSUPP, said)
            };
            let text = refusal.to_string();
            let limit = format!(
                "; its MTU ({mtu}) is too big for a frame in one buffer, which is at most {most}: `ip link set"
            );
            assert!(text.contains(&limit), "{text}");
        }
    }

    #[test]
    fn an_unknown_obstacle_is_quoted() {
        let said = refusal("nfp", libc::EINVAL, "rx bufsz too small");
        assert_eq!(
            said.to_string(),
            "its driver (nfp) says \"rx bufsz too small\""
        );
        let silent = refusal("nfp", libc::EINVAL, "");
        assert_eq!(
            silent.to_string(),
            "its driver (nfp) answers \"Invalid argument (os error 22)\""
        );
    }
}
