//! `synward check` and `synward secret` from outside: every problem with its line, and the exit code.
#![allow(clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// What a run printed and how it ended.
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

fn synward(arguments: &[&str]) -> Ran {
    let output: Output = Command::new(env!("CARGO_BIN_EXE_synward"))
        .args(arguments)
        .output()
        .unwrap();
    Ran {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A folder with a secret file and whatever a test adds.
struct Room(TempDir);

impl Room {
    fn new() -> Self {
        let room = Self(tempfile::tempdir().unwrap());
        room.write("secret", "ab".repeat(32), 0o600);
        room
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    /// A section to put at the end of a file: it names this room's secret, whatever the machine has in /etc.
    fn cookie(&self) -> String {
        format!(
            "\n[cookie]\nsecret = \"{}\"\n",
            self.0.path().join("secret").display()
        )
    }

    fn check(&self, text: impl AsRef<[u8]>) -> Ran {
        check(&self.write("f.toml", text, 0o644))
    }

    /// `FILE` in what is printed is the file that was checked, `DIR` the room.
    fn shorten(&self, text: &str) -> String {
        let folder = self.0.path().display().to_string();
        text.replace(&format!("{folder}/f.toml"), "FILE")
            .replace(&folder, "DIR")
    }
}

fn check(path: &Path) -> Ran {
    synward(&["check", "--config", path.to_str().unwrap()])
}

const INTERFACE: &str = "[[interface]]\nname = \"eth0\"\nside = \"both\"\n";
const SERVICE: &str = "[[service]]\nname = \"web\"\naddresses = [\"192.0.2.10\"]\nports = [80]\n";

/// What is wrong with a file.
struct Wrong {
    /// The file; [`Room::cookie`] goes behind it.
    text: String,
    /// The lines that are printed, without `FILE:`.
    lines: &'static [&'static str],
}

/// A file whose service, at lines 4 to 7, has these settings from line 8 on.
fn service(settings: &str, lines: &'static [&'static str]) -> Wrong {
    Wrong {
        text: format!("{INTERFACE}{SERVICE}{settings}\n"),
        lines,
    }
}

/// A file whose first service is this, from line 4 on.
fn services(text: &str, lines: &'static [&'static str]) -> Wrong {
    Wrong {
        text: format!("{INTERFACE}{text}\n"),
        lines,
    }
}

/// A file whose interfaces are these, from line 5 on.
fn interfaces(text: &str, lines: &'static [&'static str]) -> Wrong {
    Wrong {
        text: format!("{SERVICE}{text}\n"),
        lines,
    }
}

/// A valid file, and then this from line 8 on.
fn more(text: &str, lines: &'static [&'static str]) -> Wrong {
    service(text, lines)
}

fn wrong_files() -> Vec<Wrong> {
    let mut all = wrong_shapes();
    all.extend(wrong_appliances());
    all.extend(wrong_interfaces());
    all.extend(wrong_services());
    all.extend(wrong_addresses());
    all.extend(not_yet());
    all
}

fn wrong_shapes() -> Vec<Wrong> {
    vec![
        Wrong {
            text: String::new(),
            lines: &[
                "1: no [[interface]]; add one with name = \"eth0\" and side = \"both\"",
                "1: no [[service]]; add one with name = \"web\", addresses = [\"192.0.2.10\"] and ports = [80, 443]",
            ],
        },
        more(
            "handoff = splice",
            &["8: this is not TOML: string values must be quoted, expected literal string"],
        ),
        more(
            "sack = true\nsack = true",
            &["9: `sack` is there twice; remove one"],
        ),
        more("[service]", &["8: `service` is there twice; remove one"]),
        more(
            "[[flows]]",
            &["8: `flows` is not written as a section; write [flows]"],
        ),
        more(
            "[flow]",
            &["8: unknown section `flow`; did you mean [flows]?"],
        ),
        more(
            "[backend]",
            &[
                "8: unknown section `backend`; the sections are [appliance], [cookie], [[interface]], [[service]], [flows]",
            ],
        ),
        Wrong {
            text: format!("ports = [80]\n{INTERFACE}{SERVICE}"),
            lines: &["1: key `ports` stands outside of any section; it belongs in [[service]]"],
        },
        more(
            "adresses = []",
            &["8: unknown key `adresses` in [[service]]; did you mean `addresses`?"],
        ),
        more(
            "when-down = \"drop\"",
            &["8: unknown key `when-down` in [[service]]; did you mean `when_down`?"],
        ),
        more(
            "capacity = 5000",
            &["8: unknown key `capacity` in [[service]]; it belongs in [flows]"],
        ),
        more(
            "[flows]\nturbo = 1",
            &[
                "9: unknown key `turbo` in [flows]; its keys are capacity, idle_seconds, closing_seconds",
            ],
        ),
        more(
            "\"\\u001b[31m\\n\" = 1\n[flows]\ncapacity = 1",
            &[
                "8: unknown key `\\u{1b}[31m\\n` in [[service]]; its keys are name, addresses, ports, handoff, mode, allow, deny, \
             fragments, unknown, when_down, rtt, cookies, hold_bytes, mss, wscale, sack, timestamps, ecn",
                "10: `capacity` is 1; use a whole number from 1024 to 16777216",
            ],
        ),
    ]
}

