//! The eBPF object: loads it into the kernel, takes out handles to its maps.

use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64};

use aya::maps::{
    Array, HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray, ProgramArray, XskMap,
};
use aya::programs::{ProgramError, SchedClassifier, Xdp};
use aya::{Ebpf, EbpfError, EbpfLoader};
use synward_core::counters::ServiceCounters;
use synward_core::flow::FlowKey;
use synward_core::handed_over::HandedOver;
use synward_core::layout::{
    Clock, Endpoint, Globals, Interfaces, KeySlot, MAX_QUEUES, NextHop, PrefixPort, Service,
    VlanTags,
};
use synward_core::source_filter::SourceFilter;
use synward_core::source_sample::Bucket;
use synward_core::waiting_client::WaitingClient;
use synward_core::wire::Address;

use super::error::{SteeringError, cause, errno, map_failed};
use super::map_plan::Plan;
use super::map_sizes::{HANDED_OVER, Room, Sizes};
use super::watched_counts::{ADDRESS_COUNTS, WatchedCounts};
use crate::kernel::{self, KernelAbi, load_verified};
use crate::maps::{self, Atomic, EndpointMap, Memory, Plain};

static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../ebpf/xdp/objects/steer.o");

/// The programs that only local services need.
const ASSIGN: &str = "assign";
const TEST_INJECT: &str = "test_inject";

/// The map of programs behind. The kernel empties it when neither a file nor a process holds it, so it is pinned too.
pub(super) const NEXT: &str = "NEXT";

