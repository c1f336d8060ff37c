//! `bench` between network namespaces. Needs root, as `bench` does; fails without, unless
//! SYNWARD_SKIP_ROOT_TESTS is set.
//!
//! The far end has no listener, so its kernel answers every segment with a RST, if the checksums are right.
#![allow(clippy::unwrap_used)]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const BENCH: &str = env!("CARGO_BIN_EXE_bench");

#[test]
fn every_segment_of_a_flood_is_sound_and_every_answer_is_counted() {
    let Some(world) = World::new("fl", &["near", "far"]) else {
        return;
    };
    world.join("near", "far");
    world.bench("far", &["pass", "--interface", "far"]);
    world.bench("near", &["pass", "--interface", "near"]);
    let destinations = [
        ("192.0.2.2:9", "10.0.0.0/8"),
        ("[2001:db8::2]:9", "2001:db8:f::/56"),
    ];
    let kinds: [&[&str]; 8] = [
        &["--kind", "syn", "--profile", "linux"],
        &["--kind", "syn", "--profile", "windows"],
        &["--kind", "syn", "--profile", "macos"],
        &["--kind", "syn", "--profile", "old"],
        &["--kind", "syn", "--profile", "bare"],
        &["--kind", "ack"],
        &["--kind", "ack", "--timestamps"],
        &["--kind", "mixed", "--timestamps", "--profile", "bare"],
    ];
    for (destination, sources) in destinations {
        for kind in kinds {
            let common = [
                "flood",
                "--interface",
                "near",
                "--destination",
                destination,
                "--sources",
                sources,
                "--count",
                "1000",
                "--rate",
                "20k",
                "--count-answers",
                "--json",
            ];
            let report = world.bench("near", &[&common, kind].concat());
            assert_eq!(report["sent"], 1000, "{kind:?} to {destination}: {report}");
            assert_eq!(
                report["answers"]["rst"], 1000,
                "{kind:?} to {destination}: {report}"
            );
        }
    }
    let link = world.run("near", "ip", &["link", "show", "near"]);
    assert!(
        link.contains("name pass"),
        "the program before is back: {link}"
    );
    world.bench("near", &["pass", "--interface", "near", "--detach"]);
    let link = world.run("near", "ip", &["link", "show", "near"]);
    assert!(!link.contains("xdp"), "nothing is left: {link}");
}

#[test]
fn a_flood_keeps_to_its_time_and_rate() {
    let Some(world) = World::new("rt", &["near", "far"]) else {
        return;
    };
    world.join("near", "far");
    world.bench("far", &["pass", "--interface", "far", "--drop"]);
    let flood = [
        "flood",
        "--interface",
        "near",
        "--destination",
        "192.0.2.2:9",
        "--sources",
        "10.0.0.0/8",
        "--seconds",
        "1",
        "--json",
    ];
    let start = Instant::now();
    let report = world.bench("near", &flood);
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
    let full = report["sent"].as_u64().unwrap();
    let report = world.bench("near", &[&flood[..], &["--rate", "5k"]].concat());
    let paced = report["sent"].as_u64().unwrap();
    assert!(
        paced <= 5010 && paced < full,
        "{paced} paced, {full} at full speed"
    );
}

#[test]
fn a_delay_line_delays_both_ways_and_reports_what_it_carried() {
    let Some(world) = World::new("dl", &["near", "line", "far"]) else {
        return;
    };
    world.veth("near", "near", "line", "port0");
    world.veth("far", "far", "line", "port1");
    world.address("near", "far");
    let mut line = world.spawn(
        "line",
        &[
            "delay",
            "--near",
            "port0",
            "--far",
            "port1",
            "--delay-ms",
            "40",
        ],
    );
    // No socket listens: a SYN is answered by a RST, one round trip later. Until the line is up, SYNs are lost.
    for address in ["192.0.2.2", "2001:db8::2"] {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let start = Instant::now();
            let connect = format!("exec 3<>/dev/tcp/{address}/9");
            let refused = world
                .command("near", "timeout", &["0.5", "bash", "-c", &connect])
                .output()
                .unwrap();
            let took = start.elapsed();
            if String::from_utf8_lossy(&refused.stderr).contains("refused") {
                assert!(
                    took >= Duration::from_millis(80),
                    "{address} answered after {took:?}"
                );
                break;
            }
            assert!(
                Instant::now() < deadline,
                "{address} never answered: {refused:?}"
            );
        }
    }
    world.run("line", "kill", &["-TERM", &line.id().to_string()]);
    assert!(line.wait().unwrap().success());
    let output = std::io::read_to_string(line.stdout.take().unwrap()).unwrap();
    let report: Value = serde_json::from_str(output.lines().last().unwrap()).unwrap();
    assert!(
        report["near_to_far"]["delivered"].as_u64() >= Some(2),
        "{output}"
    );
    assert!(
        report["far_to_near"]["delivered"].as_u64() >= Some(2),
        "{output}"
    );
}

