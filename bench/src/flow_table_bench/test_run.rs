//! `bench/ebpf/objects/flow_table.o` in the kernel: the contenders' maps and the programs that use them.

use std::io::ErrorKind;
use std::os::fd::{AsFd as _, BorrowedFd};

use anyhow::{Context as _, Result};
use aya::maps::{Array, HashMap, Map, MapData, MapError};
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader, Pod};
use synward_core::flow::FlowKey;
use synward_core::layout::Globals;
use synward_core::multilinear;
use synward_core::occupancy;

use super::Map as Which;
use synward_bench_ebpf::flow_draw::Plan;

static OBJECT: &[u8] = aya::include_bytes_aligned!("../../ebpf/objects/flow_table.o");

const PROGRAMS: [&str; 6] = [
    "baseline",
    "bucketed",
    "hash",
    "lru",
    "hash_insert",
    "lru_insert",
];

/// `Value` of bench/ebpf/src/flow_table/contender_maps.rs.
type Value = [u32; 7];
/// What every flow holds: `last_seen`, the fifth word, tells a hit.
const VALUE: Value = [0, 0, 0, 0, 1, 0, 0];

/// A type of the shared library as aya takes it.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Shared<T>(pub(crate) T);

// SAFETY: words and arrays of words without padding (nine words).
unsafe impl Pod for Shared<FlowKey> {}
// SAFETY: two words of eight bytes and four of four, without padding.
unsafe impl Pod for Shared<Plan> {}
// SAFETY: two words of eight bytes and four of four, without padding.
unsafe impl Pod for Shared<Globals> {}

/// The object, loaded.
pub(super) struct Kernel {
    object: Ebpf,
}

impl Kernel {
    /// Creates tables for `room` flows (`buckets` buckets of the bucketed one) and loads the programs.
    ///
    /// # Errors
    /// The kernel's refusal: no privilege or no memory.
    pub(super) fn load(room: u32, buckets: u32) -> Result<Self> {
        let mut object = EbpfLoader::new()
            .map_max_entries("HASH", room)
            .map_max_entries("LRU", room)
            .map_max_entries("TAGS", buckets)
            .map_max_entries("FLOWS", buckets * 16)
            .map_max_entries("OCCUPANCY", occupancy::line_count(buckets))
            .load(OBJECT)
            .context("creating eBPF maps failed (bench needs root, or CAP_BPF and CAP_NET_ADMIN, and memory)")?;
        for name in PROGRAMS {
            let program: &mut Xdp = object
                .program_mut(name)
                .with_context(|| {
                    format!(
                        "bench/ebpf/objects/flow_table.o has no program '{name}': run ebpf/build"
                    )
                })?
                .try_into()?;
            program
                .load()
                .with_context(|| format!("the kernel refused the program '{name}'"))?;
        }
        let mut kernel = Self { object };
        let globals = Globals {
            // Not secret here, so that two runs measure the same.
            table_key: multilinear::PI,
            bucket_mask: buckets - 1,
            ..Globals::default()
        };
        Array::<_, Shared<Globals>>::try_from(kernel.map("GLOBALS")?)?.set(
            0,
            Shared(globals),
            0,
        )?;
        Ok(kernel)
    }

    /// The file descriptor of an array.
    ///
    /// # Errors
    /// No such map.
    pub(super) fn array(&self, name: &str) -> Result<BorrowedFd<'_>> {
        match self.object.map(name) {
            Some(Map::Array(map)) => Ok(map.fd().as_fd()),
            _ => anyhow::bail!(
                "bench/ebpf/objects/flow_table.o has no array '{name}': run ebpf/build"
            ),
        }
    }

    /// Runs a program: nanoseconds a run (the kernel's own measurement, without the time in which it
    /// was preempted), and how many runs found or inserted their flow.
    ///
    /// # Errors
    /// The kernel's refusal to run it.
    pub(super) fn run(&mut self, name: &str, plan: Plan, runs: u32) -> Result<(f64, u64)> {
        self.plan()?.set(0, Shared(plan), 0)?;
        let program: &Xdp = self
            .object
            .program(name)
            .context("a program is gone")?
            .try_into()?;
        let frame = [0; 64];
        let result = program
            .test_run(TestRunOptions {
                data_in: Some(&frame),
                repeat: runs,
                ..TestRunOptions::new()
            })
            .with_context(|| format!("running the program '{name}' failed"))?;
        let found = self.plan()?.get(&0, 0)?.0.found;
        Ok((result.duration.as_nanos() as f64, found))
    }

    /// Puts a flow into a map of the kernel's by bpf(2).
    ///
    /// # Errors
    /// The kernel's refusal: the map is full.
    pub(super) fn insert(&mut self, which: Which, key: &FlowKey) -> Result<()> {
        self.contender(which)?
            .insert(Shared(*key), VALUE, 0)
            .context("inserting a flow failed")
    }

    /// Takes flows out again; an LRU map may have forgotten some.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(super) fn remove(&mut self, which: Which, keys: &[FlowKey]) -> Result<()> {
        let mut map = self.contender(which)?;
        for key in keys {
            match map.remove(&Shared(*key)) {
                Err(MapError::SyscallError(error))
                    if error.io_error.kind() == ErrorKind::NotFound => {}
                done => done.context("removing a flow failed")?,
            }
        }
        Ok(())
    }

    fn contender(&mut self, which: Which) -> Result<HashMap<&mut MapData, Shared<FlowKey>, Value>> {
        Ok(HashMap::try_from(self.map(match which {
            Which::Hash => "HASH",
            Which::Lru => "LRU",
        })?)?)
    }

    fn plan(&mut self) -> Result<Array<&mut MapData, Shared<Plan>>> {
        Ok(Array::try_from(self.map("PLAN")?)?)
    }

    fn map(&mut self, name: &str) -> Result<&mut Map> {
        self.object.map_mut(name).with_context(|| {
            format!("bench/ebpf/objects/flow_table.o has no map '{name}': run ebpf/build")
        })
    }
}
