//! Pins again what somebody has removed from the pin folder. Without it the programs would end with the process, and spliced
//! connections with them, though a kill should end neither.

use super::error::SteeringError;
use super::handle::Steering;

impl Steering {
    /// Pins again what is missing. Returns how many files were.
    ///
    /// # Errors
    /// The folder cannot be created again, another process has it, or a file cannot be pinned.
    pub fn mend_pins(&mut self) -> Result<usize, SteeringError> {
        let Some(pins) = &mut self.pins else {
            return Ok(0);
        };
        if self.attachments.is_empty() {
            return Ok(0);
        }
        pins.restore_folder()?;
        let mut missing = usize::from(pins.restore_schema()?);
        for (name, map) in &self.object.inherited {
            if !pins.map(name).exists() {
                pins.pin_map(name, map)?;
                missing += 1;
            }
        }
        missing += usize::from(self.kept_attacks.restore_pin(pins)?);
        // Links come last: one that cannot be pinned is closed, which detaches the program, until it is attached again.
        for attachment in &mut self.attachments {
            missing += usize::from(attachment.restore_pin(pins)?);
        }
        for assignment in &mut self.assignments {
            missing += usize::from(assignment.restore_pin(pins)?);
        }
        Ok(missing)
    }
}