/// Network namespaces; dropping this removes them.
struct World {
    prefix: String,
    rooms: Vec<&'static str>,
}

impl World {
    /// `None` without root.
    fn new(name: &str, rooms: &[&'static str]) -> Option<Self> {
        if !root() {
            return None;
        }
        let prefix = format!("sw-{name}{}", std::process::id());
        let world = Self {
            prefix,
            rooms: rooms.to_vec(),
        };
        for room in rooms {
            succeed(Command::new("ip").args(["netns", "add", &world.namespace(room)]));
            world.run(
                room,
                "sysctl",
                &["-qw", "net.ipv6.conf.default.accept_dad=0"],
            );
        }
        Some(world)
    }

    /// A veth between two namespaces, whose ends have the namespaces' names, with addresses.
    fn join(&self, near: &str, far: &str) {
        self.veth(near, near, far, far);
        self.address(near, far);
    }

    fn veth(&self, room: &str, device: &str, other: &str, peer: &str) {
        let other_namespace = self.namespace(other);
        let add = [
            "link",
            "add",
            device,
            "type",
            "veth",
            "peer",
            "name",
            peer,
            "netns",
            &other_namespace,
        ];
        self.run(room, "ip", &add);
        for (room, device) in [(room, device), (other, peer)] {
            self.run(room, "ip", &["link", "set", device, "up"]);
            self.run(room, "ethtool", &["-K", device, "tx", "off"]);
        }
    }

    /// near = 192.0.2.1 and 2001:db8::1, far = .2 and ::2, each with a route back to the flood's sources.
    fn address(&self, near: &str, far: &str) {
        let mac = |room| {
            self.run(room, "ip", &["-br", "link", "show", room])
                .split_whitespace()
                .nth(2)
                .unwrap()
                .to_owned()
        };
        for (room, own, other, other_mac) in
            [(near, "1", "2", mac(far)), (far, "2", "1", mac(near))]
        {
            self.run(
                room,
                "ip",
                &["address", "add", &format!("192.0.2.{own}/24"), "dev", room],
            );
            self.run(
                room,
                "ip",
                &[
                    "address",
                    "add",
                    &format!("2001:db8::{own}/64"),
                    "dev",
                    room,
                    "nodad",
                ],
            );
            for address in [format!("192.0.2.{other}"), format!("2001:db8::{other}")] {
                let add = [
                    "neighbour",
                    "add",
                    &address,
                    "lladdr",
                    &other_mac,
                    "dev",
                    room,
                    "nud",
                    "permanent",
                ];
                self.run(room, "ip", &add);
            }
        }
        self.run(
            far,
            "ip",
            &["route", "add", "10.0.0.0/8", "via", "192.0.2.1"],
        );
        self.run(
            far,
            "ip",
            &[
                "-6",
                "route",
                "add",
                "2001:db8:f::/48",
                "via",
                "2001:db8::1",
            ],
        );
    }

    fn namespace(&self, room: &str) -> String {
        format!("{}-{room}", self.prefix)
    }

    fn command(&self, room: &str, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", self.namespace(room)))
            .arg(program)
            .args(arguments);
        command
    }

    fn run(&self, room: &str, program: &str, arguments: &[&str]) -> String {
        succeed(&mut self.command(room, program, arguments))
    }

    /// Runs `bench` to its end; returns the JSON that it printed, if any.
    fn bench(&self, room: &str, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.run(room, BENCH, arguments)).unwrap_or_default()
    }

    fn spawn(&self, room: &str, arguments: &[&str]) -> Child {
        self.command(room, BENCH, arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for room in &self.rooms {
            let namespace = self.namespace(room);
            // Processes that a failed test left running.
            let running = Command::new("ip")
                .args(["netns", "pids", &namespace])
                .output();
            let running =
                running.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            for process in running.unwrap_or_default().split_whitespace() {
                let _ = Command::new("kill").args(["-9", process]).status();
            }
            let _ = Command::new("ip")
                .args(["netns", "delete", &namespace])
                .status();
        }
    }
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Whether this runs as root. Panics if it does not, unless SYNWARD_SKIP_ROOT_TESTS is set.
fn root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    if id.stdout == b"0\n" {
        return true;
    }
    assert!(
        std::env::var_os("SYNWARD_SKIP_ROOT_TESTS").is_some(),
        "this test needs root, because bench makes network namespaces and loads XDP programs; \
         SYNWARD_SKIP_ROOT_TESTS=1 skips it"
    );
    // The harness captures what the macros print, and shows it for failures only.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), b"SKIPPED: a test that needs root\n");
    false
}
