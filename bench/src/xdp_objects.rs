//! The XDP programs of `bench/ebpf/src/flood`, as committed.

use anyhow::{Context as _, Result};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};

static OBJECT: &[u8] = aya::include_bytes_aligned!("../ebpf/objects/flood.o");

/// Creates the maps; programs are loaded by name with [`load`].
///
/// # Errors
/// The kernel's refusal: no privilege, or no eBPF.
pub(crate) fn open(loader: &mut EbpfLoader<'_>) -> Result<Ebpf> {
    loader
        .load(OBJECT)
        .context("creating eBPF maps failed (bench needs root, or CAP_BPF and CAP_NET_ADMIN)")
}

/// Loads one of the object's programs into the kernel.
///
/// # Errors
/// The verifier's or the kernel's refusal.
pub(crate) fn load<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program: &mut Xdp = object
        .program_mut(name)
        .with_context(|| {
            format!(
                "bench/ebpf/objects/flood.o has no program '{name}': rebuild it with ebpf/build"
            )
        })?
        .try_into()?;
    program
        .load()
        .with_context(|| format!("the kernel refused the XDP program '{name}'"))?;
    Ok(program)
}
