//! A process is killed, and the next process takes over its flows.

use std::io::{BufRead as _, BufReader};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use aya::Pod;
use aya::maps::{Map, MapData, PerCpuArray, PerCpuValues};
use aya::programs::links::{FdLink, PinnedLink};
use synward::maps::{Established, Times, flow_now};
use synward::steering::{Learned, remove_left, unload};
use synward_core::flow::FlowKey;
use synward_core::handed_over::HandedOver;
use synward_core::layout::{Flow, Profile, state};
use synward_core::waiting_client::WaitingClient;
use synward_core::wire::Address;

use super::steering_lab::{HERE, Lab, inside, is_loaded, load, until};

const NAMESPACE: &str = "SYNWARD_TEST_NAMESPACE";
const CONFIG: &str = "SYNWARD_TEST_CONFIG";
const SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 10));
const LEARNED: Profile = Profile {
    mss: 1300,
    window: 14600,
    window_scale: 9,
    flags: 1,
    reserved: [0; 2],
};

fn key(port: u16) -> FlowKey {
    FlowKey::new(Address::v4(7), port, Address::from(SERVER), 80)
}

/// Runs in the child process that a test kills: steers, inserts a spliced flow and an opening, learns a profile, and does
/// not return.
fn steer_in_child() {
    let (Ok(namespace), Ok(config)) = (std::env::var(NAMESPACE), std::env::var(CONFIG)) else {
        return;
    };
    inside(&namespace, || {
        let mut steering = load(Path::new(&config)).unwrap();
        steering.attach().unwrap();
        let table = steering.table();
        let flow = |port| Flow {
            key: key(port),
            state: state::OPENING,
            server_sequence: 5,
            ..Flow::default()
        };
        let entry = table.insert(&flow(1)).unwrap();
        table.establish(
            &entry,
            &Established {
                sequence_delta: 99,
                server_sequence: 5,
                ..Established::default()
            },
            flow_now(),
        );
        table.insert(&flow(2)).unwrap();
        let since = Times::now().epoch() + 1;
        assert_eq!(
            steering
                .endpoints()
                .set(SERVER, 80, LEARNED, since)
                .unwrap(),
            Learned::From
        );
        println!("steering");
        loop {
            std::thread::park();
        }
    });
}

/// A child process of this test program, which steers until this is dropped.
struct KilledProcess(Child);

impl KilledProcess {
    fn start(lab: &Lab, edits: &[(&str, &str)]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "takeover::the_next_process_takes_over_without_a_gap",
                "--nocapture",
            ])
            .env(NAMESPACE, lab.here())
            .env(CONFIG, lab.write_config(edits))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let process = Self(child);
        let started = lines
            .map_while(Result::ok)
            .any(|line| line.ends_with("steering"));
        assert!(started, "the child steers");
        process
    }
}

impl Drop for KilledProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn link_id(lab: &Lab) -> u32 {
    FdLink::from(PinnedLink::from_pin(lab.pin().join("link-sw-here")).unwrap())
        .info()
        .unwrap()
        .id()
}

