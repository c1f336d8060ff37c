//! The AF_XDP sockets of the workers: how they are bound, at the start and later.

use std::collections::BTreeMap;

use synward_core::queue_set::QueueSet;

use super::start::{Appliance, WorkerHandle};
use crate::afxdp::{self, Port, PortOptions};
use crate::config::{self, Responder};
use crate::self_test::Sockets;
use crate::steering::{
    SteeredInterface, SteeringError, fits_one_frame, frame_size, queues_of_xdp, queues_of_xdp_note,
};
use crate::worker::ports::PortChange;

impl Appliance {
    /// Opens a socket on every queue of every interface. The result is indexed by queue.
    pub(super) fn open_sockets(&mut self) -> anyhow::Result<Sockets> {
        let mut sockets = Sockets::new();
        for interface in self.steering.interfaces().to_vec() {
            let options = self.port_options(&interface);
            let of_xdp = queues_of_xdp(&interface);
            for queue in &interface.queues {
                self.signals.check()?;
                let options = PortOptions {
                    transmits: !of_xdp.contains(queue),
                    ..options.clone()
                };
                let port = self.open_socket(&interface, *queue, &options)?;
                sockets
                    .entry(*queue)
                    .or_default()
                    .push((interface.index, port));
            }
        }
        Ok(sockets)
    }

    /// How to bind the sockets of an interface.
    pub(super) fn port_options(&self, interface: &SteeredInterface) -> PortOptions {
        let mut known = self.config.interfaces.iter();
        let configured = known.find(|known| known.name == interface.name);
        let configured = configured.map_or(config::ZeroCopy::Auto, |known| known.zero_copy);
        let device = interface.device();
        let fits = fits_one_frame(&device, interface.mtu);
        PortOptions {
            zero_copy: zero_copy(configured, interface.native && fits),
            busy_poll: self.polls_driver(&device),
            ..PortOptions::with_chunk(frame_size(&device, interface.mtu))
        }
    }

    /// Opens the socket of a queue, and enters it.
    fn open_socket(
        &mut self,
        interface: &SteeredInterface,
        queue: u32,
        options: &PortOptions,
    ) -> anyhow::Result<Port> {
        let port = Port::open(&interface.device(), queue, options)?;
        self.enter_socket(interface, queue, options, &port)?;
        Ok(port)
    }

    /// Enters a socket in the map, and notes who answers the SYNs of its queue.
    pub(super) fn enter_socket(
        &mut self,
        interface: &SteeredInterface,
        queue: u32,
        options: &PortOptions,
        port: &Port,
    ) -> Result<(), SteeringError> {
        if options.busy_poll && !port.busy_poll() {
            tracing::warn!(
                interface = %interface.name, queue,
                "the kernel refuses busy polling (it needs Linux 5.11 and CAP_NET_ADMIN): softirqs receive"
            );
        }
        self.steering.set_socket(interface.slot, queue, port.fd())?;
        let afxdp = port.transmits()
            && match self.config.appliance.responder {
                Responder::Afxdp => true,
                Responder::Xdp => false,
                Responder::Auto => port.zero_copy(),
            };
        if afxdp {
            let answering = self.responders.entry(interface.index).or_default();
            answering.insert(queue);
        }
        tracing::info!(
            interface = %interface.name, queue, zero_copy = port.zero_copy(),
            busy_poll = port.busy_poll(), transmits = port.transmits(),
            responder = if afxdp { "afxdp" } else { "xdp" }, "socket bound"
        );
        Ok(())
    }

    /// Tells the XDP program on which queues of an interface workers answer SYNs.
    pub(super) fn renew_responder(
        &mut self,
        interface: &SteeredInterface,
    ) -> Result<(), SteeringError> {
        let queues_in = |map: &BTreeMap<u32, QueueSet>| {
            let queues = map.get(&interface.index).copied();
            queues.unwrap_or_default()
        };
        let answering = queues_in(&self.responders).without(queues_in(&self.bypassed));
        self.steering.set_responder(interface.slot, answering)
    }

    /// Hands a change of its sockets to the worker of a queue. Returns whether there is one that can take it.
    pub(super) fn change_port(&self, queue: u32, change: PortChange) -> bool {
        self.worker_of(queue)
            .is_some_and(|worker| worker.change_port(change))
    }

