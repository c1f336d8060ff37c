//! Attaches the XDP program to all interfaces or to none. Where a previous process left a link, the program is replaced
//! without a gap.

use std::os::fd::AsFd as _;
use std::thread;
use std::time::{Duration, Instant};

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::XdpLink;
use aya::programs::{ProgramError, Xdp, XdpMode as Mode};

use super::error::{SteeringError, cause, errno};
use super::held_link::HeldLink;
use super::interface_discovery::Found;
use super::native_refusal::NativeRefusal;
use super::occupant::Occupant;
use super::pins::Pins;
use crate::config::{self, XdpMode, ZeroCopy};
use crate::kernel;

/// How long our own link may outlive its file and our descriptor. A child forked in between holds a copy of the descriptor
/// until it executes its program.
const RELEASE: Duration = Duration::from_secs(5);

/// The same while the appliance serves: the control thread has other work, and tries again each second.
const RELEASE_IN_ROUND: Duration = Duration::from_secs(1);

/// An attachment. Dropping it detaches the program, unless the link is pinned.
#[derive(Debug)]
pub(super) struct Attachment {
    pub(super) interface: String,
    link: HeldLink,
}

impl Attachment {
    /// Pins the link again if its file is missing. Returns whether it was.
    pub(super) fn restore_pin(&mut self, pins: &Pins) -> Result<bool, SteeringError> {
        let name = &self.interface;
        let file = pins.link(name);
        let attempt = || pins.attempt(&file);
        self.link
            .restore_pin(&file, attempt, |link| pins.pin_link(name, link))
    }
}

/// Attaches `program` to every interface found, in order, in the mode that `wanted` gives for each. On links that a previous
/// process left, the program is replaced atomically. On error, detaches what it has attached.
pub(super) fn attach_all(
    program: &mut Xdp,
    interfaces: &mut [Found],
    wanted: &[config::Interface],
    pins: Option<&Pins>,
) -> Result<Vec<Attachment>, SteeringError> {
    let mut fresh = take_called(interfaces, wanted, pins)?;
    let left = |found: &Found, mode| pins.and_then(|pins| find_left_link(pins, found, mode));
    let left: Vec<_> = interfaces
        .iter()
        .zip(wanted)
        .map(|(found, wanted)| left(found, wanted.attach_mode()))
        .collect();
    let is_ours = |(found, _): &(&Found, _)| !found.steered.called;
    for (found, left) in interfaces.iter().zip(&left).filter(is_ours) {
        check_free(found, left.is_some(), pins)?;
    }

    for ((found, wanted), left) in interfaces.iter_mut().zip(wanted).zip(&left) {
        if left.is_some() || found.steered.called {
            continue;
        }
        match attach_fresh(program, found, wanted, pins, RELEASE) {
            Ok(attachment) => fresh.push(attachment),
            Err(error) => {
                fresh.into_iter().for_each(detach);
                return Err(error);
            }
        }
    }

    // Replacing comes last because it hardly fails: an interface whose program is replaced keeps the new one.
    let mut changed = Vec::new();
    for (found, left) in interfaces.iter_mut().zip(left) {
        let Some(link) = left else { continue };
        found.steered.native = found.before.is_some_and(|before| before.native);
        match replace_program(program, &found.steered.name, link, pins) {
            Ok(attachment) => changed.push(attachment),
            Err(error) => {
                fresh.into_iter().for_each(detach);
                return Err(error);
            }
        }
    }
    fresh.append(&mut changed);
    Ok(fresh)
}

/// The interfaces that another program occupies. A link of ours that a previous process left there is removed.
fn take_called(
    interfaces: &mut [Found],
    wanted: &[config::Interface],
    pins: Option<&Pins>,
) -> Result<Vec<Attachment>, SteeringError> {
    let interfaces = interfaces.iter_mut().zip(wanted);
    interfaces
        .filter(|(found, _)| found.steered.called)
        .map(|(found, wanted)| take_one_called(found, wanted, pins))
        .collect()
}

