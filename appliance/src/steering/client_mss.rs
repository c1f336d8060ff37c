//! The largest MSS that SYN-ACKs promise: what fits through the links and routes towards clients, as they are now.
//!
//! A SYN-ACK made in XDP passes no rule of this router such as nftables' `tcp option maxseg size set rt mtu`. A client that is
//! promised the server's MSS would send segments that do not fit through a smaller link here. One bound serves all clients: the
//! smallest MTU of any link and route towards them. Links are the interfaces that face clients, and the devices above them that
//! have clients of their own: VLANs, and the bond or bridge of a port.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use synward_core::client_options::{DEFAULT_MSS_V4, DEFAULT_MSS_V6};
use synward_core::layout::Profile;

use super::interface_discovery::SteeredInterface;
use super::vlan_devices::devices_above;
use crate::config::Offer;
use crate::kernel::{self, Link, RouteMtus, RouteWatch};

/// Bytes of the IP and TCP headers without options (RFC 6691 §2).
const HEADERS_V4: u32 = 40;
const HEADERS_V6: u32 = 60;

/// Part of the time that reading all routes may take while they change all the time: a router may have a million.
const SHARE: u32 = 20;

/// When routes that could not be read are read again.
const RETRY: Duration = Duration::from_secs(1);

/// What was last found about the links and routes towards clients.
#[derive(Debug)]
pub(super) struct ClientWays {
    /// `None`: the kernel has no socket for it, and the routes are those of the start.
    watch: Option<RouteWatch>,
    routes: RouteMtus,
    /// The smallest MTU of the links.
    pub(super) link_mtu: u32,
    /// Index of each link that is up. The kernel does not report IPv4 routes that are removed with their link.
    up: BTreeSet<u32>,
    /// Whether routes may have changed since they were read, and when they may be read again.
    is_stale: bool,
    due: Instant,
    /// Whether the last reading failed: only the first failure is logged.
    is_unread: bool,
}

impl ClientWays {
    /// Reads the links and routes through the interfaces that face clients.
    pub(super) fn new<'a>(interfaces: impl Iterator<Item = &'a SteeredInterface> + Clone) -> Self {
        let watch = RouteWatch::open();
        let watch = watch
            .inspect_err(|error| tracing::warn!(%error, "changes of routes are not followed"))
            .ok();
        let mut ways = Self {
            watch,
            routes: RouteMtus::default(),
            link_mtu: u32::MAX,
            up: BTreeSet::new(),
            is_stale: true,
            due: Instant::now(),
            is_unread: false,
        };
        ways.renew(interfaces, &kernel::links().unwrap_or_default());
        ways
    }

    /// Follows what has changed: `links` are the links as they are now.
    pub(super) fn renew<'a>(
        &mut self,
        interfaces: impl Iterator<Item = &'a SteeredInterface> + Clone,
        links: &[Link],
    ) {
        let find = |index: u32| links.iter().find(|link| link.index == index);
        let mtu = |one: &SteeredInterface| find(one.index).map_or(one.mtu, |link| link.mtu);
        let above: Vec<_> = outside(interfaces.clone())
            .flat_map(|one| devices_above(links, one.index))
            .filter(|link| link.up)
            .collect();
        self.link_mtu = outside(interfaces.clone())
            .map(mtu)
            .chain(above.iter().map(|link| link.mtu))
            .min()
            .unwrap_or(u32::MAX);
        let up: BTreeSet<_> = outside(interfaces.clone())
            .filter_map(|one| find(one.index).filter(|link| link.up))
            .chain(above)
            .map(|link| link.index)
            .collect();
        self.is_stale |= up != self.up;
        self.up = up;
        let has_mtus = self.routes != RouteMtus::default();
        if let Some(watch) = &mut self.watch {
            self.is_stale |= watch.has_changed(has_mtus);
        }
        if self.is_stale && self.due <= Instant::now() {
            self.read_routes(interfaces);
        }
    }

    fn read_routes<'a>(&mut self, interfaces: impl Iterator<Item = &'a SteeredInterface> + Clone) {
        let began = Instant::now();
        let steered = outside(interfaces).map(|one| one.index);
        let indices: Vec<u32> = steered.chain(self.up.iter().copied()).collect();
        let routes = kernel::route_mtus(&indices);
        self.take_routes(routes, began.elapsed(), Instant::now());
    }

    /// Takes what was read of the routes. After an error the last MTUs stay, and the routes are read again.
    fn take_routes(&mut self, routes: io::Result<RouteMtus>, took: Duration, now: Instant) {
        self.due = now + (took * SHARE).min(Duration::from_secs(60));
        match routes {
            Ok(routes) => {
                self.routes = routes;
                self.is_stale = false;
                self.is_unread = false;
            }
            Err(error) => {
                if !self.is_unread {
                    tracing::warn!(%error, "cannot read the MTUs of routes; SYN-ACKs promise what was last known; trying again");
                }
                self.is_stale = true;
                self.is_unread = true;
                self.due = self.due.max(now + RETRY);
            }
        }
    }

    /// The bound of these links and routes.
    pub(super) fn bound(&self) -> ClientMss {
        let mtu = |of_routes: Option<u32>| self.link_mtu.min(of_routes.unwrap_or(u32::MAX));
        ClientMss::of_mtus(mtu(self.routes.v4), mtu(self.routes.v6))
    }
}

