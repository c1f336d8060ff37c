//! Writes what to capture into a map of the XDP program, and reads the frames that it puts into its ring.
//!
//! The maps are found by the ids that the running program has: they are not pinned, and the process that serves has no part
//! in a capture.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use aya::maps::{Array, Map, MapData, MapInfo, RingBuf};
use aya::programs::loaded_programs;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use synward_core::capture::{Capture, Record};

use crate::maps::{Plain, fine_now};
use crate::observe::control_protocol::CaptureTarget;
use crate::steering::cause;

/// Why frames cannot be captured.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum TapError {
    #[error(
        "the maps of the running XDP program (id {0}) cannot be opened ({1}); a capture needs root with CAP_SYS_ADMIN, and \
         cannot run in a container without it"
    )]
    Unreadable(u32, String),

    #[error(
        "the running XDP program has no {0}; is the process of the same version as this command?"
    )]
    Missing(&'static str),

    #[error(
        "another capture runs (process {0}); one is possible at a time, and this one ends in {1} s at the latest"
    )]
    Busy(u32, u64),
}

/// A capture under way. Dropping it ends the capture in the XDP program.
pub(super) struct Tap {
    wanted: Array<MapData, Plain<Capture>>,
    ring: RingBuf<MapData>,
}

impl Tap {
    /// Has the XDP program send frames of the target's service that move one of these counters, a bit each: at most `limit`,
    /// for `time` at most.
    ///
    /// # Errors
    /// The maps cannot be opened, or another capture runs.
    pub(super) fn open(
        target: &CaptureTarget,
        counters: u64,
        limit: u64,
        time: Duration,
    ) -> Result<Self, TapError> {
        let id = target.program;
        let unreadable = |error: &dyn std::error::Error| TapError::Unreadable(id, cause(error));
        let mut wanted =
            Array::try_from(open_map(id, "CAPTURE")?).map_err(|error| unreadable(&error))?;
        let now = fine_now();
        if let Some(running) = read(&wanted).filter(|one| one.limit != 0 && one.until > now)
            && Path::new("/proc").join(running.owner.to_string()).exists()
        {
            let left = (running.until - now).div_ceil(1_000_000_000);
            return Err(TapError::Busy(running.owner, left));
        }
        let mut ring =
            RingBuf::try_from(open_map(id, "CAPTURED")?).map_err(|error| unreadable(&error))?;
        // What a capture left that was killed.
        while ring.next().is_some() {}
        let capture = Capture {
            limit,
            counters,
            until: now.saturating_add(time.as_nanos() as u64),
            taken: 0,
            lost: 0,
            service: target.service,
            owner: std::process::id(),
        };
        wanted
            .set(0, Plain(capture), 0)
            .map_err(|error| unreadable(&error))?;
        Ok(Self { wanted, ring })
    }

    /// Waits for frames, until a signal arrives at the latest.
    ///
    /// # Errors
    /// `BrokenPipe`: the pipe to `reader` has no reader any more.
    pub(super) fn wait(
        &mut self,
        time: Duration,
        reader: BorrowedFd<'_>,
    ) -> io::Result<Vec<Record>> {
        let wait = Timespec {
            tv_sec: time.as_secs() as i64,
            tv_nsec: time.subsec_nanos().into(),
        };
        let ring = self.ring.as_fd();
        let mut watched = [
            PollFd::new(&ring, PollFlags::IN),
            PollFd::new(&reader, PollFlags::empty()),
        ];
        // It fails only if a signal interrupts it.
        let _ = poll(&mut watched, Some(&wait));
        if watched[1].revents().contains(PollFlags::ERR) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut records = Vec::new();
        while let Some(bytes) = self.ring.next() {
            records.extend(Record::parse(&bytes));
        }
        Ok(records)
    }

    /// How many frames found no room in the ring.
    pub(super) fn lost(&self) -> u64 {
        read(&self.wanted).map_or(0, |capture| capture.lost)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        // If this fails, the XDP program ends the capture when its time is over.
        let _ = self.wanted.set(0, Plain(Capture::default()), 0);
    }
}

fn read(wanted: &Array<MapData, Plain<Capture>>) -> Option<Capture> {
    wanted.get(&0, 0).ok().map(|Plain(capture)| capture)
}

/// Opens a map of the program with this id.
fn open_map(program: u32, name: &'static str) -> Result<Map, TapError> {
    let unreadable = |error: &dyn std::error::Error| TapError::Unreadable(program, cause(error));
    let is_wanted = |one: &Result<aya::programs::ProgramInfo, _>| {
        one.as_ref().map_or(true, |one| one.id() == program)
    };
    let info = match loaded_programs().find(is_wanted) {
        Some(info) => info.map_err(|error| unreadable(&error))?,
        None => {
            return Err(TapError::Unreadable(
                program,
                "no program has this id".into(),
            ));
        }
    };
    let maps = info.map_ids().map_err(|error| unreadable(&error))?;
    for map in maps.into_iter().flatten() {
        // A map that has just gone is not the one.
        let is_named = |info: MapInfo| info.name_as_str() == Some(name);
        if MapInfo::from_id(map).is_ok_and(is_named) {
            return MapData::from_id(map)
                .and_then(Map::from_map_data)
                .map_err(|error| unreadable(&error));
        }
    }
    Err(TapError::Missing(name))
}
