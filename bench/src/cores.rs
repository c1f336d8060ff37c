//! Pinning to a core.

use anyhow::{Result, bail};

/// Keeps the calling thread on `core`.
///
/// # Errors
/// There is no such core, or this process may not run on it.
pub(crate) fn pin(core: usize) -> Result<()> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    match cores.into_iter().find(|id| id.id == core) {
        Some(id) if core_affinity::set_for_current(id) => Ok(()),
        _ => bail!("--core {core}: this process may not run on that core"),
    }
}
