//! Binds sockets while the appliance serves: on an interface that was deleted and created again, whose old sockets belong to what
//! is gone, and on queues whose socket was closed because its driver completed nothing.
//!
//! The control thread opens them, because it alone may, and hands each to the worker of its queue.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::start::Appliance;
use crate::afxdp::{OpenError, Port};
use crate::steering::{Mended, SteeredInterface, SteeringError};
use crate::worker::ports::{NewPort, PortChange};

/// How long a round may take until what is left waits for the next one.
const BUDGET: Duration = Duration::from_millis(100);

/// The queues whose socket is still to be bound. The one that was tried longest ago comes first.
#[derive(Debug, Default)]
pub(super) struct SocketRebind(VecDeque<Missing>);

/// Why a queue has no socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// Its interface was deleted and created again.
    CreatedAgain,
    /// Its driver completed nothing.
    Stalled,
}

/// A queue without a socket.
#[derive(Debug)]
struct Missing {
    /// The slot of its interface.
    slot: u32,
    queue: u32,
    /// The index of the interface that the worker's old socket belongs to.
    before: u32,
    reason: Reason,
    /// Why it could not be bound in the latest round.
    refused: String,
}

impl SocketRebind {
    /// Notes the queues of an interface that is steered again, if it is another one under the same name.
    pub(super) fn expect(&mut self, appliance: &mut Appliance, mended: &Mended) {
        let Some(before) = mended.replaced else {
            return;
        };
        appliance.responders.remove(&before);
        appliance.bypassed.remove(&before);
        for worker in &appliance.workers {
            self.note(mended.slot, worker.queue, before, Reason::CreatedAgain);
        }
    }

    /// Has the worker of a queue close its socket, which is bound again from the next round on. Until then the XDP program
    /// answers the SYNs there.
    pub(super) fn reopen(
        &mut self,
        appliance: &mut Appliance,
        interface: &SteeredInterface,
        queue: u32,
    ) {
        if let Some(answering) = appliance.responders.get_mut(&interface.index) {
            *answering = answering.without([queue].into_iter().collect());
        }
        if let Err(error) = appliance.renew_responder(interface) {
            tracing::error!(%error, "a queue that transmits nothing cannot be bypassed");
        }
        appliance.change_port(queue, PortChange::Close(interface.index));
        self.note(interface.slot, queue, interface.index, Reason::Stalled);
    }

    fn note(&mut self, slot: u32, queue: u32, before: u32, reason: Reason) {
        let mut known = self.0.iter();
        if !known.any(|one| (one.slot, one.queue) == (slot, queue)) {
            self.0.push_back(Missing {
                slot,
                queue,
                before,
                reason,
                refused: "it was not tried yet".to_owned(),
            });
        }
    }

    /// Binds what can be bound. Returns what is missing, with the cure; it is tried again in the next round.
    pub(super) fn round(&mut self, appliance: &mut Appliance) -> Vec<String> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let began = Instant::now();
        let interfaces = appliance.steering.interfaces().to_vec();
        let mut faults = Vec::new();
        let mut left = VecDeque::new();
        for mut missing in std::mem::take(&mut self.0) {
            let mut steered = interfaces.iter();
            let Some(interface) = steered.find(|one| one.slot == missing.slot) else {
                continue;
            };
            if began.elapsed() < BUDGET {
                match missing.bind(appliance, interface) {
                    Ok(()) => continue,
                    Err(refused) => missing.refused = refused,
                }
                faults.push(missing.fault(&interface.name));
                self.0.push_back(missing);
            } else {
                faults.push(missing.fault(&interface.name));
                left.push_back(missing);
            }
        }
        left.append(&mut self.0);
        self.0 = left;
        faults
    }
}

impl Missing {
    /// Binds the socket and hands it to the worker, if the interface still has the queue.
    fn bind(&self, appliance: &mut Appliance, interface: &SteeredInterface) -> Result<(), String> {
        let queue = self.queue;
        if !interface.queues.contains(&queue) {
            return Ok(());
        }
        let options = appliance.port_options(interface);
        let opened = Port::open_now(&interface.name, queue, &options);
        let port = opened.map_err(|error| match error {
            // In copy mode a socket keeps its queue until the kernel has freed the last packet that it sent (xp_clear_dev,
            // net/xdp/xsk_buff_pool.c).
            OpenError::Busy { .. } if self.reason == Reason::Stalled => {
                "the kernel still holds frames that were sent through the closed one".to_owned()
            }
            error => error.to_string(),
        })?;
        let text = |error: SteeringError| error.to_string();
        let entered = appliance.enter_socket(interface, queue, &options, &port);
        entered.map_err(text)?;
        appliance.renew_responder(interface).map_err(text)?;
        let new = NewPort {
            before: self.before,
            interface: interface.index,
            port,
        };
        appliance.change_port(queue, PortChange::Use(Box::new(new)));
        Ok(())
    }

    /// What is wrong, with the cure. `name` is that of the interface.
    fn fault(&self, name: &str) -> String {
        let Self { queue, refused, .. } = self;
        match self.reason {
            Reason::CreatedAgain => format!(
                "{name} was created again, and queue {queue} has no socket: {refused}; it is tried again each second, and a \
                 restart of synward does the same"
            ),
            Reason::Stalled => format!(
                "queue {queue} of {name} has no socket since its driver completed nothing: {refused}; XDP answers the SYNs \
                 there, and it is tried again each second"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_waits_once_and_says_why() {
        let mut rebind = SocketRebind::default();
        rebind.note(1, 7, 3, Reason::Stalled);
        rebind.note(1, 7, 4, Reason::CreatedAgain);
        rebind.note(0, 7, 4, Reason::CreatedAgain);
        let faults = rebind.0.iter().map(|one| one.fault("out0"));
        assert_eq!(
            faults.collect::<Vec<_>>(),
            [
                "queue 7 of out0 has no socket since its driver completed nothing: it was not tried yet; XDP answers the SYNs \
                 there, and it is tried again each second",
                "out0 was created again, and queue 7 has no socket: it was not tried yet; it is tried again each second, and a \
                 restart of synward does the same",
            ]
        );
        assert_eq!(rebind.0[0].before, 3, "the worker has the older socket");
    }
}