    /// Has all workers close their sockets on an interface that is gone.
    pub(super) fn lose_ports(&self, interface: u32) {
        for worker in &self.workers {
            worker.change_port(PortChange::Lose(interface));
        }
    }

    /// How many queues of each interface have no worker of their own, because they appeared after the start.
    pub(super) fn shared_queues(&self) -> Vec<String> {
        let has_worker = |queue: &&u32| self.workers.iter().any(|one| one.queue == **queue);
        let note = |one: &SteeredInterface| {
            let (all, own) = (
                one.queues.len(),
                one.queues.iter().filter(has_worker).count(),
            );
            (own < all).then(|| {
                format!(
                    "{}: {} of {all} receive queues have appeared since the start, and the workers of the others serve them: a \
                     restart gives each queue a worker",
                    one.name,
                    all - own
                )
            })
        };
        let interfaces = self.steering.interfaces().iter();
        interfaces
            .filter(|_| !self.workers.is_empty())
            .filter_map(note)
            .collect()
    }

    /// The queues of each interface on which sockets only receive, and what follows.
    pub(super) fn receive_only_queues(&self) -> Vec<String> {
        if !self.needs_workers() {
            return Vec::new();
        }
        let note = |one: &SteeredInterface| {
            let is_steered = |queue: &u32| one.queues.contains(queue);
            let of_xdp = queues_of_xdp(one);
            queues_of_xdp_note(&one.name, &of_xdp)
                .filter(|_| of_xdp.clone().any(|q| is_steered(&q)))
        };
        self.steering.interfaces().iter().filter_map(note).collect()
    }

    /// Whether workers busy poll the NAPI of an interface: with `polling = "busy"`, if napi_defer_hard_irqs defers its
    /// softirqs (Documentation/networking/napi.rst, "Busy polling"). Otherwise both workers and softirqs would poll.
    fn polls_driver(&self, interface: &str) -> bool {
        if self.config.appliance.polling != config::Polling::Busy {
            return false;
        }
        let file = format!("/sys/class/net/{interface}/napi_defer_hard_irqs");
        let deferred = std::fs::read_to_string(file);
        let polls =
            deferred.is_ok_and(|value| value.trim().parse().is_ok_and(|value: u32| value > 0));
        if !polls {
            tracing::info!(
                interface,
                "polling = \"busy\": workers never sleep, softirqs receive; to let workers poll the NIC, set \
                 napi_defer_hard_irqs (2) and gro_flush_timeout (200000) in /sys/class/net/{interface}"
            );
        }
        polls
    }
}

impl WorkerHandle {
    /// Returns whether there is room. A full queue is one of a worker that has ended or hangs.
    fn change_port(&self, change: PortChange) -> bool {
        let taken = self.port_changes.push(change).is_ok();
        self.mailbox.waker.wake();
        taken
    }
}

/// How to bind the sockets of an interface. Behind generic XDP a socket receives copies whatever its mode (`xsk_generic_rcv`,
/// net/xdp/xsk.c), and nothing tells whether a driver transmits for it without its own XDP. So only native XDP allows zero-copy.
/// Where the configuration demands it, generic XDP was refused before ([`config::Interface::attach_mode`]). A driver with
/// zero-copy puts a packet into frames of the socket, and drops one that needs several of them: our sockets take none.
fn zero_copy(configured: config::ZeroCopy, can: bool) -> afxdp::ZeroCopy {
    match configured {
        _ if !can => afxdp::ZeroCopy::Off,
        config::ZeroCopy::Off => afxdp::ZeroCopy::Off,
        config::ZeroCopy::Auto => afxdp::ZeroCopy::Auto,
        config::ZeroCopy::On => afxdp::ZeroCopy::On,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generic_xdp_has_no_zero_copy() {
        let wanted = config::ZeroCopy::Auto;
        assert_eq!(zero_copy(wanted, true), afxdp::ZeroCopy::Auto);
        assert_eq!(zero_copy(wanted, false), afxdp::ZeroCopy::Off);
        assert_eq!(
            zero_copy(config::ZeroCopy::On, true),
            afxdp::ZeroCopy::On,
            "a demand is never weakened behind native XDP"
        );
    }
}
