//! Validated clients that wait for a worker, as the XDP program has kept them: while a queue has no worker, while there is no
//! process, and beyond their share of a worker.

use synward_core::flow::FlowKey;
use synward_core::waiting_client::WaitingClient;

use super::error::{SteeringError, map_failed};
use super::handle::Steering;
use crate::maps::Plain;

/// Nanoseconds after which nobody waits any more: longer than most programs wait for a connection that is silent.
const PATIENCE: u64 = 60_000_000_000;

/// What became of the clients in the map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waited {
    /// Those that were taken.
    pub taken: u32,
    /// Those that have waited for too long, or whose service is gone.
    pub discarded: u32,
}

impl Steering {
    /// Hands over the clients that wait at `now` (coarse monotonic clock, ns), those first that have waited for longest:
    /// `hand_over` gets the flow, the index of its service and what the ACK said. It returns `false` to leave this client and
    /// all others in the map.
    ///
    /// # Errors
    /// The kernel refuses to change the map.
    pub fn take_waiting(
        &mut self,
        now: u64,
        mut hand_over: impl FnMut(FlowKey, u16, WaitingClient) -> bool,
    ) -> Result<Waited, SteeringError> {
        let map = &mut self.object.waiting;
        let mut clients: Vec<_> = map.iter().flatten().collect();
        clients.sort_unstable_by_key(|(_, Plain(client))| client.since);
        let mut waited = Waited::default();
        for (Plain(key), Plain(client)) in clients {
            let service = self.endpoints.get(key.server.into(), key.server_port());
            let service = service.and_then(|endpoint| u16::try_from(endpoint.service).ok());
            match service {
                Some(service) if now.saturating_sub(client.since) < PATIENCE => {
                    if !hand_over(key, service, client) {
                        break;
                    }
                    waited.taken += 1;
                }
                _ => waited.discarded += 1,
            }
            map.remove(&Plain(key)).map_err(map_failed("WAITING"))?;
        }
        Ok(waited)
    }
}
