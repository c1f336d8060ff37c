//! `bench/ebpf/objects/flow_table.o` in the kernel: the contenders' maps and the programs that use them.

use std::io::ErrorKind;
use std::os::fd::{AsFd as _, BorrowedFd};

use anyhow::{Context as _, Result, bail};
use aya::EbpfLoader;
use aya::maps::{Array, HashMap, Map, MapData, MapError};
use aya::programs::{TestRun as _, TestRunOptions};
use synward_core::flow::FlowKey;
use synward_core::layout::Globals;
use synward_core::multilinear;
use synward_core::occupancy;

use synward_bench_ebpf::flow_draw::Plan;

use crate::shared_pod::Shared;
use crate::xdp_objects::{self, LoadedObject};

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
/// The value of every flow: `last_seen`, the fifth word, marks a hit.
const VALUE: Value = [0, 0, 0, 0, 1, 0, 0];

/// The kernel's own maps among the contenders.
#[derive(Clone, Copy)]
pub(super) enum KernelMap {
    Hash,
    Lru,
}

/// The loaded object.
pub(super) struct Kernel {
    object: LoadedObject,
}

impl Kernel {
    /// Creates tables for `room` flows (`buckets` buckets of the bucketed one) and loads the programs.
    ///
    /// # Errors
    /// The kernel's refusal: no privilege or no memory.
    pub(super) fn load(room: u32, buckets: u32) -> Result<Self> {
        let mut loader = EbpfLoader::new();
        loader
            .map_max_entries("HASH", room)
            .map_max_entries("LRU", room)
            .map_max_entries("TAGS", buckets)
            .map_max_entries("FLOWS", buckets * 16)
            .map_max_entries("OCCUPANCY", occupancy::line_count(buckets));
        let mut object = xdp_objects::FLOW_TABLE.open(&mut loader)?;
        for name in PROGRAMS {
            object.load(name)?;
        }
        let mut kernel = Self { object };
        let globals = Globals {
            // A fixed key, so that two runs measure the same.
            table_key: multilinear::PI,
            bucket_mask: buckets - 1,
            ..Globals::default()
        };
        Array::<_, Shared<Globals>>::try_from(kernel.object.map_mut("GLOBALS")?)?.set(
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
        match self.object.map(name)? {
            Map::Array(map) => Ok(map.fd().as_fd()),
            _ => bail!("the map '{name}' of bench/ebpf/objects/flow_table.o is no array"),
        }
    }

    /// Runs a program; returns nanoseconds per run (measured by the kernel, without time in which it was preempted) and
    /// how many runs found or inserted their flow.
    ///
    /// # Errors
    /// The kernel's refusal to run it.
    pub(super) fn run(&mut self, name: &str, plan: Plan, runs: u32) -> Result<(f64, u64)> {
        self.plan()?.set(0, Shared(plan), 0)?;
        let program = self.object.program(name)?;
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

    /// Inserts a flow into one of the kernel's maps by bpf(2).
    ///
    /// # Errors
    /// The kernel's refusal: the map is full.
    pub(super) fn insert(&mut self, which: KernelMap, key: &FlowKey) -> Result<()> {
        self.contender(which)?
            .insert(Shared(*key), VALUE, 0)
            .context("inserting a flow failed")
    }

    /// Removes flows; an LRU map may have evicted some.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(super) fn remove(&mut self, which: KernelMap, keys: &[FlowKey]) -> Result<()> {
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

    fn contender(
        &mut self,
        which: KernelMap,
    ) -> Result<HashMap<&mut MapData, Shared<FlowKey>, Value>> {
        Ok(HashMap::try_from(self.object.map_mut(match which {
            KernelMap::Hash => "HASH",
            KernelMap::Lru => "LRU",
        })?)?)
    }

    fn plan(&mut self) -> Result<Array<&mut MapData, Shared<Plan>>> {
        Ok(Array::try_from(self.object.map_mut("PLAN")?)?)
    }
}
