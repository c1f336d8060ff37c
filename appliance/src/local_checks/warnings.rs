//! The warnings of `synward check` about local services on this machine.

use super::kernel_support::check_kernel;
use super::notes::notes;
use super::services::local_services;
use crate::config::Config;

/// Reasons for which local services cannot work here, or not well, as far as they show without starting: the line of the
/// configuration, and a sentence.
pub fn warnings(config: &Config) -> Vec<(usize, String)> {
    let obstacle = check_kernel(config).err();
    let first = local_services(config).next();
    let obstacle = obstacle.zip(first);
    let obstacle = obstacle.map(|(error, service)| (service.line, error.to_string()));
    obstacle.into_iter().chain(notes(config)).collect()
}