#[test]
fn the_next_process_takes_over_without_a_gap() {
    steer_in_child();
    let lab = Lab::new();
    let process = KilledProcess::start(&lab, &[]);
    let held = lab.steer(&[]).unwrap_err().to_string();
    assert!(
        held.contains(&format!("another synward (process {})", process.0.id())),
        "{held}"
    );
    let (old, link) = (lab.xdp(HERE).unwrap(), link_id(&lab));
    drop(process);
    assert_eq!(lab.xdp(HERE), Some(old), "it continues without its process");

    // Loading without attaching changes nothing. Neither does dropping.
    drop(lab.load(&[]).unwrap());
    assert_eq!((lab.xdp(HERE), link_id(&lab)), (Some(old), link));

    let keys = lab.load(&[]).unwrap().issuing_keys();
    let steering = lab.steer(&[]).unwrap();
    assert_eq!(steering.taken_over(), Some(1));
    assert_eq!(steering.issuing_keys(), keys);
    let new = lab.xdp(HERE).unwrap();
    assert_ne!(new.0, old.0, "another program");
    assert_eq!((new.1, link_id(&lab)), (true, link), "on the same link");
    assert!(steering.interfaces()[0].native);
    until("the old program is unloaded", || !is_loaded(old.0));

    let table = steering.table();
    let entry = table.find(&key(1)).unwrap();
    let flow = table.read(entry);
    assert_eq!(
        (flow.state, flow.sequence_delta, flow.server_sequence),
        (state::ESTABLISHED, 99, 5)
    );
    assert_eq!(
        table.find(&key(2)),
        None,
        "the opening died with its worker"
    );
    // The options that were learned hold at once, the rest from the next epoch on.
    let before = Profile {
        flags: LEARNED.flags,
        ..Profile::default()
    };
    let endpoint = steering.endpoints().get(SERVER, 80).unwrap();
    assert_eq!((endpoint.now, endpoint.before), (LEARNED, before));

    steering.stop(false).unwrap();
    lab.assert_clean(Some(new.0));
    let next = lab.load(&[]).unwrap().issuing_keys();
    assert_ne!(next, keys, "nobody knows which of its cookies were used");
}

#[test]
fn takes_over_with_another_mode_or_interface() {
    let lab = Lab::new();
    drop(KilledProcess::start(&lab, &[]));
    let old = lab.xdp(HERE).unwrap();
    let steering = lab.steer(&[("\"auto\"", "\"generic\"")]).unwrap();
    assert_eq!(steering.taken_over(), Some(1));
    let new = lab.xdp(HERE).unwrap();
    assert!(new.0 != old.0 && !new.1);
    steering.stop(true).unwrap();

    lab.ip(&[
        "link", "add", "sw-two", "type", "veth", "peer", "name", "sw-2nd",
    ]);
    let steering = lab.steer(&[(HERE, "sw-two")]).unwrap();
    assert_eq!(
        lab.xdp(HERE),
        None,
        "not configured any more, so not steered"
    );
    assert!(lab.xdp("sw-two").is_some());
    assert!(
        lab.pinned().contains(&"link-sw-two".to_owned())
            && !lab.pinned().contains(&"link-sw-here".to_owned())
    );
    steering.stop(false).unwrap();
    lab.assert_clean(Some(new.0));
}

#[test]
fn a_recreated_interface_is_steered_again() {
    let lab = Lab::new();
    drop(KilledProcess::start(&lab, &[]));
    lab.ip(&["link", "del", HERE]);
    lab.ip(&[
        "link", "add", HERE, "type", "veth", "peer", "name", "sw-2nd",
    ]);
    assert_eq!(lab.xdp(HERE), None);
    let steering = lab.steer(&[]).unwrap();
    assert_eq!(steering.taken_over(), Some(1));
    assert!(lab.xdp(HERE).is_some());
    steering.stop(false).unwrap();
    lab.assert_clean(None);
}

#[test]
fn unload_removes_what_is_left() {
    let lab = Lab::new();
    let process = KilledProcess::start(&lab, &[]);
    let refused = unload(&lab.pin(), Some(HERE)).unwrap_err().to_string();
    assert!(
        refused.contains("runs with") && refused.contains("stop it first"),
        "{refused}"
    );
    drop(process);
    let (id, _) = lab.xdp(HERE).unwrap();
    assert_eq!(unload(&lab.pin(), Some("sw-other")).unwrap(), [""; 0]);
    assert!(lab.xdp(HERE).is_some());
    let removed = unload(&lab.pin(), Some(HERE)).unwrap();
    assert_eq!(removed[0], "the XDP program of sw-here");
    lab.assert_clean(Some(id));
}

#[test]
fn a_stopped_start_removes_what_was_left() {
    let lab = Lab::new();
    remove_left(&lab.pin()).unwrap();
    let process = KilledProcess::start(&lab, &[]);
    assert!(remove_left(&lab.pin()).is_err(), "it serves");
    drop(process);
    let (id, _) = lab.xdp(HERE).unwrap();
    remove_left(&lab.pin()).unwrap();
    lab.assert_clean(Some(id));
}