fn wrong_appliances() -> Vec<Wrong> {
    vec![
        more(
            "[appliance]\ncontrol = \"synward.sock\"\nmetrics = \"localhost:9470\"\ncores = []\npolling = \"lazy\"\nresponder = 1\n\
             pin = \"../bpf\"\nadopt_seconds = 3601",
            &[
                "9: `control` is \"synward.sock\"; use an absolute path, such as \"/run/synward/control.sock\"",
                "10: `metrics` is \"localhost:9470\"; use an address and a port, such as \"127.0.0.1:9470\" or \"[::1]:9470\", or \"\" for none",
                "11: `cores` is an empty list; use \"auto\" or a list of CPU numbers, such as [2, 3]",
                "12: `polling` is \"lazy\"; use \"adaptive\" or \"busy\"",
                "13: `responder` is 1; use \"auto\", \"afxdp\" or \"xdp\"",
                "14: `pin` is \"../bpf\"; use an absolute path on a BPF file system, such as \"/sys/fs/bpf/synward\", or \"\" for none",
                "15: `adopt_seconds` is 3601; use a whole number from 0 to 3600",
            ],
        ),
        more(
            "[appliance]\nmetrics = \"127.0.0.1:0\"",
            &[
                "9: `metrics` is \"127.0.0.1:0\"; use an address and a port, such as \"127.0.0.1:9470\" or \"[::1]:9470\", or \"\" for none",
            ],
        ),
        more(
            "[appliance]\ncores = [\n  2,\n  3,\n  2,\n  -1,\n]",
            &[
                "12: `cores` holds 2 twice; remove one",
                "13: `cores` holds -1; use a whole number from 0 to 8191",
            ],
        ),
        more(
            "[flows]\ncapacity = 1.5\nidle_seconds = 0\nclosing_seconds = 1e3",
            &[
                "9: `capacity` is a number with a fraction; use a whole number from 1024 to 16777216",
                "10: `idle_seconds` is 0; use a whole number from 60 to 604800",
                "11: `closing_seconds` is a number with a fraction; use a whole number from 1 to 3600",
            ],
        ),
        more(
            "[flows]\ncapacity = 99999999999999999999999\nidle_seconds = 60",
            &[
                "9: `capacity` is 99999999999999999999999; use a whole number from 1024 to 16777216",
                "10: closing_seconds is 240, longer than idle_seconds, which is 60; use at most 60",
            ],
        ),
    ]
}

fn wrong_interfaces() -> Vec<Wrong> {
    vec![
        interfaces(
            "[[interface]]",
            &[
                "5: [[interface]] has no `name`; add name = \"eth0\"",
                "5: [[interface]] has no `side`; add side = \"both\"",
            ],
        ),
        interfaces(
            "[[interface]]\nname = \"eth0\"\nside = \"inside\"",
            &["5: no interface faces clients; set side = \"outside\" or \"both\" on one"],
        ),
        interfaces(
            "[[interface]]\nname = \"eth0\"\nside = \"left\"",
            &["7: `side` is \"left\"; use \"outside\", \"inside\" or \"both\""],
        ),
        interfaces(
            "[[interface]]\nname = \"a_name_too_long_\"\nside = \"both\"",
            &[
                "6: `name` is \"a_name_too_long_\"; use the name that `ip link` shows, 1 to 15 characters",
            ],
        ),
        more(
            "[[interface]]\nside = \"outside\"\nname = \"eth0\"",
            &[
                "10: interface \"eth0\" is there already (line 2); remove one, or use side = \"both\"",
            ],
        ),
        interfaces(
            "[[interface]]\nname = \"eth0\"\nside = \"both\"\nxdp = \"generic\"\nzero_copy = \"on\"\nqueues = [0, 64]",
            &[
                "9: zero_copy \"on\" needs the driver's XDP, but xdp is \"generic\"; use xdp = \"native\"",
                "10: `queues` holds 64; use a whole number from 0 to 63",
            ],
        ),
        interfaces(
            "[[interface]]\nname = \"eth0\"\nside = \"both\"\nqueues = 4\nzero_copy = true",
            &[
                "8: `queues` is 4; use \"all\" or a list of queue numbers, such as [0, 1]",
                "9: `zero_copy` is true; use \"auto\", \"on\" or \"off\"",
            ],
        ),
    ]
}

