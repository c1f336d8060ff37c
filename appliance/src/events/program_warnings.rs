//! Programs of `on_event` that cannot be started: better known at the start than in the first attack.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::config::Config;

/// What is wrong with the programs of a configuration on this machine: the line of the service, and a sentence.
pub fn program_warnings(config: &Config) -> Vec<(usize, String)> {
    let of_service = |service: &crate::config::Service| {
        let program = service.on_event.first()?;
        let what = fault(program)?;
        let name = &service.name;
        Some((
            service.line,
            format!("service \"{name}\": the program of on_event, {program}, {what}"),
        ))
    };
    config.services.iter().filter_map(of_service).collect()
}

/// Why a program cannot be started, with the cure.
fn fault(program: &str) -> Option<String> {
    match fs::metadata(program) {
        Err(error) => Some(format!("cannot be found ({error}); correct its path")),
        Ok(file) if !file.is_file() => Some("is not a file; name a program".into()),
        Ok(file) if file.permissions().mode() & 0o111 == 0 => {
            Some(format!("is not executable: chmod +x {program}"))
        }
        Ok(_) => None,
    }
}
