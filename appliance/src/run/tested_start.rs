//! The self-test before the appliance is ready: opens the sockets, tries them, and uses safer modes until everything works.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::bail;

use super::reception_test::test_reception;
use super::start::Appliance;
use crate::config::{Handoff, Responder, ZeroCopy};
use crate::kernel;
use crate::self_test::{self, Sockets, Step, Tested, TransmitWatch, next_step};

impl Appliance {
    /// Opens the sockets of all workers, and tries every way on which frames leave. Where the configuration says "auto", the
    /// mode becomes zero-copy, copy or generic, whatever works first. `servers` have answered a probe before the program was
    /// attached.
    ///
    /// # Errors
    /// A socket cannot be opened, or a mode that the configuration forces does not work.
    pub(super) fn open_tested_sockets(
        &mut self,
        servers: &[SocketAddr],
    ) -> anyhow::Result<Sockets> {
        match TransmitWatch::start() {
            Ok(watch) => self.transmit_watch = Some(watch),
            Err(error) => {
                tracing::warn!("redirected frames that are lost will not be seen: {error}");
            }
        }
        loop {
            self.signals.check()?;
            let mut sockets = if self.needs_workers() {
                self.open_sockets()?
            } else {
                Sockets::new()
            };
            let began = Instant::now();
            let step = match self.test(&mut sockets) {
                Step::Serve => test_reception(servers, &self.tested(&sockets)),
                step => step,
            };
            let note = match step {
                Step::Serve => {
                    let milliseconds = began.elapsed().as_millis() as u64;
                    tracing::info!(milliseconds, "self-test passed");
                    for note in self.receive_only_queues() {
                        tracing::warn!("{note}");
                    }
                    return Ok(sockets);
                }
                Step::Refuse(reason) => bail!("self-test: {reason}"),
                Step::CopyMode(reason) => {
                    for interface in &mut self.config.interfaces {
                        interface.zero_copy = ZeroCopy::Off;
                    }
                    format!("{reason}: AF_XDP is in copy mode instead")
                }
                Step::Generic(reason) => {
                    // Sockets are bound to the mode of the program.
                    sockets.clear();
                    self.steering.fall_back_to_generic()?;
                    format!("{reason}: XDP is generic instead, which is slower")
                }
            };
            tracing::warn!("self-test: {note}");
            self.self_test_notes.push(note);
            self.responders.clear();
        }
    }

    /// Tries every way once.
    fn test(&mut self, sockets: &mut Sockets) -> Step {
        let interfaces = self.steering.interfaces().to_vec();
        let services = self.config.services.iter();
        let redirects = services
            .map(|service| service.handoff)
            .any(|handoff| handoff != Handoff::Local);
        let watch = self.transmit_watch.as_mut();
        let steering = &mut self.steering;
        // The control thread says what fails.
        let follow_bonds = || drop(steering.follow_standby_ports());
        let mut findings = self_test::run(watch, &interfaces, redirects, sockets, follow_bonds);
        if self.config.appliance.responder == Responder::Afxdp {
            let answers = |index: u32| {
                let mut ours = interfaces.iter().filter(|one| one.index == index);
                ours.any(|one| one.side.faces_clients())
            };
            findings.mute = self_test::mute(sockets, answers);
        }
        if let Some(cause) = &findings.untried {
            tracing::warn!("the self-test could not redirect frames: {cause}");
        }
        next_step(&findings, &self.tested(sockets))
    }

    fn tested(&self, sockets: &Sockets) -> Vec<Tested> {
        let links = kernel::links().unwrap_or_default();
        let interfaces = self
            .steering
            .interfaces()
            .iter()
            .zip(&self.config.interfaces);
        interfaces
            .map(|(steered, wanted)| {
                let mut ports = sockets.values().flatten();
                let link = links.iter().find(|link| link.index == steered.index);
                Tested {
                    name: steered.name.clone(),
                    index: steered.index,
                    is_veth: link.is_some_and(|link| link.kind == "veth"),
                    native: steered.native,
                    called: steered.called,
                    zero_copy: ports
                        .any(|(index, port)| *index == steered.index && port.zero_copy()),
                    wanted_xdp: wanted.attach_mode(),
                    wanted_zero_copy: wanted.zero_copy,
                }
            })
            .collect()
    }
}
