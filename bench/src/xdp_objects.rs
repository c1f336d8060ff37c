//! The eBPF objects of `bench/ebpf`, as committed, and the one way to load them.

use anyhow::{Context as _, Result};
use aya::maps::Map;
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};

/// A committed object file.
pub(crate) struct ObjectFile {
    /// Its path in the repository, for messages.
    path: &'static str,
    bytes: &'static [u8],
}

/// The flood generator, and programs that pass or drop everything.
pub(crate) static FLOOD: ObjectFile = ObjectFile {
    path: "bench/ebpf/objects/flood.o",
    bytes: aya::include_bytes_aligned!("../ebpf/objects/flood.o"),
};
/// The XDP responders that synward is compared with.
pub(crate) static BASELINE: ObjectFile = ObjectFile {
    path: "bench/ebpf/objects/baseline.o",
    bytes: aya::include_bytes_aligned!("../ebpf/objects/baseline.o"),
};
/// The maps that could hold the flows, and the programs that use them.
pub(crate) static FLOW_TABLE: ObjectFile = ObjectFile {
    path: "bench/ebpf/objects/flow_table.o",
    bytes: aya::include_bytes_aligned!("../ebpf/objects/flow_table.o"),
};

/// An object whose maps exist in the kernel; its programs are loaded by name.
pub(crate) struct LoadedObject {
    path: &'static str,
    ebpf: Ebpf,
}

impl ObjectFile {
    /// Creates the maps.
    ///
    /// # Errors
    /// The kernel's refusal: no privilege, no eBPF, or no memory.
    pub(crate) fn open(&self, loader: &mut EbpfLoader<'_>) -> Result<LoadedObject> {
        let ebpf = loader.load(self.bytes).context(
            "creating eBPF maps failed (bench needs root, or CAP_BPF and CAP_NET_ADMIN, and memory)",
        )?;
        Ok(LoadedObject {
            path: self.path,
            ebpf,
        })
    }
}

impl LoadedObject {
    /// Loads a program into the kernel.
    ///
    /// # Errors
    /// No such program, or the verifier's or the kernel's refusal.
    pub(crate) fn load(&mut self, name: &str) -> Result<&mut Xdp> {
        let path = self.path;
        let program: &mut Xdp = self
            .ebpf
            .program_mut(name)
            .with_context(|| missing(path, "program", name))?
            .try_into()?;
        program
            .load()
            .with_context(|| format!("the kernel refused the XDP program '{name}'"))?;
        Ok(program)
    }

    /// A program, loaded or not.
    ///
    /// # Errors
    /// No such program.
    pub(crate) fn program(&self, name: &str) -> Result<&Xdp> {
        let program = self
            .ebpf
            .program(name)
            .with_context(|| missing(self.path, "program", name))?;
        Ok(program.try_into()?)
    }

    /// A map, to read.
    ///
    /// # Errors
    /// No such map.
    pub(crate) fn map(&self, name: &str) -> Result<&Map> {
        self.ebpf
            .map(name)
            .with_context(|| missing(self.path, "map", name))
    }

    /// A map, to write.
    ///
    /// # Errors
    /// No such map.
    pub(crate) fn map_mut(&mut self, name: &str) -> Result<&mut Map> {
        let path = self.path;
        self.ebpf
            .map_mut(name)
            .with_context(|| missing(path, "map", name))
    }

    /// Moves a map out of the object.
    ///
    /// # Errors
    /// No such map.
    pub(crate) fn take_map(&mut self, name: &str) -> Result<Map> {
        let path = self.path;
        self.ebpf
            .take_map(name)
            .with_context(|| missing(path, "map", name))
    }
}

fn missing(path: &str, kind: &str, name: &str) -> String {
    format!("{path} has no {kind} '{name}': rebuild it with ebpf/build")
}
