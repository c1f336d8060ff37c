//! Interfaces, routes and neighbours, from iproute2's JSON. They are queried once at the start.

use std::net::IpAddr;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

/// An Ethernet address.
pub(crate) type Mac = [u8; 6];

/// A network interface.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) name: String,
    pub(crate) index: u32,
    pub(crate) mac: Mac,
    /// Kind of a virtual interface ("veth", "bridge"); `None` for hardware.
    pub(crate) kind: Option<String>,
    /// Id of its XDP program.
    pub(crate) xdp: Option<u32>,
}

impl Device {
    /// Looks an interface up by name in this network namespace.
    ///
    /// # Errors
    /// No such interface, or no iproute2.
    pub(crate) fn named(name: &str) -> Result<Self> {
        let [link]: [Link; 1] = ip(&["-details", "link", "show", "dev", name])?
            .try_into()
            .map_err(|_| anyhow::anyhow!("no single interface is called {name}"))?;
        Ok(Self {
            index: link.ifindex,
            mac: parse_mac(&link.address)
                .with_context(|| format!("{name} is no Ethernet interface"))?,
            kind: link.linkinfo.and_then(|info| info.info_kind),
            xdp: link.xdp.and_then(|xdp| xdp.prog).map(|program| program.id),
            name: link.ifname,
        })
    }

    /// The next hop's MAC for `destination`: its own, or its gateway's.
    ///
    /// # Errors
    /// No route over this interface, or the neighbour is unknown.
    pub(crate) fn neighbour_towards(&self, destination: IpAddr) -> Result<Mac> {
        let to = destination.to_string();
        let routes: Vec<Route> = ip(&["route", "get", &to, "oif", &self.name])?;
        let next = routes
            .into_iter()
            .find_map(|route| route.gateway)
            .unwrap_or(to);
        let neighbours: Vec<Neighbour> =
            ip(&["neighbour", "show", "to", &next, "dev", &self.name])?;
        match neighbours
            .into_iter()
            .find_map(|neighbour| neighbour.lladdr)
        {
            Some(mac) => parse_mac(&mac).with_context(|| format!("{next} has no Ethernet address")),
            None => bail!(
                "no neighbour entry for {next} on {}: give its address with --mac, or add it with \
                 `ip neighbour replace {next} lladdr MAC dev {} nud permanent`",
                self.name,
                self.name
            ),
        }
    }
}

/// Addresses of an interface, except those of link scope, which every interface has with IPv6.
///
/// # Errors
/// No such interface, or no iproute2.
pub(crate) fn addresses(name: &str) -> Result<Vec<IpAddr>> {
    let links: Vec<Addresses> = ip(&["address", "show", "dev", name])?;
    let addresses = links.into_iter().flat_map(|link| link.addr_info);
    Ok(addresses
        .filter(|address| address.scope != "link")
        .map(|address| address.local)
        .collect())
}

/// Parses six octets in hexadecimal with colons.
///
/// # Errors
/// Anything else.
pub(crate) fn parse_mac(text: &str) -> Result<Mac> {
    let octets: Vec<u8> = text
        .split(':')
        .filter(|octet| octet.len() == 2)
        .filter_map(|octet| u8::from_str_radix(octet, 16).ok())
        .collect();
    octets
        .try_into()
        .map_err(|_| anyhow::anyhow!("'{text}' is no MAC address like 02:53:57:00:00:02"))
}

#[derive(Deserialize)]
struct Link {
    ifindex: u32,
    ifname: String,
    #[serde(default)]
    address: String,
    linkinfo: Option<LinkInfo>,
    xdp: Option<Xdp>,
}

#[derive(Deserialize)]
struct LinkInfo {
    info_kind: Option<String>,
}

#[derive(Deserialize)]
struct Xdp {
    prog: Option<Program>,
}

#[derive(Deserialize)]
struct Program {
    id: u32,
}

#[derive(Deserialize)]
struct Addresses {
    #[serde(default)]
    addr_info: Vec<Address>,
}

#[derive(Deserialize)]
struct Address {
    local: IpAddr,
    scope: String,
}

#[derive(Deserialize)]
struct Route {
    gateway: Option<String>,
}

#[derive(Deserialize)]
struct Neighbour {
    lladdr: Option<String>,
}

/// Runs `ip -json` and parses the array that it prints; nothing printed is an empty one.
fn ip<T: for<'a> Deserialize<'a>>(arguments: &[&str]) -> Result<Vec<T>> {
    let command = || format!("ip {}", arguments.join(" "));
    let output = Command::new("ip")
        .arg("-json")
        .args(arguments)
        .output()
        .context("running `ip` failed: install iproute2")?;
    if !output.status.success() {
        bail!(
            "`{}`: {}",
            command(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    if output.stdout.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("`{}` printed something unexpected", command()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_is_six_octets() {
        assert_eq!(
            parse_mac("02:53:57:00:00:ff").unwrap(),
            [2, 0x53, 0x57, 0, 0, 255]
        );
        for wrong in [
            "",
            "02:53:57:00:00",
            "02:53:57:00:00:0",
            "02:53:57:00:00:00:00",
            "02:53:57:00:00:0g",
        ] {
            assert!(parse_mac(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_loopback_interface_exists() {
        let device = Device::named("lo").unwrap();
        assert_eq!((device.index, device.mac, device.kind), (1, [0; 6], None));
        assert!(Device::named("no-such-if").is_err());
        assert!(addresses("lo").unwrap().iter().all(IpAddr::is_loopback));
    }
}
