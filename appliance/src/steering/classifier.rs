//! The program at TC on the interfaces that clients come in by, for services of this machine: before XDP passes it
//! anything, and after.

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::tc::{SchedClassifierLink, SchedClassifierLinkId, TcAttachOptions};
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType};

use super::error::{SteeringError, cause};
use super::interface_discovery::Found;
use super::pins::Pins;

/// An attachment. It ends when this is dropped, unless it is pinned.
#[derive(Debug)]
pub(super) struct Assignment {
    interface: String,
    link: Link,
}

#[derive(Debug)]
enum Link {
    Pinned(PinnedLink),
    /// Held for its descriptor.
    Loose(#[allow(dead_code)] FdLink),
}

/// Attaches `program` to every interface that faces clients, in front of whatever else is at TC there; where a process
/// before us left its own, that is replaced at once. What this attached is taken off again on error.
pub(super) fn attach_all(
    program: &mut SchedClassifier,
    interfaces: &[Found],
    pins: Option<&Pins>,
) -> Result<Vec<Assignment>, SteeringError> {
    let mut attached = Vec::new();
    for found in interfaces {
        let interface = &found.steered.name;
        if !found.steered.side.faces_clients() {
            continue;
        }
        let link = match change_over(program, interface, pins) {
            Some(link) => Ok(link),
            None => attach(program, interface, pins),
        };
        match link {
            Ok(link) => attached.push(Assignment {
                interface: interface.clone(),
                link,
            }),
            Err(error) => {
                attached.into_iter().for_each(detach);
                return Err(error);
            }
        }
    }
    Ok(attached)
}

/// Ends an attachment at once.
pub(super) fn detach(assignment: Assignment) {
    if let Link::Pinned(link) = assignment.link {
        // As with XDP: closing the descriptor ends it, and a file that is gone is what we want.
        let _ = link.unpin();
    }
}

/// Ends those that a process before us left on other interfaces.
pub(super) fn detach_others(pins: &Pins, ours: &[Assignment]) -> Result<(), SteeringError> {
    let is_ours = |name: &String| ours.iter().any(|one| one.interface == *name);
    for interface in pins.tcx_links().iter().filter(|name| !is_ours(name)) {
        pins.detach_tcx(interface)?;
    }
    Ok(())
}

/// Has the link that a process before us left run `program`. Nothing if there is none, or if its interface has been
/// made anew since.
fn change_over(
    program: &mut SchedClassifier,
    interface: &str,
    pins: Option<&Pins>,
) -> Option<Link> {
    let pins = pins?;
    let link = SchedClassifierLink::try_from(FdLink::from(pins.open_tcx(interface)?)).ok()?;
    let id = program.attach_to_link(link).ok()?;
    // The pin keeps it; this only closes a descriptor.
    drop(program.take_link(id));
    pins.open_tcx(interface).map(Link::Pinned)
}

fn attach(
    program: &mut SchedClassifier,
    interface: &str,
    pins: Option<&Pins>,
) -> Result<Link, SteeringError> {
    let failed = |cause| SteeringError::Classifier {
        name: interface.to_owned(),
        cause,
    };
    if let Some(pins) = pins {
        pins.detach_tcx(interface)?;
    }
    let order = TcAttachOptions::TcxOrder(LinkOrder::first());
    let id = program
        .attach_with_options(interface, TcAttachType::Ingress, order)
        .map_err(|error| failed(cause(&error)))?;
    let link = own(program, id).ok_or_else(|| failed("its attachment is no link".into()))?;
    match pins {
        Some(pins) => pins.pin_tcx(interface, link).map(Link::Pinned),
        None => Ok(Link::Loose(link)),
    }
}

fn own(program: &mut SchedClassifier, id: SchedClassifierLinkId) -> Option<FdLink> {
    program
        .take_link(id)
        .ok()
        .and_then(|link| FdLink::try_from(link).ok())
}