fn wrong_services() -> Vec<Wrong> {
    vec![
        services(
            "[[service]]",
            &[
                "4: [[service]] has no `name`; add name = \"web\"",
                "4: [[service]] has no `addresses`; add addresses = [\"192.0.2.10\", \"2001:db8::10\"]",
                "4: [[service]] has no `ports`; add ports = [80, 443]",
            ],
        ),
        services(
            "[[service]]\nname = \"Web\"\naddresses = [\"192.0.2.10\"]\nports = [80]",
            &["5: `name` is \"Web\"; use 1 to 32 characters of a-z, 0-9, _ and -"],
        ),
        more(
            "[[service]]\nname = \"web\"\naddresses = [\"192.0.2.11\"]\nports = [80]",
            &["9: service \"web\" is there already (line 5); give each service a name of its own"],
        ),
        services(
            "[[service]]\nname = \"web\"\naddresses = [\"192.0.2.10\"]\nports = [0, 80, 80, 65536, \"443\"]",
            &[
                "7: `ports` holds 0; use a whole number from 1 to 65535",
                "7: `ports` holds 80 twice; remove one",
                "7: `ports` holds 65536; use a whole number from 1 to 65535",
                "7: `ports` holds \"443\"; use a whole number from 1 to 65535",
            ],
        ),
        services(
            "[[service]]\nname = \"web\"\naddresses = [\"192.0.2.10\"]\nports = \"all\"",
            &["7: `ports` is \"all\"; use a list of ports, such as [80, 443], or \"any\""],
        ),
        service(
            "mode = \"alway\"\nfragments = \"keep\"\nunknown = \"\"\nwhen_down = \"pass\"\nrtt = true",
            &[
                "8: `mode` is \"alway\"; use \"always\", \"monitor\" or \"off\"",
                "9: `fragments` is \"keep\"; use \"drop\" or \"pass\"",
                "10: `unknown` is \"\"; use \"drop\", \"reset\" or \"pass\"",
                "11: `when_down` is \"pass\"; use \"reset\" or \"drop\"",
                "12: `rtt` is true; use \"fast\" or \"true\"",
            ],
        ),
        service(
            "hold_bytes = 1459\nmss = 535\nwscale = 15\nsack = \"yes\"\ntimestamps = 1\necn = []",
            &[
                "8: `hold_bytes` is 1459; use a whole number from 1460 to 65536",
                "9: `mss` is 535; use a whole number from 536 to 65495",
                "10: `wscale` is 15; use a whole number from 0 to 14",
                "11: `sack` is \"yes\"; use true or false",
                "12: `timestamps` is 1; use true or false",
                "13: `ecn` is a list; use true or false",
            ],
        ),
        services(
            "[[service]]\nname = \"web\"\naddresses = [\"2001:db8::10\"]\nports = [80]\nmss = 1200",
            &["8: `mss` is 1200; 2001:db8::10 is IPv6, which needs at least 1220"],
        ),
    ]
}