fn take_one_called(
    found: &mut Found,
    wanted: &config::Interface,
    pins: Option<&Pins>,
) -> Result<Attachment, SteeringError> {
    let name = found.steered.name.clone();
    let ours = pins.and_then(|pins| program_of(pins, &name));
    if let Some(pins) = pins {
        pins.detach(&name)?;
    }
    let other = found.before.filter(|before| ours != Some(before.id));
    found.steered.native = other.is_some_and(|other| other.native);
    if wanted.zero_copy == ZeroCopy::On && !found.steered.native {
        return Err(SteeringError::NothingToCall { name });
    }
    Ok(Attachment {
        interface: name,
        link: HeldLink::Absent,
    })
}

/// Attaches `program` to an interface again that has lost it. One that another program occupies is left as it is. A
/// link that cannot be pinned is pinned later (`pin_mend`).
pub(super) fn attach_again(
    program: &mut Xdp,
    found: &mut Found,
    wanted: &config::Interface,
    pins: Option<&Pins>,
) -> Result<Attachment, SteeringError> {
    if found.steered.called {
        return take_one_called(found, wanted, pins);
    }
    check_free(found, false, pins)?;
    let pins = pinnable(pins, found);
    attach_fresh(program, found, wanted, pins, RELEASE_IN_ROUND)
}

/// Detaches the program and attaches it again. Meanwhile, for some milliseconds, packets pass.
pub(super) fn renew(
    attachment: Attachment,
    program: &mut Xdp,
    found: &mut Found,
    wanted: &config::Interface,
    pins: Option<&Pins>,
) -> Result<Attachment, SteeringError> {
    detach(attachment);
    // In another mode its sockets would be of no use.
    let native = config::Interface {
        xdp: XdpMode::Native,
        ..wanted.clone()
    };
    let pins = pinnable(pins, found);
    attach_fresh(program, found, &native, pins, RELEASE_IN_ROUND)
}

/// `pins` if the link of an interface can be pinned there: a link that cannot is closed, which detaches the program.
fn pinnable<'a>(pins: Option<&'a Pins>, found: &Found) -> Option<&'a Pins> {
    pins.filter(|pins| pins.attempt(&pins.link(&found.steered.name)).is_ok())
}

/// Detaches the program immediately.
pub(super) fn detach(attachment: Attachment) {
    attachment.link.detach();
}

/// The link that a previous process left, if it still steers this interface in the configured mode.
fn find_left_link(pins: &Pins, found: &Found, mode: XdpMode) -> Option<PinnedLink> {
    let before = found.before?;
    let fits = match mode {
        XdpMode::Auto => true,
        XdpMode::Native => before.native,
        XdpMode::Generic => !before.native,
    };
    let is_ours = program_of(pins, &found.steered.name) == Some(before.id);
    if fits && is_ours {
        pins.open_link(&found.steered.name)
    } else {
        None
    }
}

/// The id of the program on the pinned link of an interface.
fn program_of(pins: &Pins, interface: &str) -> Option<u32> {
    let link = FdLink::from(pins.open_link(interface)?);
    link.info().ok().map(|info| info.program_id())
}

/// Checks that an interface has no XDP program other than one that we replace. Removes a link of ours that was left in
/// another mode, or for an interface that was recreated since.
fn check_free(found: &Found, is_left: bool, pins: Option<&Pins>) -> Result<(), SteeringError> {
    if is_left {
        return Ok(());
    }
    let name = &found.steered.name;
    let ours = pins.and_then(|pins| program_of(pins, name));
    match found.before {
        Some(before) if ours != Some(before.id) => Err(SteeringError::Occupied(Box::new(
            Occupant::find(name, Some(before)),
        ))),
        _ => match pins {
            Some(pins) => pins.detach(name).map(drop),
            None => Ok(()),
        },
    }
}

fn attach_fresh(
    program: &mut Xdp,
    found: &mut Found,
    wanted: &config::Interface,
    pins: Option<&Pins>,
    release: Duration,
) -> Result<Attachment, SteeringError> {
    let notices = found.steered.notices.len();
    let deadline = Instant::now() + release;
    let link = loop {
        match link(program, found, wanted) {
            // `check_free` has removed our own link, which lives until its last descriptor is closed.
            Err(SteeringError::Occupied(_))
                if found.before.is_some() && Instant::now() < deadline =>
            {
                found.steered.notices.truncate(notices);
                thread::sleep(Duration::from_millis(5));
            }
            decided => break decided?,
        }
    };
    let interface = found.steered.name.clone();
    let link = match pins {
        Some(pins) => HeldLink::Pinned(pins.pin_link(&interface, link)?),
        None => HeldLink::Loose(link),
    };
    Ok(Attachment { interface, link })
}

