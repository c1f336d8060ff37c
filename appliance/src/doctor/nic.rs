//! Findings about an interface, its driver and its MTU.

use super::facts::{Interface, Program, State};
use super::finding::{Finding, Status};
use super::setting::{Change, Setting};
use crate::config::{XdpMode, ZeroCopy};
use crate::steering::{self, ZeroCopy as KnownZeroCopy};

/// How bad it is if native XDP is not possible.
pub(super) fn without_native(interface: &Interface) -> Status {
    match interface.xdp_mode {
        XdpMode::Native => Status::Fail,
        XdpMode::Auto => Status::Warn,
        XdpMode::Generic => Status::Ok,
    }
}

/// Whether XDP can steer the device at all. `Some`: it cannot, and nothing else about it matters.
pub(super) fn obstacle(interface: &Interface) -> Option<Finding> {
    const WHY: &str = "synward does not start without each of its interfaces";
    let name = &interface.name;
    let what = match &interface.state {
        None => format!(
            "there is no interface {name} in this network namespace (`ip link` lists them); correct the name in [[interface]]"
        ),
        Some(state) => state.refusal.clone()?,
    };
    Some(Finding::new("nic.device", Status::Fail, what, WHY).on(name))
}

pub(super) fn link(interface: &Interface, state: &State) -> Finding {
    const WHY: &str = "no packet arrives at an interface that is down or has no carrier";
    let name = &interface.name;
    let finding = |status, what| Finding::new("nic.link", status, what, WHY).on(name);
    if !state.up {
        return finding(Status::Warn, format!("{name} is down"))
            .advise(format!("ip link set {} up", super::setting::quoted(name)));
    }
    if !state.carrier {
        return finding(Status::Warn, format!("{name} is up and has no carrier"));
    }
    finding(Status::Ok, format!("{name} is up"))
}

pub(super) fn driver(interface: &Interface, state: &State) -> Finding {
    const ID: &str = "nic.driver";
    const WHY: &str = "the driver decides how XDP runs, and what attaching a program does";
    let driver = match &state.driver {
        Ok(driver) => driver,
        Err(error) => {
            return Finding::unread(ID, "the driver's name", error, WHY).on(&interface.name);
        }
    };
    let finding = |status, what| Finding::new(ID, status, what, WHY).on(&interface.name);
    let Some(known) = state.known else {
        return finding(
            Status::Ok,
            format!(
                "{driver}; nothing is recorded of this driver, the self-test at the start tries it"
            ),
        );
    };
    if interface.zero_copy == ZeroCopy::On {
        match known.zero_copy {
            KnownZeroCopy::None => {
                return finding(
                    Status::Fail,
                    format!(
                        "{driver} has no zero-copy, and zero_copy is \"on\": set zero_copy = \"auto\""
                    ),
                );
            }
            KnownZeroCopy::LosesFrames => {
                return finding(
                    Status::Fail,
                    format!(
                        "zero-copy of {driver} was seen to lose every redirected frame, and zero_copy is \"on\": set zero_copy = \
                         \"auto\""
                    ),
                );
            }
            KnownZeroCopy::Unknown | KnownZeroCopy::Works => {}
        }
    }
    let restarts = if known.restarts {
        "; it restarts when a program is attached or detached: the link may be down for a moment"
    } else {
        ""
    };
    finding(Status::Ok, format!("{driver}{restarts}"))
}