fn wrong_addresses() -> Vec<Wrong> {
    vec![
        services(
            "[[service]]\nname = \"web\"\naddresses = []\nports = \"any\"",
            &[
                "6: `addresses` is an empty list; use a list of addresses and prefixes, such as [\"192.0.2.10\", \"198.51.100.0/24\"]",
            ],
        ),
        services(
            "[[service]]\nname = \"web\"\naddresses = \"192.0.2.10\"\nports = \"any\"",
            &[
                "6: `addresses` is \"192.0.2.10\"; use a list of addresses and prefixes, such as [\"192.0.2.10\", \"198.51.100.0/24\"]",
            ],
        ),
        services(
            "[[service]]\nname = \"web\"\naddresses = [\n  \"192.0.2.10/24\",\n  \"www.example.org\",\n  \"127.0.0.1\",\n  \"ff02::1\",\n  \"::\",\n  \
             \"192.0.2.1\",\n  \"192.0.2.1/32\",\n  7,\n]\nports = \"any\"",
            &[
                "7: \"192.0.2.10/24\" has host bits set; use \"192.0.2.0/24\" or \"192.0.2.10\"",
                "8: \"www.example.org\" is not an address; use one like \"192.0.2.10\" or \"2001:db8::10\", or a prefix like \"198.51.100.0/24\"",
                "9: \"127.0.0.1\" is loopback; use the address at which clients reach the server",
                "10: \"ff02::1\" is multicast; use the address at which clients reach the server",
                "11: \"::\" is unspecified; use the address at which clients reach the server",
                "13: `addresses` holds \"192.0.2.1/32\" twice; remove one",
                "14: `addresses` holds 7; use a list of addresses and prefixes, such as [\"192.0.2.10\", \"198.51.100.0/24\"]",
            ],
        ),
        more(
            "[[service]]\nname = \"api\"\naddresses = [\"192.0.2.11\", \"192.0.2.10/32\"]\nports = [443, 80]",
            &[
                "10: 192.0.2.10 port 80 belongs to service \"web\" already (line 6); take it out of one of them",
            ],
        ),
        services(
            "[[service]]\nname = \"a\"\naddresses = [\"198.51.100.0/24\"]\nports = \"any\"\n\
             [[service]]\nname = \"b\"\naddresses = [\"198.51.100.0/24\"]\nports = \"any\"",
            &[
                "10: 198.51.100.0/24 port \"any\" belongs to service \"a\" already (line 6); take it out of one of them",
            ],
        ),
        service(
            "allow = [\"203.0.113.1/24\"]\ndeny = [\"nowhere\"]",
            &[
                "8: \"203.0.113.1/24\" has host bits set; use \"203.0.113.0/24\" or \"203.0.113.1\"",
                "9: \"nowhere\" is not an address; use one like \"192.0.2.10\" or \"2001:db8::10\", or a prefix like \"198.51.100.0/24\"",
            ],
        ),
        service(
            "handoff = \"forward\"",
            &[
                "8: handoff = \"forward\" needs `wscale`, here and in the server's own configuration the same, such as `wscale = 7`",
            ],
        ),
        service(
            "cookies = \"kernel\"",
            &[
                "8: `cookies` is \"kernel\", which is for handoff = \"local\" alone, and this service's is \"splice\"; take it out",
            ],
        ),
        service(
            "handoff = \"local\"\ncookies = \"theirs\"",
            &["9: `cookies` is \"theirs\"; use \"auto\" or \"kernel\""],
        ),
        service(
            "deny = [\"203.0.113.0/24\"]\nallow = [\"0.0.0.0/0\", \"203.0.113.0/24\"]",
            &["8: 203.0.113.0/24 is in `allow` too (line 9); take it out of one of them"],
        ),
    ]
}

fn not_yet() -> Vec<Wrong> {
    vec![
        service(
            "mode = \"auto\"\nactivate_syn_rate = 1\ndeactivate_syn_rate = 1\nhold_seconds = 1",
            &[
                "8: mode \"auto\" is not available yet; use \"always\", \"monitor\" or \"off\"",
                "9: `activate_syn_rate` is not available yet; remove it",
                "10: `deactivate_syn_rate` is not available yet; remove it",
                "11: `hold_seconds` is not available yet; remove it",
            ],
        ),
        service(
            "openings_per_source = 1\nreplies_per_prefix = 1",
            &[
                "8: `openings_per_source` is not available yet; remove it",
                "9: `replies_per_prefix` is not available yet; remove it",
            ],
        ),
    ]
}

#[test]
fn every_problem_is_printed_with_its_line() {
    let room = Room::new();
    let files = wrong_files();
    assert!(files.len() >= 25);
    for Wrong { text, lines } in files {
        let ran = room.check(text.clone() + &room.cookie());
        let expected: String = lines.iter().map(|line| format!("FILE:{line}\n")).collect();
        assert_eq!(room.shorten(&ran.stdout), expected, "\n{text}");
        assert_eq!((ran.code, ran.stderr.as_str()), (1, ""), "\n{text}");
    }
}

