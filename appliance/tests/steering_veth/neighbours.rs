//! The neighbours that forwarded segments are sent to are resolved and confirmed.

use super::steering_lab::{HERE, Lab, inside, ip_in, until};

/// The lab's service with its servers on the other machine.
const ELSEWHERE: (&str, &str) = (
    "addresses = [\"192.0.2.10\", \"2001:db8::10\"]",
    "addresses = [\"192.0.2.3\", \"2001:db8::2\"]",
);

fn neighbour(lab: &Lab, address: &str) -> String {
    ip_in(&lab.here(), &["neighbour", "show", address, "dev", HERE])
}

#[test]
fn servers_are_resolved_before_their_first_client() {
    let lab = Lab::new();
    let mut steering = lab.steer(&[ELSEWHERE]).unwrap();
    for server in ["192.0.2.3", "2001:db8::2"] {
        assert_eq!(neighbour(&lab, server), "");
    }
    inside(&lab.here(), || steering.keep_next_hops()).unwrap();
    for server in ["192.0.2.3", "2001:db8::2"] {
        until(server, || neighbour(&lab, server).contains("lladdr"));
    }
    steering.stop(false).unwrap();
}

#[test]
fn stale_neighbours_are_confirmed_and_others_left_alone() {
    let lab = Lab::new();
    let mut steering = lab.steer(&[ELSEWHERE]).unwrap();
    let set = |address, state| {
        let mac = "02:00:00:00:00:99";
        lab.ip(&[
            "neighbour",
            "replace",
            address,
            "lladdr",
            mac,
            "dev",
            HERE,
            "nud",
            state,
        ]);
    };
    for (address, state) in [
        ("192.0.2.2", "stale"),
        ("2001:db8::3", "stale"),
        ("192.0.2.4", "permanent"),
    ] {
        set(address, state);
    }
    inside(&lab.here(), || steering.keep_next_hops()).unwrap();
    for address in ["192.0.2.2", "2001:db8::3"] {
        let entry = neighbour(&lab, address);
        assert!(
            entry.contains("DELAY") || entry.contains("PROBE"),
            "{entry}"
        );
    }
    assert!(neighbour(&lab, "192.0.2.4").contains("PERMANENT"));
    steering.stop(false).unwrap();
}
