//! Clients that came while no worker served their queue, beyond their share of one, or before this process: workers open their
//! connections now.

use synward_core::cookie::EPOCH_NANOSECONDS;

use super::start::{Appliance, WorkerHandle};
use crate::engine::waiting_ack::WaitingAck;
use crate::maps::Times;
use crate::observe::LogLimit;
use crate::steering::Waited;

/// What is logged about waiting clients.
#[derive(Debug, Default)]
pub(super) struct WaitingLog {
    failures: LogLimit,
    /// They come in every round while a queue has no socket.
    lines: LogLimit,
    /// Those that no line has counted.
    unsaid: Waited,
}

impl WaitingLog {
    fn served(&mut self, waited: Waited) {
        self.unsaid.taken += waited.taken;
        self.unsaid.discarded += waited.discarded;
        if self.unsaid != Waited::default() && self.lines.pass().is_some() {
            tracing::info!(
                clients = self.unsaid.taken,
                too_late = self.unsaid.discarded,
                "waiting clients were handed to workers"
            );
            self.unsaid = Waited::default();
        }
    }
}

/// Hands the waiting clients to the workers that are alive, in turn. What does not fit into their mailboxes waits for the
/// next round.
pub(super) fn serve(appliance: &mut Appliance, log: &mut WaitingLog) {
    let times = Times::now();
    let beats = appliance.steering.heartbeats();
    let workers = appliance.workers.iter();
    let alive: Vec<_> = workers
        .filter(|one| beats.is_alive(one.queue, times.coarse))
        .collect();
    let mut turns = alive.iter().cycle();
    let result = appliance
        .steering
        .take_waiting(times.coarse, |key, service, client| {
            let ago = times.coarse.saturating_sub(client.since);
            let ack = WaitingAck {
                key,
                service,
                epoch: times.unix.saturating_sub(ago) / EPOCH_NANOSECONDS,
                client,
            };
            turns.next().is_some_and(|worker| post(worker, ack))
        });
    match result {
        Ok(waited) => log.served(waited),
        Err(error) => {
            if let Some(others) = log.failures.pass() {
                tracing::error!(%error, others, "waiting clients cannot be handed to workers");
            }
        }
    }
}

/// `false`: the worker's mailbox is full.
fn post(worker: &WorkerHandle, ack: WaitingAck) -> bool {
    let left = worker.mailbox.clients.push(ack).is_ok();
    worker.mailbox.waker.wake();
    left
}