/// Those interfaces that face clients.
fn outside<'a>(
    interfaces: impl Iterator<Item = &'a SteeredInterface> + Clone,
) -> impl Iterator<Item = &'a SteeredInterface> {
    interfaces.filter(|one| one.side.faces_clients())
}

/// The bound for each family, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientMss {
    v4: u16,
    v6: u16,
}

impl fmt::Display for ClientMss {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} (IPv4), {} (IPv6)", self.v4, self.v6)
    }
}

impl ClientMss {
    fn of_mtus(v4: u32, v6: u32) -> Self {
        // Every path carries the default MSS of its family.
        let mss = |mtu: u32, headers, least: u16| {
            u16::try_from(mtu.saturating_sub(headers))
                .unwrap_or(u16::MAX)
                .max(least)
        };
        Self {
            v4: mss(v4, HEADERS_V4, DEFAULT_MSS_V4),
            v6: mss(v6, HEADERS_V6, DEFAULT_MSS_V6),
        }
    }

    /// The profile with an MSS within the bound. An MSS in the configuration is the operator's and stays.
    pub(super) fn bound(&self, offer: &Offer, address: IpAddr, profile: Profile) -> Profile {
        if offer.mss.is_some() {
            return profile;
        }
        Profile {
            mss: profile.mss.min(self.most(address)),
            ..profile
        }
    }

    /// The bound for a family.
    const fn most(&self, address: IpAddr) -> u16 {
        match address {
            IpAddr::V4(_) => self.v4,
            IpAddr::V6(_) => self.v6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn a_vlan_with_clients_of_its_own_counts_while_it_is_up() {
        let steered = SteeredInterface {
            name: "out0".into(),
            index: 7,
            ..SteeredInterface::example()
        };
        let link = |index, lower: Option<u32>, mtu, up| Link {
            index,
            lower,
            vlan: lower.map(|_| (0x8100, 7)),
            mtu,
            up,
            ..Link::default()
        };
        let mut ways = ClientWays::new(std::iter::empty());
        for (up, expected) in [(true, 1400), (false, 1500)] {
            let links = [link(7, None, 1500, true), link(8, Some(7), 1400, up)];
            ways.renew(std::iter::once(&steered), &links);
            assert_eq!(ways.link_mtu, expected);
        }
    }

    #[test]
    fn routes_that_cannot_be_read_keep_their_mtus_and_are_read_again() {
        let now = Instant::now();
        let mut ways = ClientWays {
            watch: None,
            routes: RouteMtus::default(),
            link_mtu: 1500,
            up: BTreeSet::new(),
            is_stale: true,
            due: now,
            is_unread: false,
        };
        let mtus = |v4| RouteMtus {
            v4: Some(v4),
            v6: None,
        };
        let mut read = |routes| {
            ways.take_routes(routes, Duration::ZERO, now);
            (ways.bound(), ways.is_stale, ways.due - now)
        };
        let of = ClientMss::of_mtus;
        let failed = || Err(io::ErrorKind::OutOfMemory.into());
        assert_eq!(read(failed()), (of(1500, 1500), true, RETRY));
        assert_eq!(
            read(Ok(mtus(1400))),
            (of(1400, 1500), false, Duration::ZERO)
        );
        assert_eq!(read(failed()), (of(1400, 1500), true, RETRY));
        assert_eq!(
            read(Ok(mtus(1300))),
            (of(1300, 1500), false, Duration::ZERO)
        );
    }

    #[test]
    fn the_promised_mss_fits_through_the_smallest_link() {
        let (v4, v6) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
        let server = |mss| Profile {
            mss,
            ..Profile::default()
        };
        let learned = Offer::default();
        for (mtus, address, mss, promised) in [
            ((1500, 1500), v4, 1460, 1460),
            ((1500, 1500), v6, 1460, 1440),
            ((1400, 1500), v4, 1460, 1360),
            ((1500, 1400), v6, 1440, 1340),
            ((9000, 9000), v4, 1460, 1460),
            ((1400, 1400), v4, 1300, 1300),
            ((68, 1280), v4, 1460, 536),
            ((u32::MAX, u32::MAX), v6, 65_535, 65_535),
        ] {
            let bound = ClientMss::of_mtus(mtus.0, mtus.1);
            assert_eq!(bound.bound(&learned, address, server(mss)).mss, promised);
        }
        let fixed = Offer {
            mss: Some(8960),
            ..learned
        };
        let bound = ClientMss::of_mtus(1400, 1400);
        assert_eq!(bound.bound(&fixed, v4, server(8960)).mss, 8960);
    }
}