#[test]
fn tables_have_bounds() {
    let room = Room::new();
    let many = |count: usize, of: fn(usize) -> String| (0..count).map(of).collect::<String>();
    let interface = |n| format!("[[interface]]\nname = \"eth{n}\"\nside = \"both\"\n");
    let service = |n| {
        format!("[[service]]\nname = \"s{n}\"\naddresses = [\"192.0.2.{n}\"]\nports = \"any\"\n")
    };

    let ran = room.check(many(16, interface) + &many(64, service) + &room.cookie());
    assert_eq!(
        room.shorten(&ran.stdout),
        "FILE: valid, 64 services, 16 interfaces\n"
    );

    let ran = room.check(many(17, interface) + &many(65, service) + &room.cookie());
    let expected = "FILE:49: interface 17 of 17; at most 16 are possible\nFILE:308: service 65 of 65; at most 64 are possible\n";
    assert_eq!(room.shorten(&ran.stdout), expected);

    let ports: Vec<_> = (1..=65).collect();
    let ran = room.check(format!(
        "{INTERFACE}[[service]]\nname = \"s\"\naddresses = [\"192.0.2.1\"]\nports = {ports:?}{}",
        room.cookie()
    ));
    assert_eq!(
        room.shorten(&ran.stdout),
        "FILE:7: `ports` has 65 elements; at most 64 are possible\n"
    );
}

#[test]
fn a_small_file_is_valid() {
    let room = Room::new();
    let text = format!("{INTERFACE}{SERVICE}handoff = \"splice\"\n");
    assert_eq!(text.lines().count(), 8);
    let ran = room.check(text);
    assert_eq!(
        (room.shorten(&ran.stdout).as_str(), ran.code),
        ("FILE: valid, 1 service, 1 interface\n", 0)
    );
    assert_eq!(ran.stderr, "");
}

/// The documented example, except for what is not available yet.
#[test]
fn the_full_file_is_valid() {
    let room = Room::new();
    let text = r#"
[appliance]
control = "/run/synward/control.sock"
metrics = "127.0.0.1:9470"        # GET /metrics (Prometheus), GET /healthz; "" turns it off
cores = "auto"                    # or [2, 3]
polling = "adaptive"              # or "busy"
responder = "auto"                # "afxdp" | "xdp"
pin = "/sys/fs/bpf/synward"       # "" = nothing pinned
adopt_seconds = 10

[cookie]
secret = "SECRET"

[[interface]]
name = "eth0"
side = "outside"                  # "inside" | "both" (one-armed)
xdp = "auto"                      # "native" | "generic"
zero_copy = "auto"                # "on" (refuse to start without) | "off"
queues = "all"                    # or [0, 1]

[[service]]                       # overlapping services: the longest prefix wins, then a named port over "any"
name = "web"
addresses = ["192.0.2.10", "2001:db8::10", "198.51.100.0/24"]
ports = [80, 443]                 # or "any"
handoff = "splice"
mode = "always"
allow = ["203.0.113.0/24"]
deny = []
fragments = "drop"
unknown = "drop"
when_down = "reset"
rtt = "fast"

[flows]
capacity = 1048576
idle_seconds = 7500
closing_seconds = 240
"#;
    let ran = room.check(text.replace("SECRET", room.0.path().join("secret").to_str().unwrap()));
    assert_eq!(
        (room.shorten(&ran.stdout).as_str(), ran.code),
        ("FILE: valid, 1 service, 1 interface\n", 0)
    );
    let expected = "FILE:14: warning: service \"web\" is spliced, but no interface faces its server; add the one with side = \"inside\", or set side = \"both\"\n";
    assert_eq!(room.shorten(&ran.stderr), expected);
}

#[test]
fn the_printed_example_is_valid() {
    let room = Room::new();
    let example = synward(&["check", "--example"]);
    assert_eq!(example.code, 0);
    let ran = room.check(example.stdout);
    assert_eq!(
        (room.shorten(&ran.stdout).as_str(), ran.code),
        ("FILE: valid, 1 service, 1 interface\n", 0)
    );
    assert_eq!(ran.stderr, "");
}

