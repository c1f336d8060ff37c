//! From what failed to the next safer mode, or to a refusal where the configuration forces a mode.

use super::transmission_faults::errno_text;
use super::{Findings, Lost};
use crate::config::{XdpMode, ZeroCopy};

/// An interface under test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tested {
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Whether it is one end of a veth pair.
    pub is_veth: bool,
    /// Whether XDP is native.
    pub native: bool,
    /// Whether another program calls ours (`attach = "none"`).
    pub called: bool,
    /// Whether a socket has zero-copy.
    pub zero_copy: bool,
    /// What the configuration says about XDP.
    pub wanted_xdp: XdpMode,
    /// What it says about zero-copy.
    pub wanted_zero_copy: ZeroCopy,
}

/// What follows from the findings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Everything works.
    Serve,
    /// Sockets must not have zero-copy. With the reason.
    CopyMode(String),
    /// XDP must be generic. With the reason.
    Generic(String),
    /// The configuration forces a mode that does not work. With the reason and the cure.
    Refuse(String),
}

/// Decides what to do next.
pub fn next_step(findings: &Findings, interfaces: &[Tested]) -> Step {
    let name = |index| {
        let known = interfaces.iter().find(|one| one.index == index);
        known.map_or_else(|| format!("interface {index}"), |one| one.name.clone())
    };
    let any_zero_copy = interfaces.iter().any(|one| one.zero_copy);
    if let Some(lost) = findings.lost.iter().find(|lost| lost.headroom) {
        return leave_native(&explain(lost, interfaces, &name), interfaces);
    }
    if let Some(lost) = findings.lost.first().filter(|_| any_zero_copy) {
        let reason = format!(
            "{} does not transmit redirected frames of zero-copy queues ({})",
            name(lost.interface),
            errno_text(lost.errno)
        );
        return leave_zero_copy(&reason, interfaces);
    }
    if let Some((interface, queue)) = findings.mute {
        let reason = format!(
            "workers cannot answer on queue {queue} of {}, which its driver keeps for frames of XDP (responder = \"auto\" lets \
             XDP answer there)",
            name(interface)
        );
        return leave_native(&reason, interfaces);
    }
    let Some(unsent) = findings.unsent.first() else {
        return Step::Serve;
    };
    let reason = format!(
        "the driver of {} did not complete a frame that the AF_XDP socket of queue {} sent",
        name(unsent.interface),
        unsent.queue
    );
    if unsent.zero_copy {
        leave_zero_copy(&reason, interfaces)
    } else {
        leave_native(&reason, interfaces)
    }
}

fn explain(lost: &Lost, interfaces: &[Tested], name: &impl Fn(u32) -> String) -> String {
    let (name, errno) = (name(lost.interface), errno_text(lost.errno));
    let known = interfaces.iter().find(|one| one.index == lost.interface);
    // A veth whose other end has neither an XDP program nor GRO: ENXIO before Linux 6.3 (`veth_xdp_xmit`), then EOPNOTSUPP
    // (`xdp_ok_fwd_dev`).
    let no_peer = [libc::ENXIO, libc::EOPNOTSUPP].contains(&(lost.errno as i32));
    if known.is_some_and(|one| one.is_veth) && no_peer {
        return format!(
            "{name} does not transmit frames of XDP, because the other end of the veth has no XDP program"
        );
    }
    format!("{name} does not transmit frames of XDP ({errno})")
}

fn leave_zero_copy(reason: &str, interfaces: &[Tested]) -> Step {
    let using = interfaces.iter().filter(|one| one.zero_copy);
    let mut forced = using.filter(|one| one.wanted_zero_copy == ZeroCopy::On);
    match forced.next() {
        Some(one) => Step::Refuse(format!(
            "{reason}: set zero_copy of {} to \"auto\" or \"off\"",
            one.name
        )),
        None => Step::CopyMode(reason.to_owned()),
    }
}

