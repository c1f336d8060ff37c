//! Binds sockets on an interface that was deleted and created again: the old ones belong to what is gone.
//!
//! The control thread opens them, because it alone may, and hands each to the worker of its queue.

use std::collections::BTreeMap;

use super::start::Appliance;
use crate::steering::{Mended, SteeredInterface};
use crate::worker::ports::NewPort;

/// The queues whose socket is still to be bound: by slot of the interface and queue, the index of the interface that the
/// worker's old socket belongs to.
#[derive(Debug, Default)]
pub(super) struct SocketRebind(BTreeMap<(u32, u32), u32>);

impl SocketRebind {
    /// Notes the queues of an interface that is steered again, if it is another one under the same name.
    pub(super) fn expect(&mut self, appliance: &mut Appliance, mended: &Mended) {
        let Some(before) = mended.replaced else {
            return;
        };
        appliance.responders.remove(&before);
        appliance.bypassed.remove(&before);
        for worker in &appliance.workers {
            let queue = (mended.slot, worker.queue);
            self.0.entry(queue).or_insert(before);
        }
    }

    /// Binds what can be bound. Returns what is missing, with the cure; it is tried again in the next round.
    pub(super) fn round(&mut self, appliance: &mut Appliance) -> Vec<String> {
        let interfaces = appliance.steering.interfaces().to_vec();
        interfaces
            .iter()
            .filter_map(|interface| self.bind_interface(appliance, interface).err())
            .collect()
    }

    fn bind_interface(
        &mut self,
        appliance: &mut Appliance,
        interface: &SteeredInterface,
    ) -> Result<(), String> {
        let slot = interface.slot;
        let missing: Vec<_> = self
            .0
            .range((slot, 0)..=(slot, u32::MAX))
            .map(|((_, queue), before)| (*queue, *before))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let name = &interface.name;
        let options = appliance.port_options(interface);
        for (queue, before) in missing {
            if interface.queues.contains(&queue) {
                let port = appliance
                    .open_socket(interface, queue, &options)
                    .map_err(|error| {
                        format!(
                            "{name} was created again, and queue {queue} has no socket: {error}; it is tried again each \
                             second, and a restart of synward does the same"
                        )
                    })?;
                let new = NewPort {
                    before,
                    interface: interface.index,
                    port,
                };
                appliance.hand_over(queue, new);
            }
            self.0.remove(&(slot, queue));
        }
        let answering = appliance.responders.get(&interface.index).copied();
        appliance
            .steering
            .set_responder(slot, answering.unwrap_or_default())
            .map_err(|error| format!("workers answer no SYNs of {name}: {error}; restart synward"))
    }
}
