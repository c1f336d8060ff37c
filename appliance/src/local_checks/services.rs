//! Which services and which addresses are local.

use std::net::{SocketAddr, UdpSocket};

use crate::config::{Config, Handoff, Service};
use crate::kernel;

/// The services with `handoff = "local"`.
pub(super) fn local_services(config: &Config) -> impl Iterator<Item = &Service> {
    let services = config.services.iter();
    services.filter(|service| service.handoff == Handoff::Local)
}

/// Whether the address belongs to this network namespace. Sends nothing.
pub(super) fn is_own_address(server: &SocketAddr) -> bool {
    let is_listed = || kernel::own_addresses().is_ok_and(|own| own.contains(&server.ip()));
    // A link-local address cannot be bound without its interface (RFC 4007 §6), and an address of a local route is not
    // listed.
    UdpSocket::bind((server.ip(), 0)).is_ok() || is_listed()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_include_link_local_ones() {
        for address in kernel::own_addresses().unwrap() {
            assert!(is_own_address(&SocketAddr::new(address, 80)), "{address}");
        }
        for other in ["192.0.2.77:80", "[fe80::7777]:80", "[2001:db8::77]:80"] {
            assert!(!is_own_address(&other.parse().unwrap()), "{other}");
        }
    }
}