#[test]
fn unloading_one_interface_leaves_the_other_steered() {
    let lab = Lab::new();
    let second = "sw-2nd";
    lab.ip(&[
        "link", "add", second, "type", "veth", "peer", "name", "sw-3rd",
    ]);
    lab.ip(&["link", "set", second, "up"]);
    let interface = format!("[[interface]]\nname = \"{second}\"\nside = \"outside\"\n[[service]]");
    let edits = [
        ("[[service]]", &interface[..]),
        ("ports = [80]", "ports = [80]\nhandoff = \"local\""),
    ];
    lab.steer(&edits).unwrap().stop(true).unwrap();
    let links = || {
        let mut pinned = lab.pinned();
        pinned.retain(|name| !name.starts_with("map-") && name != "schema");
        pinned
    };
    let (ours, others) = (
        ["link-sw-here", "tcx-sw-here"],
        ["link-sw-2nd", "tcx-sw-2nd"],
    );
    assert_eq!(links(), [others[0], ours[0], others[1], ours[1]]);

    let removed = unload(&lab.pin(), Some(HERE)).unwrap();
    assert_eq!(
        removed,
        ["the XDP program of sw-here", "the program at TC of sw-here"]
    );
    assert_eq!(links(), others);
    until("nothing is attached", || lab.xdp(HERE).is_none());
    assert!(lab.xdp(second).is_some());
    unload(&lab.pin(), None).unwrap();
    lab.assert_clean(None);
}

/// An entry of the pinned map HANDED_OVER.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Handed(HandedOver);

// SAFETY: `repr(C)`, of integers with explicit padding.
unsafe impl Pod for Handed {}

/// The flows of clients whose ACKs are in the map, on any CPU.
fn handed_over(map: &PerCpuArray<MapData, Handed>) -> Vec<FlowKey> {
    let places = (0..map.len()).flat_map(|place| map.get(&place, 0).unwrap().to_vec());
    let taken = places.filter(|Handed(entry)| entry.client.since != 0);
    taken.map(|Handed(entry)| entry.key).collect()
}

#[test]
fn clients_that_a_killed_process_had_not_served_wait_for_the_next() {
    let lab = Lab::new();
    drop(KilledProcess::start(&lab, &[]));
    let pin = MapData::from_pin(lab.pin().join("map-HANDED_OVER")).unwrap();
    let mut map = PerCpuArray::try_from(Map::PerCpuArray(pin)).unwrap();
    let now = Times::now().coarse;
    let ack = |port, since| {
        Handed(HandedOver {
            key: key(port),
            client: WaitingClient {
                since,
                ..WaitingClient::default()
            },
            ..HandedOver::default()
        })
    };
    // 1 is established, the opening of 2 died with its worker, 3 was in a worker's ring, 4 is old.
    let acks = [ack(1, now), ack(2, now - 1), ack(3, now - 2), ack(4, 1)];
    for (place, ack) in acks.into_iter().enumerate() {
        let mut cpus = map.get(&0, 0).unwrap().to_vec();
        cpus.fill(Handed(HandedOver::default()));
        // Of the last CPU, so that all are read.
        *cpus.last_mut().unwrap() = ack;
        let cpus = PerCpuValues::try_from(cpus).unwrap();
        map.set(place as u32, cpus, 0).unwrap();
    }

    let mut steering = lab.steer(&[]).unwrap();
    assert_eq!(handed_over(&map), [], "each is taken once");
    let mut waiting = Vec::new();
    let waited = steering.take_waiting(Times::now().coarse, |key, _, client| {
        waiting.push((key, client.since));
        true
    });
    assert_eq!(waited.unwrap().taken, 2);
    assert_eq!(waiting, [(key(3), now - 2), (key(2), now - 1)]);
    steering.stop(false).unwrap();
    lab.assert_clean(None);
}
