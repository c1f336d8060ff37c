//! Attaching the program to interfaces: all or nothing, and without a gap where one was left by a process before us.

use std::thread;
use std::time::{Duration, Instant};

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::XdpLink;
use aya::programs::{ProgramError, Xdp, XdpMode as Mode};

use super::error::{SteeringError, cause, errno};
use super::interface_discovery::Found;
use super::pins::Pins;
use crate::config::XdpMode;
use crate::kernel;

/// How long our own link may go on after its file and our descriptor are gone: until the last descriptor is, and whatever
/// was forked meanwhile has one until it executes its program.
const RELEASE: Duration = Duration::from_secs(2);

/// An attachment. It ends when this is dropped, unless it is pinned.
#[derive(Debug)]
pub(super) enum Attachment {
    Pinned(PinnedLink),
    /// Held for its descriptor.
    Loose(#[allow(dead_code)] FdLink),
}

/// Attaches `program` to every interface found, as `modes` want it, in order; interfaces that a process before us left
/// steered change over to it at once. What this attached is taken off again on error.
pub(super) fn attach_all(
    program: &mut Xdp,
    interfaces: &mut [Found],
    modes: &[XdpMode],
    pins: Option<&Pins>,
) -> Result<Vec<Attachment>, SteeringError> {
    let left = |found: &Found, mode| pins.and_then(|pins| left_steered(pins, found, mode));
    let left: Vec<_> = interfaces
        .iter()
        .zip(modes)
        .map(|(found, mode)| left(found, *mode))
        .collect();
    for (found, left) in interfaces.iter().zip(&left) {
        check_free(found, left.is_some(), pins)?;
    }

    let mut fresh = Vec::new();
    for ((found, mode), left) in interfaces.iter_mut().zip(modes).zip(&left) {
        if left.is_some() {
            continue;
        }
        match attach_fresh(program, found, *mode, pins) {
            Ok(attachment) => fresh.push(attachment),
            Err(error) => {
                fresh.into_iter().for_each(detach);
                return Err(error);
            }
        }
    }

    // What can hardly fail comes last: an interface that has changed over keeps the new program.
    let mut changed = Vec::new();
    for (found, left) in interfaces.iter_mut().zip(left) {
        let Some(link) = left else { continue };
        found.steered.native = found.before.is_some_and(|before| before.native);
        match change_over(program, &found.steered.name, link, pins) {
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

/// Ends an attachment at once.
pub(super) fn detach(attachment: Attachment) {
    if let Attachment::Pinned(link) = attachment {
        // The descriptor, closed when this returns, is then the last reference. A file that is gone is what we want.
        let _ = link.unpin();
    }
}

/// The link of a process before us, if it still steers this interface and in the mode that is wanted.
fn left_steered(pins: &Pins, found: &Found, mode: XdpMode) -> Option<PinnedLink> {
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

/// The id of the program that is pinned to an interface.
fn program_of(pins: &Pins, interface: &str) -> Option<u32> {
    let link = FdLink::from(pins.open_link(interface)?);
    link.info().ok().map(|info| info.program_id())
}

/// An interface has no XDP program but one that we are about to replace. A link of ours that is left in another mode,
/// or to an interface that was made anew since, is removed.
fn check_free(found: &Found, is_left: bool, pins: Option<&Pins>) -> Result<(), SteeringError> {
    if is_left {
        return Ok(());
    }
    let name = &found.steered.name;
    let ours = pins.and_then(|pins| program_of(pins, name));
    match found.before {
        Some(before) if ours != Some(before.id) => Err(SteeringError::Occupied {
            name: name.clone(),
            id: before.id,
            off: if before.native { "xdp" } else { "xdpgeneric" },
        }),
        _ => match pins {
            Some(pins) => pins.detach(name).map(drop),
            None => Ok(()),
        },
    }
}

fn attach_fresh(
    program: &mut Xdp,
    found: &mut Found,
    mode: XdpMode,
    pins: Option<&Pins>,
) -> Result<Attachment, SteeringError> {
    let notices = found.steered.notices.len();
    let deadline = Instant::now() + RELEASE;
    let link = loop {
        match link(program, found, mode) {
            // `check_free` has removed our own link, which ends with its last descriptor.
            Err(SteeringError::Occupied { .. })
                if found.before.is_some() && Instant::now() < deadline =>
            {
                found.steered.notices.truncate(notices);
                thread::sleep(Duration::from_millis(5));
            }
            decided => break decided?,
        }
    };
    match pins {
        Some(pins) => pins
            .pin_link(&found.steered.name, link)
            .map(Attachment::Pinned),
        None => Ok(Attachment::Loose(link)),
    }
}

fn link(program: &mut Xdp, found: &mut Found, mode: XdpMode) -> Result<FdLink, SteeringError> {
    let index = found.steered.index;
    if mode != XdpMode::Generic {
        match program.attach_to_if_index(index, Mode::Driver) {
            Ok(id) => {
                found.steered.native = true;
                return keep(program, id, found);
            }
            Err(error) if is_taken(&error) => return Err(occupied(found)),
            Err(error) => {
                let name = found.steered.name.clone();
                let cause = native_cause(&error, found);
                if mode == XdpMode::Native {
                    return Err(SteeringError::Native { name, cause });
                }
                let notice = format!(
                    "{name} refuses native XDP: {cause}; XDP is generic there, which is slower"
                );
                found.steered.notices.push(notice);
            }
        }
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

/// The attachment as a link of its own. `attach` uses netlink where the kernel has no links for XDP; kernels as old
/// as that were refused before.
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

/// Has a pinned link run `program` from now on.
fn change_over(
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
    // The pin keeps it; this only closes a descriptor.
    drop(program.take_link(id));
    let link = pins.and_then(|pins| pins.open_link(interface));
    link.map(Attachment::Pinned)
        .ok_or_else(|| failed("it is gone".into()))
}

/// EBUSY: a link or a program is there; EEXIST: one in another mode (`dev_xdp_attach`, net/core/dev.c).
fn is_taken(error: &ProgramError) -> bool {
    matches!(errno(error), Some(libc::EBUSY | libc::EEXIST))
}

/// Somebody has attached a program since we looked.
fn occupied(found: &Found) -> SteeringError {
    let links = kernel::links().unwrap_or_default();
    let now = links
        .into_iter()
        .find(|link| link.index == found.steered.index)
        .and_then(|link| link.xdp);
    SteeringError::Occupied {
        name: found.steered.name.clone(),
        id: now.map_or(0, |now| now.id),
        off: if now.is_some_and(|now| !now.native) {
            "xdpgeneric"
        } else {
            "xdp"
        },
    }
}

/// Largest MTU of a frame in one page of 4 KiB, after XDP's headroom (256), `skb_shared_info` (320) and the Ethernet
/// header: veth and virtio take exactly that, hardware some bytes less.
const PAGE_MTU: u32 = 4096 - 256 - 320 - 14;

/// Why a driver refuses, and what to do.
fn native_cause(error: &ProgramError, found: &Found) -> String {
    let name = &found.steered.name;
    let errno = errno(error);
    if errno == Some(libc::EOPNOTSUPP) {
        return format!("its driver ({}) has no XDP", found.kind());
    }
    if errno == Some(libc::ENOSPC) && found.is_veth() {
        return format!(
            "its peer sends on more queues than it has for receiving; `ethtool -L {name} rx N` gives it more"
        );
    }
    let too_big = found.steered.mtu > PAGE_MTU || (errno == Some(libc::ERANGE) && found.is_veth());
    if too_big {
        let whose = if found.is_veth() {
            "its peer's MTU"
        } else {
            "its MTU"
        };
        return format!(
            "{whose} is too big for one page a frame, which is at most {PAGE_MTU}; `ip link set {name} mtu 1500` on \
             both ends"
        );
    }
    said_by_driver(error).unwrap_or_else(|| cause(error))
}

/// What the driver says by netlink, if it says something.
fn said_by_driver(error: &ProgramError) -> Option<String> {
    let text = error.to_string();
    let (_, said) = text.split_once("netlink error: [")?;
    let said = said.trim_end_matches(']').trim_matches('"');
    (!said.is_empty()).then(|| said.to_owned())
}
