//! Pins again what somebody has removed from the pin folder. Without it the programs would end with the process, and spliced
//! connections with them, though a kill should end neither.

use super::error::SteeringError;
use super::handle::Steering;

impl Steering {
    /// Pins again what is missing. Returns how many files were.
    ///
    /// # Errors
    /// The folder cannot be created again, another process has it, or a file cannot be pinned: the first of them, after all
    /// others are pinned. The programs stay attached.
    pub fn mend_pins(&mut self) -> Result<usize, SteeringError> {
        let Some(pins) = &mut self.pins else {
            return Ok(0);
        };
        if self.attachments.is_empty() {
            return Ok(0);
        }
        pins.restore_folder()?;
        let pins = &*pins;
        let mut missing = 0;
        let mut failure = None;
        let mut note = |restored: Result<bool, SteeringError>| match restored {
            Ok(was_missing) => missing += usize::from(was_missing),
            Err(error) => {
                failure.get_or_insert(error);
            }
        };
        note(pins.restore_schema());
        for (name, map) in &self.object.inherited {
            if !pins.map(name).exists() {
                note(pins.pin_map(name, map).map(|()| true));
            }
        }
        note(self.kept_attacks.restore_pin(pins));
        if let Some(entry) = &mut self.entry {
            entry.restore_pins(pins).into_iter().for_each(&mut note);
        }
        for attachment in &mut self.attachments {
            note(attachment.restore_pin(pins));
        }
        for assignment in &mut self.assignments {
            note(assignment.restore_pin(pins));
        }
        match failure {
            Some(error) => Err(error),
            None => Ok(missing),
        }
    }
}