#[test]
fn overlapping_services_are_fine_where_one_of_them_wins() {
    let room = Room::new();
    let ran = room.check(format!(
        "{INTERFACE}{SERVICE}\
         [[service]]\nname = \"rest\"\naddresses = [\"192.0.2.10\"]\nports = \"any\"\n\
         [[service]]\nname = \"net\"\naddresses = [\"192.0.2.0/24\"]\nports = [80]\n{}",
        room.cookie()
    ));
    assert_eq!(
        room.shorten(&ran.stdout),
        "FILE: valid, 3 services, 1 interface\n"
    );
}

#[test]
fn a_file_that_cannot_be_read_gives_one_line() {
    let room = Room::new();
    let missing = check(&room.0.path().join("f.toml"));
    let what = "FILE: there is no such file; name one with --config (`synward check --example` prints one)\n";
    assert_eq!(
        (room.shorten(&missing.stdout).as_str(), missing.code),
        (what, 1)
    );

    let folder = check(room.0.path());
    assert_eq!(
        (room.shorten(&folder.stdout).as_str(), folder.code),
        ("DIR: is a folder; name a file in it\n", 1)
    );

    let ran = room.check(b"# one\n# two \xff\n");
    let what = "FILE:2: byte 0xff is not UTF-8; save the file as UTF-8 text\n";
    assert_eq!((room.shorten(&ran.stdout).as_str(), ran.code), (what, 1));

    let endless = check(Path::new("/dev/zero"));
    let what = "/dev/zero: is larger than 1048576 bytes; is it the right file?\n";
    assert_eq!((endless.stdout.as_str(), endless.code), (what, 1));
}

#[test]
fn a_file_without_permission_gives_one_line() {
    let room = Room::new();
    let path = room.write("f.toml", INTERFACE, 0o000);
    if fs::File::open(&path).is_ok() {
        // Root may read everything: become nobody, who must then be able to reach the program and the file.
        let program = room.0.path().join("synward");
        // Not fs::copy: a test that forks meanwhile would keep the copy open for writing, and exec refuses it then.
        assert!(
            Command::new("cp")
                .arg(env!("CARGO_BIN_EXE_synward"))
                .arg(&program)
                .status()
                .unwrap()
                .success()
        );
        fs::set_permissions(room.0.path(), Permissions::from_mode(0o755)).unwrap();
        let mut command = Command::new(&program);
        std::os::unix::process::CommandExt::uid(&mut command, 65534);
        let output = command
            .args(["check", "--config"])
            .arg(&path)
            .output()
            .unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert_eq!(
            room.shorten(&stdout),
            "FILE: cannot be read: permission denied; run as root or as its owner\n"
        );
        assert_eq!(output.status.code(), Some(1));
    } else {
        let ran = check(&path);
        assert_eq!(
            room.shorten(&ran.stdout),
            "FILE: cannot be read: permission denied; run as root or as its owner\n"
        );
    }
}

#[test]
fn a_wrong_secret_file_is_named() {
    let room = Room::new();
    let (a, b) = ("ab".repeat(32), "cd".repeat(32));
    let full = format!("{INTERFACE}{SERVICE}{}", room.cookie());
    let check = |content: String, mode, expected: &str| {
        fs::remove_file(room.0.path().join("secret")).unwrap();
        room.write("secret", content, mode);
        let ran = room.check(&full);
        assert_eq!(room.shorten(&ran.stdout), expected);
        assert_eq!(ran.code, i32::from(!expected.contains("FILE: valid")));
    };
    const VALID: &str = "FILE: valid, 1 service, 1 interface\n";
    const CURE: &str = "write 64 hex digits (`synward secret`) or service:NAME:64 hex digits (`synward secret --service NAME`)";
    check(format!("{a}\n{b}\n"), 0o400, VALID);
    check(
        a.clone(),
        0o640,
        "FILE:10: the secret file DIR/secret has mode 0640, so others can get at it; run: chmod 600 DIR/secret\n",
    );
    check(
        String::new(),
        0o600,
        "DIR/secret:1: is empty; write what `synward secret` prints\n",
    );
    check(
        format!("{a}\n{}\n{}\n", &b[1..], b.replace('c', "x")),
        0o600,
        &format!(
            "DIR/secret:2: has 63 characters where 64 hex digits belong; {CURE}\n\
             DIR/secret:3: has 64 characters, but not all of them are hex digits; {CURE}\n"
        ),
    );
    check(
        format!("service:mail:{a}\n"),
        0o600,
        "FILE:4: service \"web\" has no key in DIR/secret; add what `synward secret --service web` prints where the secret is\n",
    );
    check(format!("service:web:{a}\n"), 0o600, VALID);

    fs::remove_file(room.0.path().join("secret")).unwrap();
    let ran = room.check(&full);
    let expected = "FILE:10: there is no secret file DIR/secret; make one: synward secret > DIR/secret; chmod 600 DIR/secret\n";
    assert_eq!(room.shorten(&ran.stdout), expected);

    fs::create_dir(room.0.path().join("secret")).unwrap();
    let ran = room.check(&full);
    let expected = "FILE:10: the secret file DIR/secret is not a regular file; name a text file\n";
    assert_eq!(room.shorten(&ran.stdout), expected);
}

