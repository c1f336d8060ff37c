//! Which services and which addresses are local.

use std::net::{SocketAddr, UdpSocket};

use crate::config::{Config, Handoff, Service};

/// The services with `handoff = "local"`.
pub(super) fn local_services(config: &Config) -> impl Iterator<Item = &Service> {
    let services = config.services.iter();
    services.filter(|service| service.handoff == Handoff::Local)
}

/// Whether the address belongs to this network namespace. Sends nothing.
pub(super) fn is_own_address(server: &SocketAddr) -> bool {
    UdpSocket::bind((server.ip(), 0)).is_ok()
}
