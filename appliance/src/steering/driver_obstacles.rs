//! The obstacles between an interface and native XDP that `check` finds before the start: limits of its driver that the
//! interface exceeds, each with the command that mends it.

use super::driver_table::{ChannelNeed, DriverFacts, ZeroCopy, facts_of};
use super::error::SteeringError;
use super::frags::{driver_has_frags, zero_copy_obstacle};
use super::kernel_crash::crash_of_native_xdp;
use crate::config::{self, Config, XdpMode};
use crate::kernel::{self, ChannelWords, Channels};

/// The obstacles on the interfaces of the configuration: the line of each, and a sentence. Empty if the kernel does not list
/// its interfaces. Generic XDP has none of the drivers'.
pub fn driver_warnings(config: &Config) -> Vec<(usize, String)> {
    let links = kernel::links().unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u32);
    let mut warnings = Vec::new();
    for wanted in &config.interfaces {
        let link = links.iter().find(|link| link.name == wanted.name);
        if link.is_none() && !links.is_empty() {
            let name = wanted.name.clone();
            warnings.push((wanted.line, SteeringError::NoInterface { name }.to_string()));
        }
        let facts = kernel::driver(&wanted.name)
            .ok()
            .and_then(|driver| facts_of(&driver));
        if let Some(crash) = link
            .filter(|_| wanted.xdp != XdpMode::Generic)
            .and_then(crash_of_native_xdp)
        {
            let name = &wanted.name;
            warnings.push((wanted.line, format!("{name}: no native XDP: {crash}")));
        }
        if let (Some(link), Some(facts), true) = (link, facts, wanted.xdp != XdpMode::Generic) {
            let interface = Interface {
                name: &wanted.name,
                mtu: link.mtu,
                channels: kernel::channels(&wanted.name).ok(),
                cpus,
                demands_zero_copy: wanted.zero_copy == config::ZeroCopy::On,
                has_frags: driver_has_frags(facts.driver, kernel::xdp_features(link.index).ok()),
            };
            let found = obstacles(facts, &interface);
            warnings.extend(found.into_iter().map(|what| (wanted.line, what)));
        }
    }
    warnings
}

/// What a driver lacks that refuses zero-copy sockets, to be put behind its refusal; empty if that is not known.
pub fn zero_copy_needs(driver: &str) -> &'static str {
    match facts_of(driver) {
        // `virtnet_xsk_pool_enable`, drivers/net/virtio_net.c.
        Some(facts) if facts.driver == "virtio_net" => {
            ", because it needs a device that takes DMA addresses (qemu: iommu_platform=on), and even with one it was seen to \
             lose every redirected frame"
        }
        Some(facts) if facts.zero_copy == ZeroCopy::None => ", because it has none",
        _ => "",
    }
}

/// What is looked at.
struct Interface<'a> {
    name: &'a str,
    mtu: u32,
    /// `None`: the driver does not report channels.
    channels: Option<Channels>,
    cpus: u32,
    /// Whether the configuration demands zero-copy.
    demands_zero_copy: bool,
    /// Whether the driver runs XDP on frames in several buffers.
    has_frags: bool,
}

/// The obstacles between an interface with this driver and native XDP, one sentence each.
fn obstacles(facts: &DriverFacts, of: &Interface<'_>) -> Vec<String> {
    let (name, driver) = (of.name, facts.driver);
    let mut found = Vec::new();
    // The MTU of a veth is not what counts: its peer's is.
    let bound = facts.mtu.filter(|_| driver != "veth" && !of.has_frags);
    if let Some(most) = bound.filter(|most| of.mtu > *most) {
        found.push(format!(
            "{name}: {driver} runs XDP up to an MTU of {most}, and this one is {}: `ip link set {name} mtu {most}`, or set \
             xdp = \"generic\", which is slower",
            of.mtu
        ));
    }
    match (facts.channels, of.channels) {
        (ChannelNeed::Half, Some(Channels { used, most })) if used > most / 2 => found.push(format!(
            "{name}: {driver} runs XDP with at most half of its channels, and {used} of {most} are in use: `ethtool -L {name} \
             {}`",
            channel_words(driver, (most / 2).max(1))
        )),
        (ChannelNeed::OnePerCpu, Some(Channels { used, most })) if used < of.cpus => found.push(format!(
            "{name}: {driver} loses frames that are redirected on a CPU without a channel, and {used} channels serve {} CPUs: \
             `ethtool -L {name} {}`",
            of.cpus,
            channel_words(driver, of.cpus.min(most))
        )),
        _ => {}
    }
    if of.demands_zero_copy {
        found.extend(zero_copy_obstacle(name, driver, of.mtu));
        match facts.zero_copy {
            ZeroCopy::None => found.push(format!(
                "{name}: {driver} has no zero-copy, so the start fails: set zero_copy = \"auto\""
            )),
            ZeroCopy::LosesFrames => found.push(format!(
                "{name}: zero-copy of {driver} was seen to lose every redirected frame: set zero_copy = \"auto\""
            )),
            ZeroCopy::Unknown | ZeroCopy::Works => {}
        }
    }
    if facts.restarts {
        found.push(format!(
            "{name}: {driver} restarts when a program is attached or detached: expect its link to be down for a moment"
        ));
    }
    found
}

