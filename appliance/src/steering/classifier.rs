//! Attaches the TC program, which serves local services, to the interfaces that face clients.

use aya::programs::links::FdLink;
use aya::programs::tc::{SchedClassifierLink, SchedClassifierLinkId, TcAttachOptions};
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType};

use super::error::{SteeringError, cause};
use super::held_link::HeldLink;
use super::interface_discovery::Found;
use super::pins::Pins;

/// An attachment at TC. Dropping it detaches the program, unless the link is pinned.
#[derive(Debug)]
pub(super) struct TcAttachment {
    pub(super) interface: String,
    link: HeldLink,
}

impl TcAttachment {
    /// Pins the link again if its file is missing. Returns whether it was.
    pub(super) fn restore_pin(&mut self, pins: &Pins) -> Result<bool, SteeringError> {
        let name = &self.interface;
        let file = pins.tcx(name);
        let attempt = || pins.attempt(&file);
        self.link
            .restore_pin(&file, attempt, |link| pins.pin_tcx(name, link))
    }
}

/// Attaches `program` to every interface that faces clients, before all other programs at TC. On links that a previous
/// process left, the program is replaced atomically. On error, detaches what it has attached.
pub(super) fn attach_all(
    program: &mut SchedClassifier,
    interfaces: &[Found],
    pins: Option<&Pins>,
) -> Result<Vec<TcAttachment>, SteeringError> {
    let mut attached = Vec::new();
    for found in interfaces {
        let interface = &found.steered.name;
        if !found.steered.side.faces_clients() {
            continue;
        }
        let link = match replace_program(program, interface, pins) {
            Some(link) => Ok(link),
            None => attach(program, interface, interface, pins),
        };
        match link {
            Ok(link) => attached.push(TcAttachment {
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

/// Detaches the program immediately.
pub(super) fn detach(assignment: TcAttachment) {
    assignment.link.detach();
}

/// Detaches the programs that a previous process left on other interfaces.
pub(super) fn detach_others(pins: &Pins, ours: &[TcAttachment]) -> Result<(), SteeringError> {
    let is_ours = |name: &String| ours.iter().any(|one| one.interface == *name);
    for interface in pins.tcx_links().iter().filter(|name| !is_ours(name)) {
        pins.detach_tcx(interface)?;
    }
    Ok(())
}

/// Replaces the program on the link that a previous process left by `program`. `None`: there is no link, or its interface
/// was recreated since.
fn replace_program(
    program: &mut SchedClassifier,
    interface: &str,
    pins: Option<&Pins>,
) -> Option<HeldLink> {
    let pins = pins?;
    // The pin keeps the link; this only closes a descriptor.
    drop(replace(program, FdLink::from(pins.open_tcx(interface)?))?);
    pins.open_tcx(interface).map(HeldLink::Pinned)
}

/// Replaces the program of a link by `program`. `None`: the kernel refuses it, and the link is closed.
fn replace(program: &mut SchedClassifier, link: FdLink) -> Option<FdLink> {
    let link = SchedClassifierLink::try_from(link).ok()?;
    let id = program.attach_to_link(link).ok()?;
    own(program, id)
}

/// The attachment, if the kernel still has it. A link survives the interface that it was attached to, and somebody may have
/// detached it. To replace the program by itself changes nothing, and is refused then (`tcx_link_update`, kernel/bpf/tcx.c).
pub(super) fn probe(
    program: &mut SchedClassifier,
    attachment: TcAttachment,
    pins: Option<&Pins>,
) -> Option<TcAttachment> {
    let TcAttachment { interface, link } = attachment;
    let link = match link {
        HeldLink::Pinned(pinned) => match pins.and_then(|pins| pins.open_tcx(&interface)) {
            Some(same) => {
                replace(program, FdLink::from(same))?;
                HeldLink::Pinned(pinned)
            }
            // It cannot be opened at the moment.
            None if pins.is_some_and(|pins| pins.tcx(&interface).exists()) => {
                HeldLink::Pinned(pinned)
            }
            // Its file is gone, and is made again later (`pin_mend`).
            None => HeldLink::Loose(replace(program, FdLink::from(pinned))?),
        },
        HeldLink::Absent => return None,
        HeldLink::Loose(link) => HeldLink::Loose(replace(program, link)?),
    };
    Some(TcAttachment { interface, link })
}

/// Attaches `program` to one interface again. `device` is its name now. A link that cannot be pinned is pinned later
/// (`pin_mend`).
pub(super) fn attach_again(
    program: &mut SchedClassifier,
    interface: &str,
    device: &str,
    pins: Option<&Pins>,
) -> Result<TcAttachment, SteeringError> {
    if let Some(pins) = pins {
        pins.detach_tcx(interface)?;
    }
    let pins = pins.filter(|pins| pins.attempt(&pins.tcx(interface)).is_ok());
    let link = attach(program, interface, device, pins)?;
    let interface = interface.to_owned();
    Ok(TcAttachment { interface, link })
}

/// `device` is the name of the interface now, `interface` that at the start.
fn attach(
    program: &mut SchedClassifier,
    interface: &str,
    device: &str,
    pins: Option<&Pins>,
) -> Result<HeldLink, SteeringError> {
    let failed = |cause| SteeringError::Classifier {
        name: interface.to_owned(),
        cause,
    };
    if let Some(pins) = pins {
        pins.detach_tcx(interface)?;
    }
    let order = TcAttachOptions::TcxOrder(LinkOrder::first());
    let id = program
        .attach_with_options(device, TcAttachType::Ingress, order)
        .map_err(|error| failed(cause(&error)))?;
    let link = own(program, id).ok_or_else(|| failed("its attachment is no link".into()))?;
    match pins {
        Some(pins) => pins.pin_tcx(interface, link).map(HeldLink::Pinned),
        None => Ok(HeldLink::Loose(link)),
    }
}

fn own(program: &mut SchedClassifier, id: SchedClassifierLinkId) -> Option<FdLink> {
    program
        .take_link(id)
        .ok()
        .and_then(|link| FdLink::try_from(link).ok())
}
