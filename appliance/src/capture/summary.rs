//! Counts what was captured, for people.

use std::fmt;

use super::reason::Reason;

/// What was captured.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Each wanted reason, and the frames that have it.
    counts: Vec<(Reason, u64)>,
    frames: u64,
    lost: u64,
    /// Whether the reader of the capture ended before it did.
    reader_ended: bool,
    /// Whether another program decided at the end.
    replaced: bool,
}

impl Summary {
    pub(super) fn new(reasons: &[Reason]) -> Self {
        Self {
            counts: reasons.iter().map(|reason| (*reason, 0)).collect(),
            frames: 0,
            lost: 0,
            reader_ended: false,
            replaced: false,
        }
    }

    /// Counts a frame that moved these counters.
    pub(super) fn add(&mut self, counted: u64) {
        self.frames += 1;
        for (reason, count) in &mut self.counts {
            *count += u64::from(reason.is_of(counted));
        }
    }

    /// Sets how many frames found no room.
    pub(super) fn set_lost(&mut self, lost: u64) {
        self.lost = lost;
    }

    /// Notes that its reader has ended.
    pub(super) fn set_reader_ended(&mut self) {
        self.reader_ended = true;
    }

    /// Notes that another process of synward, with a program of its own, has taken over meanwhile.
    pub(super) fn set_replaced(&mut self) {
        self.replaced = true;
    }

    /// How many frames were captured.
    pub fn frames(&self) -> u64 {
        self.frames
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "captured {} frame(s)", self.frames)?;
        let mut separator = ": ";
        for (reason, count) in self.counts.iter().filter(|(_, count)| *count > 0) {
            write!(f, "{separator}{count} {}", reason.word)?;
            separator = ", ";
        }
        if self.lost > 0 {
            write!(
                f,
                "; {} more came faster than they could be written",
                self.lost
            )?;
        }
        if self.reader_ended {
            write!(f, "; then their reader ended")?;
        }
        if self.replaced {
            write!(
                f,
                "; synward was restarted meanwhile, and what came after that is missing: capture again"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use synward_core::counters::Counter;

    #[test]
    fn the_line_counts_each_reason() {
        let mut summary = Summary::new(&Reason::usual());
        assert_eq!(summary.to_string(), "captured 0 frame(s)");
        summary.add(1 << Counter::AnsweredXdp as u8);
        summary.add(1 << Counter::AnsweredXdp as u8);
        summary.add(1 << Counter::DropDenied as u8);
        summary.set_lost(4);
        assert_eq!(
            summary.to_string(),
            "captured 3 frame(s): 2 challenged, 1 dropped; 4 more came faster than they could be written"
        );
        let mut summary = Summary::new(&Reason::usual());
        summary.add(1 << Counter::AnsweredXdp as u8);
        summary.set_reader_ended();
        assert_eq!(
            summary.to_string(),
            "captured 1 frame(s): 1 challenged; then their reader ended"
        );
    }
}
