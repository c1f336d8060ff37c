//! Frames that AF_XDP sockets transmit.

use std::thread;
use std::time::{Duration, Instant};

use super::probe_frame::{LENGTH, probe_frame};
use super::{Sockets, Unsent};
use crate::afxdp::Port;
use crate::steering::SteeredInterface;

/// How long a driver may take to complete a frame.
const PATIENCE: Duration = Duration::from_secs(1);

/// Transmits a frame from each socket of the interfaces. Returns the sockets whose frame was not completed.
pub(super) fn unsent(sockets: &mut Sockets, interfaces: &[&SteeredInterface]) -> Vec<Unsent> {
    let mut waiting = Vec::new();
    for (queue, ports) in sockets {
        for (index, port) in ports {
            let known = interfaces.iter().find(|one| one.index == *index);
            if let Some(interface) = known
                && transmit(port, interface).is_some()
            {
                waiting.push((*queue, *index, port));
            }
        }
    }
    let deadline = Instant::now() + PATIENCE;
    while !waiting.is_empty() && Instant::now() < deadline {
        waiting.retain_mut(|(_, _, port)| {
            port.flush();
            port.accounting().transmit > 0
        });
        thread::sleep(Duration::from_millis(1));
    }
    let unsent = waiting.iter().map(|(queue, interface, port)| Unsent {
        interface: *interface,
        queue: *queue,
        zero_copy: port.zero_copy(),
    });
    unsent.collect()
}

fn transmit(port: &mut Port, interface: &SteeredInterface) -> Option<()> {
    let mut frame = port.allocate()?;
    let room = port.bytes_mut(&mut frame).first_chunk_mut::<LENGTH>();
    if let Some(room) = room {
        *room = probe_frame(interface.mac);
        frame.set_len(LENGTH as u16);
    }
    port.transmit(frame);
    Some(())
}
