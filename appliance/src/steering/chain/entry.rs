//! The program that others call on interfaces with `attach = "none"`: loads it, or takes over the one that is pinned, so that
//! a restart changes nothing for its callers.

use std::io;
use std::path::{Path, PathBuf};

use aya::Ebpf;
use aya::maps::{Map, MapData, PerCpuHashMap, PerCpuValues, ProgramArray};
use aya::programs::{ProgramFd, ProgramInfo, SchedClassifier, Xdp};
use aya::util::nr_cpus;

use super::super::error::{SteeringError, cause, map_failed};
use super::super::pins::Pins;
use crate::kernel::{self, load_verified};

static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../../ebpf/xdp/objects/entry.o");

/// The files in the pin folder.
pub(crate) const PROGRAM: &str = "entry";
const STEER: &str = "entry-steer";
const ARRIVED: &str = "entry-arrived";

/// The pinned program that others call.
pub(crate) struct Entry {
    /// The program behind it.
    steer: ProgramArray<MapData>,
    /// Interface index → frames, per CPU.
    arrived: PerCpuHashMap<MapData, u32, u64>,
    path: PathBuf,
    pinned: Pinned,
}

/// What is pinned, to pin it again.
struct Pinned {
    /// Holds the descriptor. aya opens a pinned `Xdp` only with a type that it does not export.
    program: SchedClassifier,
    maps: [(&'static str, MapData); 2],
}

impl Pinned {
    fn open(pins: &Pins) -> Option<Self> {
        let map = |name| Some((name, MapData::from_pin(pins.file(name)).ok()?));
        Some(Self {
            program: SchedClassifier::from_pin(pins.file(PROGRAM)).ok()?,
            maps: [map(STEER)?, map(ARRIVED)?],
        })
    }
}

impl Entry {
    /// Takes over the pinned program if it is the one of this version, and puts `steer` behind it; else pins a new one. The
    /// kernel lets a program for frames in one buffer call none for several, and the other way round.
    pub(crate) fn open(pins: &Pins, steer: &ProgramFd, frags: bool) -> Result<Self, SteeringError> {
        let mut ebpf = Ebpf::load(&kernel::choose_frags(OBJECT, frags)).map_err(|error| {
            SteeringError::Refused {
                cause: cause(&error),
            }
        })?;
        let program = program(&mut ebpf)?;
        load_verified(|| program.load()).map_err(|error| SteeringError::Verifier {
            cause: cause(&error),
        })?;
        let path = pins.file(PROGRAM);
        let pinned = ProgramInfo::from_pin(&path).ok();
        let ours = program.info().ok().map(|info| info.tag());
        if let Some(pinned) = pinned {
            if ours == Some(pinned.tag())
                && let Some(mut entry) = Self::of_pins(pins)
                && entry.set(steer).is_ok()
            {
                return Ok(entry);
            }
            tracing::warn!(
                "{} is another program than before: put it into the map of the program that calls it (docs/chaining.md)",
                path.display()
            );
        }
        let mut entry = Self::pin_new(ebpf, pins)?;
        entry.set(steer)?;
        Ok(entry)
    }

    /// The one that is pinned, if all of it is.
    pub(crate) fn of_pins(pins: &Pins) -> Option<Self> {
        let map = |name| MapData::from_pin(pins.file(name)).ok();
        Some(Self {
            steer: ProgramArray::try_from(Map::ProgramArray(map(STEER)?)).ok()?,
            arrived: PerCpuHashMap::try_from(Map::PerCpuHashMap(map(ARRIVED)?)).ok()?,
            path: pins.file(PROGRAM),
            pinned: Pinned::open(pins)?,
        })
    }

    fn pin_new(mut ebpf: Ebpf, pins: &Pins) -> Result<Self, SteeringError> {
        let (Some(Map::ProgramArray(steer)), Some(Map::PerCpuHashMap(arrived))) =
            (ebpf.take_map("STEER"), ebpf.take_map("ARRIVED"))
        else {
            return Err(SteeringError::Object {
                what: "maps of the program entry",
            });
        };
        pins.pin_file(STEER, |draft| steer.pin(draft))?;
        pins.pin_file(ARRIVED, |draft| arrived.pin(draft))?;
        let program = program(&mut ebpf)?;
        pins.pin_file(PROGRAM, |draft| program.pin(draft))?;
        Ok(Self {
            steer: ProgramArray::try_from(Map::ProgramArray(steer)).map_err(map_failed("STEER"))?,
            arrived: PerCpuHashMap::try_from(Map::PerCpuHashMap(arrived))
                .map_err(map_failed("ARRIVED"))?,
            path: pins.file(PROGRAM),
            pinned: Pinned::open(pins).ok_or(SteeringError::Object {
                what: "pins of the program entry",
            })?,
        })
    }

    /// The file that pins the program.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Pins again what is missing, so that the next process finds the program that others call. One result for each file: whether
    /// it was missing.
    pub(crate) fn restore_pins(&mut self, pins: &Pins) -> [Result<bool, SteeringError>; 3] {
        let Pinned { program, maps } = &mut self.pinned;
        let [one, other] = maps;
        let map = |(name, map): &mut (&str, MapData)| pins.restore(name, |draft| map.pin(draft));
        [
            map(one),
            map(other),
            pins.restore(PROGRAM, |draft| program.pin(draft)),
        ]
    }

    /// Puts `steer` behind the program, at one moment.
    fn set(&mut self, steer: &ProgramFd) -> Result<(), SteeringError> {
        self.steer.set(0, steer, 0).map_err(map_failed("STEER"))
    }

    /// Has the program pass every frame.
    pub(crate) fn clear(&mut self) {
        // It is empty already if the kernel finds nothing there.
        let _ = self.steer.clear_index(&0);
    }

    /// Counts the frames of these interfaces from now on, and of no others.
    pub(crate) fn count(&mut self, interfaces: &[u32]) -> Result<(), SteeringError> {
        let failed = map_failed("ARRIVED");
        let known: Vec<u32> = self.arrived.keys().flatten().collect();
        for gone in known.iter().filter(|index| !interfaces.contains(index)) {
            self.arrived.remove(gone).map_err(&failed)?;
        }
        for new in interfaces.iter().filter(|index| !known.contains(index)) {
            let zeros = zeros().map_err(|error| SteeringError::Map {
                map: "ARRIVED",
                cause: error.to_string(),
            })?;
            self.arrived.insert(new, zeros, 0).map_err(&failed)?;
        }
        Ok(())
    }

    /// The frames that arrived on an interface.
    pub(crate) fn arrived(&self, interface: u32) -> u64 {
        let frames = self.arrived.get(&interface, 0);
        frames.map_or(0, |cpus| cpus.iter().sum())
    }
}

fn program(ebpf: &mut Ebpf) -> Result<&mut Xdp, SteeringError> {
    let program = ebpf
        .program_mut(PROGRAM)
        .and_then(|program| program.try_into().ok());
    program.ok_or(SteeringError::Object {
        what: "program entry",
    })
}

/// A zero for each CPU.
fn zeros() -> io::Result<PerCpuValues<u64>> {
    let cpus = nr_cpus().map_err(|(_, error)| error)?;
    PerCpuValues::try_from(vec![0; cpus])
}
