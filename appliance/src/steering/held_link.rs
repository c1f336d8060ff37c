//! The link by which a program of ours is attached, in XDP or at TC.

use std::mem;
use std::path::Path;

use aya::programs::links::{FdLink, PinnedLink};

use super::error::SteeringError;

/// A link. Dropping it detaches the program, unless it is pinned.
#[derive(Debug)]
pub(super) enum HeldLink {
    Pinned(PinnedLink),
    /// Holds the descriptor: nothing is pinned, or the link could not be.
    Loose(FdLink),
    /// There is none: another program is attached and calls ours.
    Absent,
}

impl HeldLink {
    /// Pins the link, by `pin`, if its file is missing. Returns whether it was.
    ///
    /// `attempt` pins something else in its place and removes that: a link that cannot be pinned is closed, which detaches the
    /// program.
    ///
    /// # Errors
    /// It cannot be pinned. The program stays attached.
    pub(super) fn restore_pin(
        &mut self,
        file: &Path,
        attempt: impl FnOnce() -> Result<(), SteeringError>,
        pin: impl FnOnce(FdLink) -> Result<PinnedLink, SteeringError>,
    ) -> Result<bool, SteeringError> {
        match self {
            Self::Absent => return Ok(false),
            Self::Pinned(_) if file.exists() => return Ok(false),
            Self::Pinned(_) | Self::Loose(_) => attempt()?,
        }
        let link = match mem::replace(self, Self::Absent) {
            Self::Pinned(link) => FdLink::from(link),
            Self::Loose(link) => link,
            Self::Absent => return Ok(false),
        };
        *self = Self::Pinned(pin(link)?);
        Ok(true)
    }

    /// Detaches the program immediately.
    pub(super) fn detach(self) {
        if let Self::Pinned(link) = self {
            // Closing the descriptor, on return, drops the last reference. A missing file is no error.
            let _ = link.unpin();
        }
    }
}