/// The loaded program, and handles to its maps.
pub(super) struct Object {
    ebpf: Ebpf,
    pub(super) interfaces: Array<MapData, Plain<Interfaces>>,
    pub(super) clock: Array<MapData, Plain<Clock>>,
    pub(super) prefixes: LpmTrie<MapData, [u32; 4], u32>,
    pub(super) prefix_ports: HashMap<MapData, Plain<PrefixPort>, Plain<Endpoint>>,
    pub(super) lists: LpmTrie<MapData, [u32; 5], u32>,
    pub(super) services: Array<MapData, Plain<Service>>,
    pub(super) keys: Array<MapData, Plain<KeySlot>>,
    pub(super) counters: PerCpuArray<MapData, Plain<ServiceCounters>>,
    pub(super) address_counts: WatchedCounts,
    pub(super) sources: PerCpuArray<MapData, Plain<Bucket>>,
    pub(super) sockets: XskMap<MapData>,
    pub(super) vlans: HashMap<MapData, Plain<VlanTags>, u32>,
    pub(super) own_sources: HashMap<MapData, Plain<Address>, u32>,
    pub(super) source_filter: Array<MapData, Plain<SourceFilter>>,
    pub(super) unresolved: HashMap<MapData, Plain<NextHop>, u32>,
    pub(super) waiting: HashMap<MapData, Plain<FlowKey>, Plain<WaitingClient>>,
    pub(super) handed_over: PerCpuArray<MapData, Plain<HandedOver>>,
    /// The programs behind, by the slot of their interface.
    pub(super) next: ProgramArray<MapData>,
    pub(super) room: Room,
    /// Whether the program is loaded for frames in several buffers.
    pub(super) frags: bool,
    /// The maps that the next process takes over or reads, with their names.
    pub(super) inherited: Vec<(&'static str, MapData)>,
}

/// Handles that other parts of the appliance own.
pub(super) struct Shared {
    pub(super) endpoints: EndpointMap,
    pub(super) globals: Array<MapData, Plain<Globals>>,
    pub(super) tags: Memory<maps::FlowTableU32>,
    pub(super) flows: Memory<maps::FlowTableU32>,
    pub(super) occupancy: Memory<maps::FlowTableU64>,
    pub(super) replay_cache: Memory<AtomicU32>,
    pub(super) heartbeats: Memory<AtomicU64>,
}

impl Object {
    /// Loads the object. Reuses the maps in `pinned`, which a previous process left.
    pub(super) fn load(
        sizes: &Sizes,
        plan: &Plan,
        abi: Option<&KernelAbi>,
        pinned: &[(&'static str, PathBuf)],
        frags: bool,
    ) -> Result<(Self, Shared), SteeringError> {
        let mut loader = EbpfLoader::new();
        for (name, entries) in sizes.kept() {
            loader.map_max_entries(name, entries);
        }
        let room = Room::new(plan);
        loader.map_max_entries("ENDPOINTS", room.endpoints);
        loader.map_max_entries("PREFIXES", room.prefixes);
        loader.map_max_entries("PREFIX_PORTS", room.prefix_ports);
        for (name, path) in pinned {
            loader.map_pin_path(name, path.as_path());
        }
        if let Some(abi) = abi {
            for (name, offset) in &abi.fields {
                loader.override_global(name, offset, true);
            }
            loader.override_global("TCP_IS_MPTCP", &abi.is_mptcp, true);
        }
        let has_frags = u32::from(frags);
        loader.override_global("HAS_FRAGS", &has_frags, true);
        let chosen = kernel::choose_frags(OBJECT, frags);
        let patched = match abi.and_then(|abi| abi.assign) {
            Some(function) => Some(kernel::patch_calls(&chosen, function).ok_or(
                SteeringError::Object {
                    what: "call of the kernel function that takes over connections",
                },
            )?),
            None => None,
        };
        let mut ebpf = loader
            .load(patched.as_deref().unwrap_or(&chosen))
            .map_err(|error| load_error(&error, sizes))?;
        let rejected = |error: ProgramError| SteeringError::Verifier {
            cause: verifier_message(&error),
        };
        let program = xdp(&mut ebpf)?;
        load_verified(|| program.load()).map_err(rejected)?;
        if plan.assigns() {
            let program = classifier(&mut ebpf, ASSIGN)?;
            load_verified(|| program.load()).map_err(rejected)?;
        }
        if abi.is_some() {
            let program = classifier(&mut ebpf, TEST_INJECT)?;
            load_verified(|| program.load()).map_err(rejected)?;
        }
        take_maps(ebpf, sizes, room, frags)
    }

    /// The XDP program.
    pub(super) fn program(&mut self) -> Result<&mut Xdp, SteeringError> {
        xdp(&mut self.ebpf)
    }

    /// The id by which the kernel knows the loaded XDP program.
    pub(super) fn program_id(&mut self) -> Result<u32, SteeringError> {
        let info = self.program()?.info();
        info.map(|info| info.id())
            .map_err(|error| SteeringError::Verifier {
                cause: cause(&error),
            })
    }

    /// The TC program. Loaded only if some local service uses our cookies.
    pub(super) fn classifier(&mut self) -> Result<&mut SchedClassifier, SteeringError> {
        classifier(&mut self.ebpf, ASSIGN)
    }

    /// The program that injects a frame. Loaded only if some service is local.
    pub(super) fn injector(&mut self) -> Result<&SchedClassifier, SteeringError> {
        classifier(&mut self.ebpf, TEST_INJECT).map(|program| &*program)
    }
}

fn xdp(ebpf: &mut Ebpf) -> Result<&mut Xdp, SteeringError> {
    let program = ebpf
        .program_mut("steer")
        .and_then(|program| program.try_into().ok());
    program.ok_or(SteeringError::Object {
        what: "program steer",
    })
}

fn classifier<'a>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<&'a mut SchedClassifier, SteeringError> {
    let program = ebpf
        .program_mut(name)
        .and_then(|program| program.try_into().ok());
    program.ok_or(SteeringError::Object { what: name })
}

fn take_maps(
    mut ebpf: Ebpf,
    sizes: &Sizes,
    room: Room,
    frags: bool,
) -> Result<(Object, Shared), SteeringError> {
    let [(_, tags), (_, flows), .., (_, occupancy)] = sizes.kept();
    let mut inherited = Vec::new();
    for name in [
        "TAGS",
        "FLOWS",
        "PASSED",
        "REPLAY_CACHE",
        "WAITING",
        HANDED_OVER,
        "OCCUPANCY",
        "GLOBALS",
        "ENDPOINTS",
        NEXT,
    ] {
        inherited.push((name, duplicate_map(&ebpf, name)?));
    }
    let shared = Shared {
        endpoints: take_map_as(&mut ebpf, "ENDPOINTS")?,
        globals: take_map_as(&mut ebpf, "GLOBALS")?,
        tags: map_memory(&mut ebpf, "TAGS", tags as usize * 16)?,
        flows: map_memory(&mut ebpf, "FLOWS", flows as usize * 16)?,
        occupancy: map_memory(&mut ebpf, "OCCUPANCY", occupancy as usize * 8)?,
        replay_cache: map_memory(&mut ebpf, "REPLAY_CACHE", maps::REPLAY_CACHE_WORDS)?,
        heartbeats: map_memory(&mut ebpf, "HEARTBEATS", MAX_QUEUES as usize)?,
    };
    let again = duplicate_map(&ebpf, ADDRESS_COUNTS)?;
    let address_counts = WatchedCounts::new(take_map_as(&mut ebpf, ADDRESS_COUNTS)?, again);
    let object = Object {
        interfaces: take_map_as(&mut ebpf, "INTERFACES")?,
        clock: take_map_as(&mut ebpf, "CLOCK")?,
        prefixes: take_map_as(&mut ebpf, "PREFIXES")?,
        prefix_ports: take_map_as(&mut ebpf, "PREFIX_PORTS")?,
        lists: take_map_as(&mut ebpf, "LISTS")?,
        services: take_map_as(&mut ebpf, "SERVICES")?,
        keys: take_map_as(&mut ebpf, "KEYS")?,
        counters: take_map_as(&mut ebpf, "COUNTERS")?,
        address_counts,
        sources: take_map_as(&mut ebpf, "SOURCES")?,
        sockets: take_map_as(&mut ebpf, "SOCKETS")?,
        vlans: take_map_as(&mut ebpf, "VLANS")?,
        own_sources: take_map_as(&mut ebpf, "OWN_SOURCES")?,
        source_filter: take_map_as(&mut ebpf, "SOURCE_FILTER")?,
        unresolved: take_map_as(&mut ebpf, "UNRESOLVED")?,
        waiting: take_map_as(&mut ebpf, "WAITING")?,
        handed_over: take_map_as(&mut ebpf, HANDED_OVER)?,
        next: take_map_as(&mut ebpf, NEXT)?,
        inherited,
        ebpf,
        room,
        frags,
    };
    Ok((object, shared))
}

/// Takes a map out of the object.
fn take_map_as<T: TryFrom<Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<T, SteeringError> {
    let map = ebpf
        .take_map(name)
        .ok_or(SteeringError::Object { what: name })?;
    T::try_from(map).map_err(map_failed(name))
}

/// Maps the first `length` atomics of a mmap-able array.
fn map_memory<A: Atomic>(
    ebpf: &mut Ebpf,
    name: &'static str,
    length: usize,
) -> Result<Memory<A>, SteeringError> {
    match ebpf.take_map(name) {
        Some(Map::Array(map)) => {
            Memory::of_map(map.fd().as_fd(), length).map_err(|error| SteeringError::Map {
                map: name,
                cause: error.to_string(),
            })
        }
        _ => Err(SteeringError::Object { what: name }),
    }
}

/// A second handle to a map.
fn duplicate_map(ebpf: &Ebpf, name: &'static str) -> Result<MapData, SteeringError> {
    let data = match ebpf.map(name) {
        Some(
            Map::Array(data)
            | Map::HashMap(data)
            | Map::LruHashMap(data)
            | Map::PerCpuArray(data)
            | Map::ProgramArray(data),
        ) => data,
        _ => return Err(SteeringError::Object { what: name }),
    };
    let fd = data.fd().as_fd().try_clone_to_owned();
    let fd = fd.map_err(|error| SteeringError::Map {
        map: name,
        cause: error.to_string(),
    })?;
    MapData::from_fd(fd).map_err(map_failed(name))
}

fn load_error(error: &EbpfError, sizes: &Sizes) -> SteeringError {
    match errno(error) {
        Some(libc::ENOMEM | libc::E2BIG) => SteeringError::Memory {
            capacity: sizes.capacity,
            megabytes: sizes.megabytes(),
        },
        Some(libc::EMFILE) => SteeringError::OpenFiles,
        Some(libc::ENFILE) => SteeringError::SystemFiles,
        _ => SteeringError::Refused {
            cause: cause(error),
        },
    }
}

/// The last line of the verifier log before its statistics, or the error of the kernel.
fn verifier_message(error: &ProgramError) -> String {
    let cause = cause(error);
    let ProgramError::LoadError { verifier_log, .. } = error else {
        return cause;
    };
    let log = verifier_log.to_string();
    let is_statistics = |line: &str| {
        ["processed ", "verification time", "stack depth"]
            .iter()
            .any(|start| line.starts_with(start))
    };
    let last = log
        .lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty() && !is_statistics(line));
    last.map_or_else(|| cause.clone(), |last| format!("{cause}: {last}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_name_their_own_cure() {
        let refused = |errno| {
            let error = MapError::CreateError {
                name: "FLOWS".into(),
                io_error: std::io::Error::from_raw_os_error(errno),
            };
            load_error(&EbpfError::MapError(error), &Sizes::new(4096)).to_string()
        };
        for (errno, word) in [
            (libc::ENOMEM, "capacity"),
            (libc::EMFILE, "ulimit -n"),
            (libc::ENFILE, "fs.file-max"),
            (libc::EPERM, "container"),
        ] {
            let text = refused(errno);
            assert!(text.contains(word), "{text}");
        }
    }
}
