//! The part of the self-test that receives: servers that answered a probe before the program was attached have to answer one
//! again, through an interface whose sockets have zero-copy. Drivers implement its reception apart from the usual one.
//!
//! A server may be silent for another reason: it restarts, or a switch does not forward yet because attaching the program
//! has reset the link. So silence is only a reason to prefer copy mode, and a mode that the configuration forces stays.
//! Interfaces that no server was heard through are not tested, nor is each queue: the server's flow hash chooses the queue.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::server_probe;
use crate::config::ZeroCopy;
use crate::kernel;
use crate::self_test::{Step, Tested};

/// The most servers that are asked.
const MOST: usize = 16;
/// How often they are asked.
const ATTEMPTS: u32 = 6;
/// How long to wait for all answers of one attempt.
const PATIENCE: Duration = Duration::from_millis(500);

/// Asks servers that have answered before, and decides what follows. `interfaces` are all that are under test.
pub(super) fn test_reception(servers: &[SocketAddr], interfaces: &[Tested]) -> Step {
    let zero_copy = || interfaces.iter().filter(|one| one.zero_copy);
    let behind = |server: &SocketAddr| {
        let index = kernel::outgoing_interface(server.ip())?;
        zero_copy()
            .any(|one| one.index == index)
            .then_some((*server, index))
    };
    let servers: BTreeMap<_, _> = servers.iter().filter_map(behind).take(MOST).collect();
    // A RST is an answer, too: it was received.
    let ask = |silent: &[SocketAddr]| match server_probe::probe_servers(silent, PATIENCE) {
        Ok(answers) => answers.into_iter().map(|(server, _)| server).collect(),
        Err(error) => {
            tracing::warn!(%error, "the self-test could not probe servers");
            silent.to_vec()
        }
    };
    let silent = silent_interfaces(&servers, ask);
    next_step(zero_copy().find(|one| silent.contains(&one.index)))
}

/// The interfaces behind which no server answers. `servers` are those that did before, with their interfaces; `ask` returns
/// those that answer now.
fn silent_interfaces(
    servers: &BTreeMap<SocketAddr, u32>,
    mut ask: impl FnMut(&[SocketAddr]) -> Vec<SocketAddr>,
) -> BTreeSet<u32> {
    let mut silent: BTreeSet<u32> = servers.values().copied().collect();
    for _ in 0..ATTEMPTS {
        let of_silent = servers.iter().filter(|(_, index)| silent.contains(index));
        let of_silent: Vec<_> = of_silent.map(|(server, _)| *server).collect();
        if of_silent.is_empty() {
            break;
        }
        for server in ask(&of_silent) {
            silent.retain(|index| servers.get(&server) != Some(index));
        }
    }
    silent
}

fn next_step(silent: Option<&Tested>) -> Step {
    let Some(one) = silent else {
        return Step::Serve;
    };
    let reason = format!(
        "no server answers through {} since its sockets have zero-copy",
        one.name
    );
    if one.wanted_zero_copy != ZeroCopy::On {
        return Step::CopyMode(reason);
    }
    tracing::warn!(
        "self-test: {reason}: if none is answered later either, set zero_copy of {} to \"off\"",
        one.name
    );
    Step::Serve
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::XdpMode;

    const IN0: u32 = 3;
    const IN1: u32 = 4;

    fn servers() -> BTreeMap<SocketAddr, u32> {
        let server = |text: &str| text.parse().unwrap();
        BTreeMap::from([
            (server("192.0.2.10:80"), IN0),
            (server("192.0.2.11:80"), IN0),
            (server("[2001:db8:5::10]:80"), IN1),
        ])
    }

    #[test]
    fn one_server_of_an_interface_is_enough_and_it_may_be_late() {
        let (mut attempts, mut asked) = (0, Vec::new());
        let silent = silent_interfaces(&servers(), |servers| {
            attempts += 1;
            asked.push(servers.len());
            match attempts {
                2 => vec!["192.0.2.11:80".parse().unwrap()],
                3 => servers.to_vec(),
                _ => Vec::new(),
            }
        });
        assert!(silent.is_empty());
        assert_eq!(asked, [3, 3, 1]);
    }

    #[test]
    fn an_interface_whose_servers_all_fall_silent_leaves_zero_copy() {
        let silent = silent_interfaces(&servers(), |servers| {
            let is_v6 = servers.iter().filter(|server| server.is_ipv6());
            is_v6.copied().collect()
        });
        assert_eq!(silent, BTreeSet::from([IN0]));
        let mut tested = Tested {
            name: "in0".to_owned(),
            index: IN0,
            is_veth: false,
            native: true,
            called: false,
            zero_copy: true,
            wanted_xdp: XdpMode::Auto,
            wanted_zero_copy: ZeroCopy::Auto,
        };
        let reason = "no server answers through in0 since its sockets have zero-copy";
        assert_eq!(next_step(Some(&tested)), Step::CopyMode(reason.to_owned()));
        tested.wanted_zero_copy = ZeroCopy::On;
        assert_eq!(next_step(Some(&tested)), Step::Serve, "a forced mode stays");
        assert_eq!(next_step(None), Step::Serve);
    }

    #[test]
    fn nobody_is_asked_without_servers() {
        let silent = silent_interfaces(&BTreeMap::new(), |_| unreachable!("nobody to ask"));
        assert!(silent.is_empty());
    }
}
