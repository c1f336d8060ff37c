//! What `synward capture` has to know of the running process.

use crate::config::{Config, Service};
use crate::observe::control_protocol::{CaptureTarget, CapturedInterface, no_service};
use crate::steering::Steering;

/// What a capture of a service needs.
///
/// # Errors
/// There is no such service, or the kernel does not describe the program; a sentence for people.
pub(super) fn find(
    config: &Config,
    steering: &mut Steering,
    service: &str,
) -> Result<CaptureTarget, String> {
    let is_wanted = |known: &Service| known.is_configured() && known.name == service;
    let Some(index) = config.services.iter().position(is_wanted) else {
        let configured = config.services.iter().filter(|one| one.is_configured());
        let names: Vec<_> = configured.map(|one| one.name.as_str()).collect();
        return Err(no_service(service, &names));
    };
    let interfaces = steering.interfaces().iter().map(|one| CapturedInterface {
        index: one.index,
        name: one.name.clone(),
    });
    Ok(CaptureTarget {
        service: index as u32,
        interfaces: interfaces.collect(),
        program: steering.program_id().map_err(|error| error.to_string())?,
    })
}