fn link(
    program: &mut Xdp,
    found: &mut Found,
    wanted: &config::Interface,
) -> Result<FdLink, SteeringError> {
    let mode = wanted.attach_mode();
    let index = found.steered.index;
    if mode != XdpMode::Generic {
        let name = &found.steered.name;
        let refusal = match &found.crash {
            Some(crash) => format!("no native XDP on {name}: {crash}"),
            None => match program.attach_to_if_index(index, Mode::Driver) {
                Ok(id) => {
                    found.steered.native = true;
                    return keep(program, id, found);
                }
                Err(error) if is_taken(&error) => return Err(occupied(found)),
                Err(error) => {
                    let cause = native_cause(program, &error, found);
                    format!("{name} refuses native XDP: {cause}")
                }
            },
        };
        if mode == XdpMode::Native {
            let cure = wanted.cure_for_native();
            return Err(SteeringError::Native { refusal, cure });
        }
        let notice = format!("{refusal}; XDP is generic there, which is slower");
        found.steered.notices.push(notice);
    }
    match program.attach_to_if_index(index, Mode::Skb) {
        Ok(id) => keep(program, id, found),
        Err(error) if is_taken(&error) => Err(occupied(found)),
        Err(error) => Err(SteeringError::Generic {
            name: found.steered.name.clone(),
            cause: cause(&error),
        }),
    }
}

/// Why a driver refuses native XDP, and the cure.
fn native_cause(program: &Xdp, error: &ProgramError, found: &Found) -> String {
    let name = &found.steered.name;
    let said = program
        .fd()
        .ok()
        .and_then(|program| kernel::native_xdp_refusal(found.steered.index, program.as_fd()));
    NativeRefusal {
        interface: name,
        driver: kernel::driver(name).unwrap_or_else(|_| found.kind().to_owned()),
        mtu: found.steered.mtu,
        lro: kernel::receive_offloads(name).is_ok_and(|offloads| offloads.lro),
        errno: errno(error),
        said: said.unwrap_or_default(),
        error: cause(error),
    }
    .to_string()
}

/// Takes the attachment out of the program as a link. aya attaches with netlink if the kernel has no XDP links; such old
/// kernels are refused earlier.
fn keep(
    program: &mut Xdp,
    id: aya::programs::xdp::XdpLinkId,
    found: &Found,
) -> Result<FdLink, SteeringError> {
    let link = program
        .take_link(id)
        .ok()
        .and_then(|link| FdLink::try_from(link).ok());
    link.ok_or_else(|| SteeringError::NoLink {
        name: found.steered.name.clone(),
    })
}

/// Replaces the program on a pinned link by `program`.
fn replace_program(
    program: &mut Xdp,
    interface: &str,
    link: PinnedLink,
    pins: Option<&Pins>,
) -> Result<Attachment, SteeringError> {
    let failed = |cause| SteeringError::Pin {
        path: pins.map_or_else(Default::default, |pins| pins.link(interface)),
        cause,
    };
    let link = XdpLink::try_from(FdLink::from(link)).map_err(|error| failed(cause(&error)))?;
    let id = program
        .attach_to_link(link)
        .map_err(|error| failed(cause(&error)))?;
    // The pin keeps the link; this only closes a descriptor.
    drop(program.take_link(id));
    let link = pins.and_then(|pins| pins.open_link(interface));
    let link = link.ok_or_else(|| failed("it is gone".into()))?;
    Ok(Attachment {
        interface: interface.to_owned(),
        link: HeldLink::Pinned(link),
    })
}

/// EBUSY: the interface has a link or a program. EEXIST: it has one in another mode (`dev_xdp_attach`, net/core/dev.c).
fn is_taken(error: &ProgramError) -> bool {
    matches!(errno(error), Some(libc::EBUSY | libc::EEXIST))
}

/// Another process has attached a program since the check.
fn occupied(found: &Found) -> SteeringError {
    let links = kernel::links().unwrap_or_default();
    let now = links
        .into_iter()
        .find(|link| link.index == found.steered.index)
        .and_then(|link| link.xdp);
    SteeringError::Occupied(Box::new(Occupant::find(&found.steered.name, now)))
}
