//! Pins threads to cores.

use anyhow::{Context as _, Result, bail};

/// Pins the calling thread to `core`.
///
/// # Errors
/// No such core, or this process may not run on it.
pub(crate) fn pin_to_core(core: usize) -> Result<()> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    match cores.into_iter().find(|id| id.id == core) {
        Some(id) if core_affinity::set_for_current(id) => Ok(()),
        _ => bail!("--core {core}: this process may not run on that core"),
    }
}

/// The last core on which this process may run.
///
/// # Errors
/// The kernel lists none.
pub(crate) fn last_core() -> Result<usize> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let last = cores.last();
    Ok(last
        .context("the kernel lists no cores for this process")?
        .id)
}
