//! The largest MSS that SYN-ACKs promise: what fits through the links and default routes towards clients.
//!
//! A SYN-ACK made in XDP passes no rule of this router such as nftables' `tcp option maxseg size set rt mtu`. A client that is
//! promised the server's MSS would send segments that do not fit through a smaller link here.

use std::net::IpAddr;

use synward_core::client_options::{DEFAULT_MSS_V4, DEFAULT_MSS_V6};
use synward_core::layout::Profile;

use super::interface_discovery::Found;
use crate::config::Offer;
use crate::kernel;

/// Bytes of the IP and TCP headers without options (RFC 6691 §2).
const HEADERS_V4: u32 = 40;
const HEADERS_V6: u32 = 60;

/// The bound for each family, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientMss {
    v4: u16,
    v6: u16,
}

impl ClientMss {
    /// The bound of the interfaces that face clients, as they are now.
    pub(super) fn of_interfaces(found: &[Found]) -> Self {
        let outside = || {
            let steered = found.iter().map(|found| &found.steered);
            steered.filter(|steered| steered.side.faces_clients())
        };
        let links = outside().map(|one| one.mtu).min().unwrap_or(u32::MAX);
        let indices: Vec<u32> = outside().map(|one| one.index).collect();
        let routes = kernel::default_route_mtus(&indices).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read the MTU of default routes; SYN-ACKs promise what the interfaces carry");
            kernel::RouteMtus::default()
        });
        let bound = Self::of_mtus(
            links.min(routes.v4.unwrap_or(u32::MAX)),
            links.min(routes.v6.unwrap_or(u32::MAX)),
        );
        tracing::debug!(
            v4 = bound.v4,
            v6 = bound.v6,
            "largest MSS that SYN-ACKs promise"
        );
        bound
    }

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
        let most = match (offer.mss, address) {
            (Some(_), _) => return profile,
            (None, IpAddr::V4(_)) => self.v4,
            (None, IpAddr::V6(_)) => self.v6,
        };
        Profile {
            mss: profile.mss.min(most),
            ..profile
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

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
