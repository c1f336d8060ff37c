//! Attaches the program again, in generic mode, on interfaces where native XDP does not work.

use std::thread;
use std::time::{Duration, Instant};

use super::attach;
use super::error::SteeringError;
use super::handle::Steering;
use crate::config::XdpMode;
use crate::kernel;

/// How long the kernel may take to detach a program.
const PATIENCE: Duration = Duration::from_secs(2);

impl Steering {
    /// Makes XDP generic on every interface. Frames pass to the kernel meanwhile, for some milliseconds.
    ///
    /// # Errors
    /// The program cannot be attached again. It is then attached nowhere.
    pub fn fall_back_to_generic(&mut self) -> Result<(), SteeringError> {
        self.attachments.drain(..).for_each(attach::detach);
        self.wait_until_detached()?;
        let interfaces = self.wanted.iter_mut().zip(&mut self.found);
        for (wanted, found) in interfaces.filter(|(_, found)| !found.steered.called) {
            wanted.xdp = XdpMode::Generic;
            found.before = None;
            found.steered.native = false;
        }
        let program = self.object.program()?;
        self.attachments =
            attach::attach_all(program, &mut self.found, &self.wanted, self.pins.as_ref())?;
        self.watch_attached()
    }

    fn wait_until_detached(&self) -> Result<(), SteeringError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let links = kernel::links().map_err(SteeringError::Netlink)?;
            let is_attached = |index| {
                links
                    .iter()
                    .any(|link| link.index == index && link.xdp.is_some())
            };
            let waits = self
                .interfaces
                .iter()
                .any(|steered| !steered.called && is_attached(steered.index));
            if !waits || Instant::now() >= deadline {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}