/// gve has no combined channels.
fn channel_words(driver: &str, count: u32) -> ChannelWords {
    match driver {
        "gve" => ChannelWords::Separate {
            rx: count,
            tx: count,
        },
        _ => ChannelWords::Combined(count),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::driver_table::TABLE;
    use super::*;

    const PLAIN: Interface<'_> = Interface {
        name: "eth0",
        mtu: 1500,
        channels: Some(Channels { used: 2, most: 8 }),
        cpus: 2,
        demands_zero_copy: false,
        has_frags: false,
    };

    fn of(driver: &str, interface: &Interface<'_>) -> Vec<String> {
        obstacles(facts_of(driver).unwrap(), interface)
    }

    #[test]
    fn an_ordinary_interface_has_no_obstacle_but_the_restart() {
        for facts in &TABLE {
            let found = obstacles(facts, &PLAIN);
            assert_eq!(found.len(), usize::from(facts.restarts), "{found:?}");
        }
    }

    #[test]
    fn the_limit_of_the_mtu_is_the_drivers_own() {
        for (driver, mtu, most) in [
            ("ena", 9001, 3498),
            ("igc", 1501, 1500),
            ("gve", 8896, 2032),
        ] {
            let found = of(driver, &Interface { mtu, ..PLAIN });
            let command = format!("`ip link set eth0 mtu {most}`");
            assert!(found[0].contains(&command), "{found:?}");
        }
        let jumbo = Interface { mtu: 9000, ..PLAIN };
        let frags = Interface {
            has_frags: true,
            ..jumbo
        };
        assert!(of("virtio_net", &jumbo)[0].contains("mtu 3506"));
        assert_eq!(of("virtio_net", &frags), Vec::<String>::new());
        assert!(of("veth", &jumbo).is_empty(), "the peer's MTU counts");
    }

    #[test]
    fn channels_are_counted_as_each_driver_does() {
        let all = Interface {
            channels: Some(Channels { used: 4, most: 4 }),
            cpus: 4,
            ..PLAIN
        };
        assert_eq!(
            of("ena", &all)[0],
            "eth0: ena runs XDP with at most half of its channels, and 4 of 4 are in use: `ethtool -L eth0 combined 2`"
        );
        assert!(of("gve", &all)[0].ends_with("`ethtool -L eth0 rx 2 tx 2`"));
        let few = Interface {
            channels: Some(Channels { used: 2, most: 64 }),
            cpus: 16,
            ..PLAIN
        };
        assert!(
            of("i40e", &few)[0]
                .ends_with("2 channels serve 16 CPUs: `ethtool -L eth0 combined 16`")
        );
        let silent = Interface {
            channels: None,
            ..PLAIN
        };
        assert_eq!(of("gve", &silent), Vec::<String>::new());
    }

    #[test]
    fn what_zero_copy_needs_is_known_of_some_drivers() {
        assert!(zero_copy_needs("virtio_net").contains("iommu_platform=on"));
        assert_eq!(zero_copy_needs("veth"), ", because it has none");
        assert_eq!(zero_copy_needs("mlx5_core"), "");
    }

    #[test]
    fn zero_copy_is_judged_only_if_it_is_demanded() {
        let demanded = Interface {
            demands_zero_copy: true,
            ..PLAIN
        };
        assert!(of("hv_netvsc", &demanded)[0].contains("has no zero-copy"));
        assert!(of("virtio_net", &demanded)[0].contains("lose every redirected frame"));
        assert_eq!(of("mlx5_core", &demanded), Vec::<String>::new());
    }
}
