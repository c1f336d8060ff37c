//! Binds sockets while the appliance serves: on an interface that was deleted and created again, whose old sockets belong to what
//! is gone, on queues that an interface has got since, and on queues whose socket was closed because its driver completed nothing.
//!
//! The control thread opens them, because it alone may, and hands each to the worker of its queue.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::start::Appliance;
use crate::afxdp::{OpenError, Port, PortOptions};
use crate::steering::{Mended, QueueChange, SteeredInterface, SteeringError, queues_of_xdp};
use crate::worker::ports::PortChange;

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
    /// The queue has appeared.
    Appeared,
    /// Its driver completed nothing.
    Stalled,
}

/// A queue without a socket.
#[derive(Debug)]
struct Missing {
    /// The slot of its interface.
    slot: u32,
    queue: u32,
    reason: Reason,
    /// Why it could not be bound when it was tried last; `None`: it was not tried yet.
    refused: Option<String>,
}

impl SocketRebind {
    /// Notes the queues of an interface that is steered again, if it is another one under the same name.
    pub(super) fn expect(&mut self, appliance: &mut Appliance, mended: &Mended) {
        let Some(before) = mended.replaced else {
            return;
        };
        let mut steered = appliance.steering.interfaces().iter();
        // Another one may have its index by now.
        if steered.clone().all(|one| one.index != before) {
            appliance.responders.remove(&before);
            appliance.bypassed.remove(&before);
            appliance.lose_ports(before);
        }
        let queues = steered.find(|one| one.slot == mended.slot && !appliance.workers.is_empty());
        for queue in queues.map_or(&[][..], |one| &one.queues) {
            self.note(mended.slot, *queue, Reason::CreatedAgain);
        }
    }

    /// Notes the queues that an interface has got, and has workers close the sockets of those that it has lost.
    pub(super) fn follow(&mut self, appliance: &mut Appliance, change: &QueueChange) {
        if appliance.workers.is_empty() {
            return;
        }
        let interface = &change.interface;
        for queue in change.lost.clone() {
            self.close(appliance, interface, queue);
        }
        for queue in change.appeared.clone() {
            self.note(interface.slot, queue, Reason::Appeared);
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
        self.close(appliance, interface, queue);
        self.note(interface.slot, queue, Reason::Stalled);
    }

    fn close(&self, appliance: &mut Appliance, interface: &SteeredInterface, queue: u32) {
        if let Some(answering) = appliance.responders.get_mut(&interface.index) {
            *answering = answering.without([queue].into_iter().collect());
        }
        if let Err(error) = appliance.renew_responder(interface) {
            tracing::error!(%error, "a queue without a socket cannot be bypassed");
        }
        let interface = interface.index;
        appliance.change_port(queue, PortChange::Close { interface, queue });
    }

    fn note(&mut self, slot: u32, queue: u32, reason: Reason) {
        let mut known = self.0.iter();
        if !known.any(|one| (one.slot, one.queue) == (slot, queue)) {
            self.0.push_back(Missing {
                slot,
                queue,
                reason,
                refused: None,
            });
        }
    }

    /// Binds what can be bound of the queues that the kernel or a driver has just made, and were not tried yet.
    pub(super) fn bind_new(&mut self, appliance: &mut Appliance) {
        let is_new = |one: &Missing| one.reason != Reason::Stalled && one.refused.is_none();
        if self.0.iter().any(is_new) {
            self.bind(appliance, is_new);
        }
    }

    /// Binds what can be bound. Returns what is missing, with the cure; it is tried again in the next round.
    pub(super) fn round(&mut self, appliance: &mut Appliance) -> Vec<String> {
        self.bind(appliance, |_| true)
    }

    fn bind(
        &mut self,
        appliance: &mut Appliance,
        is_due: impl Fn(&Missing) -> bool,
    ) -> Vec<String> {
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
            if is_due(&missing) && began.elapsed() < BUDGET {
                match missing.bind(appliance, interface) {
                    Ok(()) => continue,
                    Err(refused) => missing.refused = Some(refused),
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
        let options = PortOptions {
            transmits: !queues_of_xdp(interface).contains(&queue),
            ..appliance.port_options(interface)
        };
        let opened = Port::open_now(&interface.device(), queue, &options);
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
        let change = PortChange::Use(interface.index, Box::new(port));
        if appliance.change_port(queue, change) {
            Ok(())
        } else {
            Err("its worker does not take it".to_owned())
        }
    }

    /// What is wrong, with the cure. `name` is that of the interface.
    fn fault(&self, name: &str) -> String {
        let queue = self.queue;
        let refused = self.refused.as_deref().unwrap_or("it was not tried yet");
        match self.reason {
            Reason::CreatedAgain => format!(
                "{name} was created again, and queue {queue} has no socket: {refused}; it is tried again each second, and a \
                 restart of synward does the same"
            ),
            Reason::Appeared => format!(
                "{name} has got queue {queue}, which has no socket: {refused}; connections that arrive there are not opened, and \
                 it is tried again each second"
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
        rebind.note(1, 7, Reason::Stalled);
        rebind.note(1, 7, Reason::CreatedAgain);
        rebind.note(0, 7, Reason::CreatedAgain);
        rebind.note(0, 8, Reason::Appeared);
        let faults = rebind.0.iter().map(|one| one.fault("out0"));
        assert_eq!(
            faults.collect::<Vec<_>>(),
            [
                "queue 7 of out0 has no socket since its driver completed nothing: it was not tried yet; XDP answers the SYNs \
                 there, and it is tried again each second",
                "out0 was created again, and queue 7 has no socket: it was not tried yet; it is tried again each second, and a \
                 restart of synward does the same",
                "out0 has got queue 8, which has no socket: it was not tried yet; connections that arrive there are not opened, \
                 and it is tried again each second",
            ]
        );
    }
}
