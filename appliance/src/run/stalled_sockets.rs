//! Opens sockets again whose driver completes nothing: a driver in zero-copy mode then sets up the queue again.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::{Duration, Instant};

use synward_core::layout::MAX_QUEUES;
use synward_core::queue_set::QueueSet;

use super::socket_rebind::SocketRebind;
use super::start::Appliance;
use crate::self_test::transmission_faults::TransmissionFaults;

/// How long a queue keeps a socket that was opened again, however stalled it is.
const PAUSE: Duration = Duration::from_secs(60);

/// When queues were opened again, by index of the interface and queue.
#[derive(Debug, Default)]
pub(super) struct StalledSockets(BTreeMap<(u32, u32), Instant>);

impl StalledSockets {
    /// Has the sockets of stalled queues closed. `rebind` opens them again.
    pub(super) fn round(
        &mut self,
        appliance: &mut Appliance,
        faults: &mut TransmissionFaults,
        rebind: &mut SocketRebind,
    ) {
        let now = Instant::now();
        let interfaces = appliance.steering.interfaces().to_vec();
        for (index, queue) in self.due(now, &faults.stalled_queues()) {
            faults.forget(index, queue);
            let mut steered = interfaces.iter();
            let Some(interface) = steered.find(|one| one.index == index) else {
                continue;
            };
            tracing::warn!(
                interface = %interface.name, queue,
                "the driver completes nothing: the socket is closed and opened again"
            );
            rebind.reopen(appliance, interface, queue);
        }
    }

    /// The stalled queues whose turn it is to be opened again.
    fn due(&mut self, now: Instant, stalled: &BTreeMap<u32, QueueSet>) -> Vec<(u32, u32)> {
        self.0
            .retain(|_, opened| now.duration_since(*opened) < PAUSE);
        let mut due = Vec::new();
        for (index, queues) in stalled {
            for queue in (0..MAX_QUEUES).filter(|queue| queues.contains(*queue)) {
                if let Entry::Vacant(never) = self.0.entry((*index, queue)) {
                    due.push(*never.key());
                    never.insert(now);
                }
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_opened_again_once_a_minute() {
        let mut sockets = StalledSockets::default();
        let began = Instant::now();
        let mut due = |seconds, queues: &[u32]| {
            let queues = queues.iter().copied().collect();
            let now = began + Duration::from_secs(seconds);
            sockets.due(now, &BTreeMap::from([(3, queues)]))
        };
        assert_eq!(due(0, &[1]), [(3, 1)]);
        assert_eq!(due(2, &[1, 200]), [(3, 200)]);
        assert_eq!(due(59, &[1, 200]), []);
        assert_eq!(due(60, &[1, 200]), [(3, 1)]);
        assert_eq!(due(61, &[]), []);
        assert_eq!(due(62, &[200]), [(3, 200)]);
    }
}
