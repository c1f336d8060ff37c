//! Checks whether this kernel can serve local services, and with whose cookies.

use super::error::LocalError;
use super::services::local_services;
use crate::config::{Config, Cookies};
use crate::kernel::{self, KernelAbi};

/// Checks that this kernel can serve the local services of `config`, and returns the ids and offsets that their programs
/// need; `None`: no service is local. Needs no privilege.
///
/// # Errors
/// The first reason for which this machine cannot serve local services.
pub fn check_kernel(config: &Config) -> Result<Option<KernelAbi>, LocalError> {
    /// The value of `net.ipv4.tcp_syncookies` with which the kernel always sends cookies.
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