fn leave_native(reason: &str, interfaces: &[Tested]) -> Step {
    let mut using = interfaces.iter().filter(|one| one.native).peekable();
    if using.peek().is_none() {
        return Step::Refuse(format!(
            "{reason}, although XDP is generic: use another interface, or report it with kernel and driver"
        ));
    }
    let mut zero_copy = interfaces.iter().filter(|one| one.zero_copy);
    if let Some(one) = zero_copy.find(|one| one.wanted_zero_copy == ZeroCopy::On) {
        return Step::Refuse(format!(
            "{reason}: set zero_copy of {} to \"auto\" or \"off\", because generic XDP has none",
            one.name
        ));
    }
    if let Some(one) = interfaces.iter().find(|one| one.native && one.called) {
        return Step::Refuse(format!(
            "{reason}: have the program on {} that calls synward's attached in generic mode, or set attach to \"native\"",
            one.name
        ));
    }
    match using.find(|one| one.wanted_xdp == XdpMode::Native) {
        Some(one) => Step::Refuse(format!(
            "{reason}: set xdp of {} to \"auto\" or \"generic\"",
            one.name
        )),
        None => Step::Generic(reason.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Unsent;
    use super::*;

    fn tested(name: &str, index: u32) -> Tested {
        Tested {
            name: name.to_owned(),
            index,
            is_veth: false,
            native: true,
            called: false,
            zero_copy: false,
            wanted_xdp: XdpMode::Auto,
            wanted_zero_copy: ZeroCopy::Auto,
        }
    }

    fn both(change: impl Fn(&mut Tested)) -> Vec<Tested> {
        let mut both = vec![tested("out0", 2), tested("in0", 3)];
        both.iter_mut().for_each(change);
        both
    }

    fn lost(interface: u32, errno: i32, headroom: bool) -> Findings {
        Findings {
            lost: vec![Lost {
                interface,
                errno: errno as u32,
                headroom,
            }],
            ..Findings::default()
        }
    }

    fn unsent(zero_copy: bool) -> Findings {
        Findings {
            unsent: vec![Unsent {
                interface: 3,
                queue: 1,
                zero_copy,
            }],
            ..Findings::default()
        }
    }

    #[test]
    fn what_fails_leads_to_the_next_safer_mode() {
        assert_eq!(next_step(&Findings::default(), &both(|_| {})), Step::Serve);
        let zero_copy = both(|one| one.zero_copy = true);
        let copy =
            "in0 does not transmit redirected frames of zero-copy queues (its driver drops them)";
        assert_eq!(
            next_step(&lost(3, 0, false), &zero_copy),
            Step::CopyMode(copy.to_owned())
        );
        let socket =
            "the driver of in0 did not complete a frame that the AF_XDP socket of queue 1 sent";
        assert_eq!(
            next_step(&unsent(true), &zero_copy),
            Step::CopyMode(socket.to_owned())
        );
        assert_eq!(
            next_step(&unsent(false), &both(|_| {})),
            Step::Generic(socket.to_owned())
        );
        let generic = "in0 does not transmit frames of XDP (Operation not supported (os error 95))";
        assert_eq!(
            next_step(&lost(3, libc::EOPNOTSUPP, true), &zero_copy),
            Step::Generic(generic.to_owned())
        );
    }

    #[test]
    fn workers_do_not_answer_where_their_socket_may_not_send() {
        let mute = Findings {
            mute: Some((3, 2)),
            ..Findings::default()
        };
        let reason = "workers cannot answer on queue 2 of in0, which its driver keeps for frames of XDP (responder = \"auto\" \
                      lets XDP answer there)";
        assert_eq!(
            next_step(&mute, &both(|_| {})),
            Step::Generic(reason.to_owned())
        );
        let native = both(|one| one.wanted_xdp = XdpMode::Native);
        assert_eq!(
            next_step(&mute, &native),
            Step::Refuse(format!(
                "{reason}: set xdp of out0 to \"auto\" or \"generic\""
            ))
        );
    }

    #[test]
    fn forced_modes_are_refused_with_the_cure() {
        let on = both(|one| {
            one.zero_copy = true;
            one.wanted_zero_copy = ZeroCopy::On;
        });
        let native = both(|one| {
            one.is_veth = true;
            one.wanted_xdp = XdpMode::Native;
        });
        let generic = both(|one| one.native = false);
        for (findings, interfaces, message) in [
            (
                lost(3, 0, false),
                on,
                "in0 does not transmit redirected frames of zero-copy queues (its driver drops them): set zero_copy of out0 \
                 to \"auto\" or \"off\"",
            ),
            (
                lost(3, libc::EOPNOTSUPP, true),
                native,
                "in0 does not transmit frames of XDP, because the other end of the veth has no XDP program: set xdp of out0 \
                 to \"auto\" or \"generic\"",
            ),
            (
                unsent(false),
                generic,
                "the driver of in0 did not complete a frame that the AF_XDP socket of queue 1 sent, although XDP is generic: \
                 use another interface, or report it with kernel and driver",
            ),
        ] {
            assert_eq!(
                next_step(&findings, &interfaces),
                Step::Refuse(message.to_owned())
            );
        }
    }
}
