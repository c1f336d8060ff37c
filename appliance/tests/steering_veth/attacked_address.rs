//! Only the address of a service that is under attack challenges its clients, also after reloads that change the others.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use synward::config::{Config, Mode};
use synward::steering::{Place, Steering};
use synward_core::address_counts::Counted;

use super::client_traffic::{GENERIC, connect, expect_workers};
use super::steering_lab::{Lab, inside};

const AUTO: (&str, &str) = ("ports = [80]", "ports = [80]\nmode = \"auto\"");
const ADDRESSES: &str = "addresses = [\"192.0.2.10\", \"2001:db8::10\"]";

/// Whether a client is challenged: then it gets an answer, where the kernel, without a listener, refuses.
fn is_challenged(lab: &Lab, steering: &Steering, to: &str) -> bool {
    expect_workers(steering);
    let from = if to.starts_with('[') {
        "2001:db8::2"
    } else {
        "192.0.2.2"
    };
    match connect(lab, from, to) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error, ErrorKind::ConnectionRefused, "{to}");
            false
        }
    }
}

fn challenged(lab: &Lab, steering: &Steering) -> [bool; 3] {
    ["192.0.2.10:80", "[2001:db8::10]:80", "192.0.2.1:80"]
        .map(|to| is_challenged(lab, steering, to))
}

fn reload(lab: &Lab, steering: &mut Steering, running: &mut Config, addresses: &str) {
    let path = lab.write_config(&[GENERIC, AUTO, (ADDRESSES, addresses)]);
    let next = Config::load(&path).unwrap();
    let keyring = next.cookie.keyring().unwrap();
    let lists = steering.lists().clone();
    inside(&lab.here(), || {
        let exchange = steering.plan_exchange(running, &next, Some(&keyring), lists);
        let exchange = exchange.unwrap();
        let keys = steering.issuing_keys();
        assert_eq!(exchange.issuing_keys(), keys, "the secret is the same");
        steering.write_ahead(&next, &exchange).unwrap();
        steering.put_in_force(&next, exchange).unwrap();
    });
    *running = next;
}

fn place_of(steering: &Steering, address: &str) -> Place {
    let places = steering.watched_addresses(0).iter();
    let mut its = places.filter(|place| place.net.addr().to_string() == address);
    *its.next().unwrap()
}

#[test]
fn one_address_challenges_and_others_come_and_go() {
    let lab = Lab::new();
    let mut steering = lab.steer(&[GENERIC, AUTO]).unwrap();
    let mut running = Config::load(&lab.write_config(&[GENERIC, AUTO])).unwrap();
    assert_eq!(challenged(&lab, &steering), [false; 3]);
    let attacked = place_of(&steering, "192.0.2.10");
    steering.read_address_counts().unwrap();
    let counts = steering.address_counts(attacked).unwrap();
    assert_eq!(counts.value(Counted::Syn), 1);

    steering
        .set_attack(0, false, &BTreeSet::from([attacked.policy]))
        .unwrap();
    assert_eq!(challenged(&lab, &steering), [true, false, false]);
    assert!(steering.challenges_at(attacked) && steering.challenges_anywhere(0));
    assert!(!steering.challenges(0));

    let more = "addresses = [\"192.0.2.1\", \"192.0.2.10\", \"2001:db8::10\"]";
    reload(&lab, &mut steering, &mut running, more);
    assert_eq!(place_of(&steering, "192.0.2.10"), attacked);
    assert_eq!(challenged(&lab, &steering), [true, false, false]);

    // Without the attacked address nobody is challenged. The others keep their policies.
    let others = [
        place_of(&steering, "192.0.2.1"),
        place_of(&steering, "2001:db8::10"),
    ];
    let left = "addresses = [\"192.0.2.1\", \"2001:db8::10\"]";
    reload(&lab, &mut steering, &mut running, left);
    assert_eq!(steering.watched_addresses(0), others);
    assert_eq!(challenged(&lab, &steering), [false; 3]);
    assert!(!steering.challenges_anywhere(0));

    // An attack on the service, and a mode that challenges always, are for all addresses.
    steering.set_attack(0, true, &BTreeSet::new()).unwrap();
    assert_eq!(challenged(&lab, &steering), [false, true, true]);
    steering.set_attack(0, false, &BTreeSet::new()).unwrap();
    assert_eq!(challenged(&lab, &steering), [false; 3]);
    steering.set_mode(0, Mode::Always).unwrap();
    assert_eq!(challenged(&lab, &steering), [false, true, true]);
    assert!(steering.watched_addresses(0).is_empty());
    steering.set_mode(0, Mode::Off).unwrap();
    assert_eq!(challenged(&lab, &steering), [false; 3]);
    steering.stop(false).unwrap();
}

/// Without workers its clients pass unchallenged, and their connections go on afterwards.
#[test]
fn an_attacked_address_adopts_what_passed_while_workers_were_absent() {
    let passes = "ports = [80]\nmode = \"auto\"\nwhen_absent = \"pass\"";
    let lab = Lab::new();
    let mut steering = lab.steer(&[GENERIC, (AUTO.0, passes)]).unwrap();
    assert!(!steering.adopt_after_absence().unwrap());
    let attacked = place_of(&steering, "192.0.2.10");
    steering
        .set_attack(0, false, &BTreeSet::from([attacked.policy]))
        .unwrap();
    assert!(steering.adopt_after_absence().unwrap());
    steering.set_attack(0, false, &BTreeSet::new()).unwrap();
    assert!(!steering.adopt_after_absence().unwrap());
    steering.stop(false).unwrap();
}
