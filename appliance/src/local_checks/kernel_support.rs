//! Whether this kernel can serve local services, and by whose cookies.

use super::error::LocalError;
use super::services::local_services;
use crate::config::{Config, Cookies};
use crate::kernel::{self, KernelAbi};

/// This kernel, as far as the local services of `config` need to know it; nothing if there are none. Needs no privilege.
///
/// # Errors
/// The first thing that keeps services from being local on this machine.
pub fn check_kernel(config: &Config) -> Result<Option<KernelAbi>, LocalError> {
    /// `net.ipv4.tcp_syncookies` with which the kernel makes cookies also without a flood.
    const ALWAYS: u8 = 2;
    if local_services(config).next().is_none() {
        return Ok(None);
    }
    let syncookies = kernel::tcp_syncookies();
    if syncookies == Some(0) {
        return Err(LocalError::NoSyncookies);
    }
    let abi = KernelAbi::read()?;
    if syncookies == Some(ALWAYS) {
        return Ok(Some(abi));
    }
    if !abi.takes_connections() {
        return Err(LocalError::NoAssign);
    }
    match local_services(config).find(|service| service.cookies == Cookies::Kernel) {
        Some(service) => Err(LocalError::KernelCookies {
            service: service.name.clone(),
        }),
        None => Ok(Some(abi)),
    }
}