pub(super) fn xdp(interface: &Interface, state: &State) -> Finding {
    const ID: &str = "nic.xdp";
    const WHY: &str = "without the driver's own XDP the kernel runs the program later and for each frame at a higher cost; \
                       without its zero-copy each frame for a worker is copied";
    let finding = |status, what: String| Finding::new(ID, status, what, WHY).on(&interface.name);
    let features = match &state.xdp {
        Ok(features) => *features,
        Err(_) if state.known.is_some() => {
            let what = "the kernel does not tell, but the driver is known to have native XDP";
            return finding(Status::Ok, what.into());
        }
        Err(error) => {
            return Finding::unread(ID, "the driver's XDP features", error, WHY)
                .on(&interface.name);
        }
    };
    if !features.basic() {
        let status = without_native(interface);
        let cure = match status {
            Status::Fail => ": set xdp = \"auto\" or \"generic\", and zero_copy = \"auto\"",
            _ => ", so the program runs in generic mode",
        };
        return finding(status, format!("the driver has no native XDP{cure}"));
    }
    if interface.zero_copy == ZeroCopy::On && !features.zero_copy() {
        let what = "the driver has no zero-copy, and zero_copy is \"on\": set zero_copy = \"auto\"";
        return finding(Status::Fail, what.into());
    }
    let has = |has, name| if has { name } else { "" };
    finding(
        Status::Ok,
        format!(
            "native XDP{}{}{}",
            has(features.redirect(), ", redirect"),
            has(features.transmits(), ", transmits what is redirected to it"),
            has(features.zero_copy(), ", zero-copy")
        ),
    )
}

pub(super) fn mtu(interface: &Interface, state: &State) -> Finding {
    const WHY: &str = "a driver refuses native XDP if a frame may be larger than its buffer";
    let name = &interface.name;
    let driver = state.driver.as_deref().unwrap_or_default();
    let most = steering::most_mtu(driver);
    let finding = |status, what| Finding::new("nic.mtu", status, what, WHY).on(name);
    let (mtu, status) = (state.mtu, without_native(interface));
    let one_frame = steering::one_frame_mtu(driver);
    if interface.zero_copy == ZeroCopy::On && mtu > one_frame {
        let what = format!(
            "MTU {mtu}; zero_copy is \"on\", and a packet of more than {one_frame} exceeds a frame of a zero-copy socket"
        );
        return finding(Status::Fail, what).mend(Change {
            setting: Setting::Mtu {
                interface: name.clone(),
            },
            to: one_frame.to_string(),
        });
    }
    if mtu > most && steering::driver_has_frags(driver, state.xdp.as_ref().ok().copied()) {
        let what = format!("MTU {mtu}; {driver} runs native XDP on frames in several buffers");
        return finding(Status::Ok, what);
    }
    if mtu > most && status != Status::Ok {
        let note = match driver {
            "veth" => "; the MTU of its other end counts as well",
            _ => "",
        };
        return finding(
            status,
            format!("MTU {mtu}; {driver} runs native XDP up to {most}{note}"),
        )
        .mend(Change {
            setting: Setting::Mtu {
                interface: name.clone(),
            },
            to: most.to_string(),
        });
    }
    match &state.peer {
        Some(peer) if peer.mtu > most && status != Status::Ok => finding(
            status,
            format!(
                "{}, the other end of the veth, has MTU {}; native XDP runs up to {most}",
                peer.name, peer.mtu
            ),
        )
        .advise(format!(
            "ip link set {} mtu {most}",
            super::setting::quoted(&peer.name)
        )),
        _ => finding(Status::Ok, format!("MTU {mtu}")),
    }
}

pub(super) fn occupied(interface: &Interface, state: &State) -> Finding {
    const WHY: &str = "an interface runs one XDP program at a time; synward does not start where another one is attached";
    let finding =
        |status, what: String| Finding::new("xdp.occupied", status, what, WHY).on(&interface.name);
    match &state.program {
        Program::None => finding(Status::Ok, "no XDP program is attached".into()),
        Program::Own => finding(Status::Ok, "synward's own program is attached".into()),
        Program::Caller { what } => finding(
            Status::Ok,
            format!("{what}: the one that calls synward's (attach = \"none\")"),
        ),
        Program::Hidden { what } => {
            let what = format!("{what}: whose it is, only root may see");
            finding(Status::Warn, what).advise("sudo synward doctor")
        }
        Program::Foreign {
            what,
            cure,
            command,
        } => {
            let found = finding(Status::Fail, format!("{what}: {cure}"));
            match command {
                Some(command) => found.advise(command),
                None => found,
            }
        }
    }
}