#[test]
fn secrets_are_made_and_service_keys_derived() {
    let room = Room::new();
    let made = synward(&["secret"]);
    assert_eq!((made.stdout.len(), made.stdout.trim_end().len()), (65, 64));
    assert!(
        made.stdout
            .trim_end()
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit())
    );
    assert_ne!(made.stdout, synward(&["secret"]).stdout);

    let counted: String = (0..32).map(|byte| format!("{byte:02x}")).collect();
    let secret = room.write("counted", counted, 0o600);
    let derive = |name: &str, from: &Path| {
        synward(&[
            "secret",
            "--service",
            name,
            "--secret",
            from.to_str().unwrap(),
        ])
    };
    let web = derive("web", &secret);
    assert_eq!((web.stdout.as_str(), web.code), (PINNED, 0));

    let narrow = room.write("narrow", &web.stdout, 0o600);
    assert_eq!(derive("web", &narrow).stdout, web.stdout);
    let other = derive("mail", &narrow);
    let expected = "synward: DIR/narrow holds neither a secret nor a key of service \"mail\"; use the file that has the secret\n";
    assert_eq!(
        (room.shorten(&other.stderr).as_str(), other.code),
        (expected, 1)
    );

    let absent = derive("web", &room.0.path().join("absent"));
    let expected = "synward: there is no secret file DIR/absent; make one: synward secret > DIR/absent; chmod 600 DIR/absent\n";
    assert_eq!(
        (room.shorten(&absent.stderr).as_str(), absent.code),
        (expected, 1)
    );
}

/// What the secret 00 01 … 1f gives for the service `web`: the same for ever, see secret/derive.rs.
const PINNED: &str =
    "service:web:44c98a8d7c06d697cb1a235668ee000fd8875295ec06441990fbdf17f1052f74\n";

#[test]
fn wrong_use_exits_with_2() {
    let wrong: &[&[&str]] = &[
        &[],
        &["serve"],
        &["run"],
        &["check"],
        &["check", "--config", "f", "--example"],
        &["secret", "--secret", "f"],
        &["secret", "--service", "Web"],
        &["mode", "web"],
        &["mode", "web", "auto"],
        &["tune", "--config", "f", "--dry-run", "--undo"],
        &["completions", "klingon"],
    ];
    for arguments in wrong {
        let ran = synward(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.stderr);
        assert_eq!(ran.stdout, "");
    }
}

#[test]
fn commands_to_come_are_refused_by_name() {
    for (arguments, name) in [
        (&["top"][..], "top"),
        (&["doctor", "--json"], "doctor"),
        (&["tune", "--config", "f", "--dry-run"], "tune"),
        (&["reload", "--control", "/tmp/c"], "reload"),
        (&["--control", "/tmp/c", "drain"], "drain"),
        (&["undrain"], "undrain"),
    ] {
        let ran = synward(arguments);
        assert_eq!(
            (ran.code, ran.stderr),
            (2, format!("synward: `{name}` is not available yet\n"))
        );
    }
}

#[test]
fn completions_and_manual_pages_are_made() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = synward(&["completions", shell]);
        assert_eq!(ran.code, 0);
        assert!(ran.stdout.contains("keep-steering"), "{shell}");
    }
    assert!(synward(&["man"]).stdout.contains(".TH synward 1"));
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        synward(&["man", "--folder", folder.path().to_str().unwrap()]).code,
        0
    );
    for page in ["synward.1", "synward-run.1", "synward-completions.1"] {
        assert!(folder.path().join(page).is_file(), "{page}");
    }
}
