//! The link by which a program of ours is attached, in XDP or at TC.

use std::mem;
use std::path::Path;

use aya::programs::links::{FdLink, PinnedLink};

use super::error::SteeringError;

/// A link. Dropping it detaches the program, unless it is pinned.
#[derive(Debug)]
pub(super) enum HeldLink {
    Pinned(PinnedLink),
    /// Holds the descriptor.
    Loose(FdLink),
    /// There is none: another program is attached and calls ours, or the link could not be pinned again.
    Absent,
}

impl HeldLink {
    /// Pins the link again, by `pin`, if its file is missing. Returns whether it was.
    ///
    /// # Errors
    /// It cannot be pinned. It is closed then, which detaches the program.
    pub(super) fn restore_pin(
        &mut self,
        file: &Path,
        pin: impl FnOnce(FdLink) -> Result<PinnedLink, SteeringError>,
    ) -> Result<bool, SteeringError> {
        if !matches!(self, Self::Pinned(_)) || file.exists() {
            return Ok(false);
        }
        if let Self::Pinned(link) = mem::replace(self, Self::Absent) {
            *self = Self::Pinned(pin(FdLink::from(link))?);
        }
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
