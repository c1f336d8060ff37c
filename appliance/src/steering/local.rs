//! What steering has to do with services of this machine: whether they can be served here, and by whose cookies.

use std::net::{IpAddr, SocketAddr};

use synward_core::layout::{cookies, handoff};

use super::error::SteeringError;
use super::object::Kernel;
use super::{Steering, astray, host, knock, netlink};
use crate::config::{Config, Handoff};

/// What keeps services from being local on this machine, as far as it shows without privileges.
///
/// # Errors
/// The first thing that is in the way.
pub fn check_local(config: &Config) -> Result<(), SteeringError> {
    kernel(config).map(drop)
}

/// This kernel, as far as local services need to know it; nothing if there are none.
///
/// # Errors
/// The first thing that is in the way of them.
pub(super) fn kernel(config: &Config) -> Result<Option<Kernel>, SteeringError> {
    let mut services = config.services.iter();
    let has_local = services.any(|service| service.handoff == Handoff::Local);
    has_local.then(|| host::check_local(config)).transpose()
}

impl Steering {
    /// Sees to it that `address`, a local service's, is not behind an interface of this machine that is not steered, as a
    /// container's is. One of another machine on the link may become ours, if that machine fails.
    ///
    /// # Errors
    /// It is.
    pub fn is_here(&self, address: IpAddr) -> Result<(), SteeringError> {
        let Some(index) = astray::leaves_by(address) else {
            return Ok(());
        };
        if self.interfaces.iter().any(|one| one.index == index) {
            return Ok(());
        }
        let links = netlink::links().unwrap_or_default();
        let interface = links.into_iter().find(|link| link.index == index);
        Err(SteeringError::Elsewhere {
            to: address,
            interface: interface.map_or_else(|| format!("interface {index}"), |link| link.name),
        })
    }

    /// Asks this machine's firewall whether it lets proven clients of `server`, a local service's, in; before
    /// [`Steering::attach`]. False if it cannot be told.
    ///
    /// # Errors
    /// It does not, or it cannot be asked.
    pub fn knock(&mut self, server: SocketAddr) -> Result<bool, SteeringError> {
        let program = self.object.injector()?;
        let mut told = true;
        let outside = self.interfaces.iter();
        for interface in outside.filter(|one| one.side.faces_clients()) {
            match knock::at(program, interface, server) {
                Ok(knock::Door::Open) => {}
                Ok(knock::Door::Shut { from }) => {
                    return Err(SteeringError::Firewall {
                        to: server,
                        interface: interface.name.clone(),
                        from,
                    });
                }
                Ok(knock::Door::Elsewhere { on }) => {
                    return Err(SteeringError::Dnat { to: server, on });
                }
                Ok(knock::Door::Unknown) => told = false,
                Err(error) => {
                    let interface = interface.name.as_str();
                    tracing::debug!(%server, interface, %error, "the firewall cannot be asked");
                    told = false;
                }
            }
        }
        Ok(told)
    }

    /// Notes whether the kernel's cookies can hold options now (`net.ipv4.tcp_timestamps`). Cheap when nothing has changed.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn look_at_kernel_clock(&mut self) -> Result<(), SteeringError> {
        let times = if host::has_bare_clock() {
            cookies::TIMES
        } else {
            0
        };
        for index in 0..self.services.len() {
            let mut service = self.services[index];
            if service.handoff == handoff::LOCAL && service.cookies & cookies::TIMES != times {
                service.cookies ^= cookies::TIMES;
                self.write_service(index as u32, service)?;
            }
        }
        Ok(())
    }
}
