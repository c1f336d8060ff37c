//! Valid files, and files that cannot be read.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use rustix::fs::{CWD, Mode, mkfifoat};

use crate::program_run::run_synward;
use crate::{INTERFACE, SERVICE, TestFolder, check};

#[test]
fn a_small_file_is_valid() {
    let folder = TestFolder::new();
    let text = format!("{INTERFACE}{SERVICE}handoff = \"splice\"\n");
    assert_eq!(text.lines().count(), 8);
    let ran = folder.check(text);
    assert_eq!(
        (folder.shorten(&ran.stdout).as_str(), ran.code),
        ("FILE: valid, 1 service, 1 interface\n", 0)
    );
    assert_eq!(ran.stderr, "");
}

#[test]
fn a_program_behind_must_be_pinned() {
    let folder = TestFolder::new();
    let cases = [
        ("/nonexistent/filter", "nothing is pinned there; load"),
        ("SELF", "it is no program"),
    ];
    for (path, expected) in cases {
        let path = path.replace("SELF", folder.write("file", "", 0o644).to_str().unwrap());
        let text = format!("{INTERFACE}next = \"{path}\"\n{SERVICE}{}", folder.cookie());
        let ran = folder.check(text);
        // Others may not ask the kernel what a file pins.
        if !rustix::process::geteuid().is_root() && expected.starts_with("it is") {
            continue;
        }
        assert_eq!(ran.code, 1, "{}", ran.stdout);
        let line = folder.shorten(&ran.stdout);
        assert!(line.starts_with("FILE:1: `next` of eth0 is "), "{line}");
        assert!(line.contains(expected), "{line}");
    }
}

/// The documented example, without keys that are not available yet.
#[test]
fn the_full_file_is_valid() {
    let folder = TestFolder::new();
    let text = r#"
[appliance]
control = "/run/synward/control.sock"
metrics = "127.0.0.1:9470"        # GET /metrics (Prometheus), /healthz, /readyz; "" turns it off
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
attach = "native"                 # "none": load, fill and pin only; another program calls it
next = ""                         # pinned XDP program that gets what belongs to no service

[[service]]                       # overlapping services: the longest prefix wins, then a named port over "any"
name = "web"
addresses = ["192.0.2.10", "2001:db8::10", "198.51.100.0/24"]
ports = [80, 443]                 # or "any"
handoff = "splice"
mode = "auto"
activate_syn_rate = 1000
deactivate_syn_rate = 500
hold_seconds = 60
on_event = ["/bin/true", "arg"]
allow = ["203.0.113.0/24"]
deny = []
fragments = "drop"
unknown = "drop"
when_down = "reset"
when_absent = "drop"
rtt = "fast"

[flows]
capacity = 1048576
idle_seconds = 7500
closing_seconds = 240
"#;
    let ran =
        folder.check(text.replace("SECRET", folder.0.path().join("secret").to_str().unwrap()));
    assert_eq!(
        (folder.shorten(&ran.stdout).as_str(), ran.code),
        ("FILE: valid, 1 service, 1 interface\n", 0)
    );
    let expected = "FILE:14: warning: service \"web\" is spliced, but no interface faces its server; add the one with side = \
        \"inside\", or set side = \"both\"\n";
    assert_eq!(folder.shorten(&ran.stderr), expected);
}

#[test]
fn the_printed_example_is_valid() {
    let folder = TestFolder::new();
    let example = run_synward(&["check", "--example"]);
    assert_eq!(example.code, 0);
    let ran = folder.check(example.stdout);
    assert_eq!(
        (folder.shorten(&ran.stdout).as_str(), ran.code),
        ("FILE: valid, 1 service, 1 interface\n", 0)
    );
    assert_eq!(ran.stderr, "");
}

#[test]
fn overlapping_services_are_valid_if_one_of_them_wins() {
    let folder = TestFolder::new();
    let ran = folder.check(format!(
        "{INTERFACE}{SERVICE}\
         [[service]]\nname = \"rest\"\naddresses = [\"192.0.2.10\"]\nports = \"any\"\n\
         [[service]]\nname = \"net\"\naddresses = [\"192.0.2.0/24\"]\nports = [80]\n{}",
        folder.cookie()
    ));
    assert_eq!(
        folder.shorten(&ran.stdout),
        "FILE: valid, 3 services, 1 interface\n"
    );
}

#[test]
fn a_file_that_cannot_be_read_gives_one_line() {
    let folder = TestFolder::new();
    let missing = check(&folder.0.path().join("f.toml"));
    let what = "FILE: there is no such file; name one with --config (`synward check --example` prints one)\n";
    assert_eq!(
        (folder.shorten(&missing.stdout).as_str(), missing.code),
        (what, 1)
    );

    let as_file = check(folder.0.path());
    assert_eq!(
        (folder.shorten(&as_file.stdout).as_str(), as_file.code),
        ("DIR: is a directory; name a regular file\n", 1)
    );

    let ran = folder.check(b"# one\n# two \xff\n");
    let what = "FILE:2: byte 0xff is not UTF-8; save the file as UTF-8 text\n";
    assert_eq!((folder.shorten(&ran.stdout).as_str(), ran.code), (what, 1));

    let endless = check(Path::new("/dev/zero"));
    let what = "/dev/zero: is a device; name a regular file\n";
    assert_eq!((endless.stdout.as_str(), endless.code), (what, 1));

    let huge = folder.write("f.toml", "", 0o644);
    fs::File::options()
        .write(true)
        .open(&huge)
        .unwrap()
        .set_len(1 << 32)
        .unwrap();
    let ran = check(&huge);
    let what = "FILE: is larger than 8388608 bytes; is it the right file?\n";
    assert_eq!((folder.shorten(&ran.stdout).as_str(), ran.code), (what, 1));
}

#[test]
fn a_file_may_have_every_endpoint() {
    let folder = TestFolder::new();
    let mut text = INTERFACE.to_owned();
    for service in 0..256 {
        text += &format!("[[service]]\nname = \"s{service}\"\nports = [65535]\naddresses = [\n");
        for number in 0x1000..0x1100 {
            text += &format!(
                "    \"2001:db8:1234:5678:9abc:def0:{:x}:{number:x}\",\n",
                0x1000 + service
            );
        }
        text += "]\n";
    }
    let ran = folder.check(text + &folder.cookie());
    let text = folder.shorten(&ran.stdout);
    assert_eq!(text, "FILE: valid, 256 services, 1 interface\n");
}

/// Every command that reads a file, and every key that names one.
#[test]
fn a_fifo_is_refused_at_once() {
    let folder = TestFolder::new();
    let fifo = folder.0.path().join("fifo");
    mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).unwrap();
    let named = fifo.to_str().unwrap();
    for command in [
        &["check", "--config"][..],
        &["run", "--config"],
        &["doctor", "--config"],
        &["tune", "--dry-run", "--config"],
        &["secret", "--service", "web", "--secret"],
    ] {
        let ran = run_synward(&[command, &[named]].concat());
        let said = folder.shorten(&format!("{}{}", ran.stdout, ran.stderr));
        assert_eq!(ran.code, 1, "{command:?}: {said}");
        let words = "DIR/fifo is a FIFO; name a regular file";
        assert!(
            said.replace("fifo: is", "fifo is").contains(words),
            "{command:?}: {said}"
        );
    }
    for key in ["allow_file", "deny_file"] {
        let text = format!(
            "{INTERFACE}{SERVICE}{key} = \"{named}\"\n{}",
            folder.cookie()
        );
        let ran = folder.check(text);
        let what = format!("FILE:8: `{key}`: DIR/fifo is a FIFO; name a regular file\n");
        assert_eq!((folder.shorten(&ran.stdout), ran.code), (what, 1));
    }
    let text = format!("{INTERFACE}{SERVICE}[cookie]\nsecret = \"{named}\"\n");
    let ran = folder.check(text);
    let what = "FILE:9: the secret file DIR/fifo is a FIFO; name a regular file\n";
    assert_eq!((folder.shorten(&ran.stdout).as_str(), ran.code), (what, 1));
}

#[test]
fn byte_order_marks_and_carriage_returns_do_no_harm() {
    let folder = TestFolder::new();
    let list = folder.write("deny", "\u{feff}203.0.113.0/24\r\n", 0o644);
    let text = format!(
        "\u{feff}{INTERFACE}{SERVICE}deny_file = {list:?}\n{}",
        folder.cookie()
    );
    let ran = folder.check(text.replace('\n', "\r\n"));
    assert_eq!(
        folder.shorten(&ran.stdout),
        "FILE: valid, 1 service, 1 interface\n"
    );
}

#[test]
fn programs_and_interfaces_that_are_not_here_are_reported() {
    let folder = TestFolder::new();
    let file = folder.write("program", "", 0o644);
    for (program, expected) in [
        (
            "/nonexistent/notify",
            "cannot be found (No such file or directory (os error 2)); correct its path",
        ),
        ("/dev", "is not a file; name a program"),
        (
            file.to_str().unwrap(),
            "is not executable: chmod +x DIR/program",
        ),
    ] {
        let service = format!("{SERVICE}on_event = [\"{program}\"]\n");
        let text = format!("{INTERFACE}{service}{}", folder.cookie()).replace("eth0", "nosuch0");
        let ran = folder.check(text);
        assert_eq!(ran.code, 0, "{}", ran.stdout);
        let lines = folder.shorten(&ran.stderr);
        let program = folder.shorten(program);
        for expected in [
            "FILE:1: warning: on this machine: no interface nosuch0 here: `ip link` lists those that exist; correct the name in \
            [[interface]]".to_owned(),
            format!("FILE:4: warning: on this machine: service \"web\": the program of on_event, {program}, {expected}"),
        ] {
            assert!(lines.lines().any(|line| line == expected), "{expected}: {lines}");
        }
    }
}

#[test]
fn a_file_without_permission_gives_one_line() {
    let folder = TestFolder::new();
    let path = folder.write("f.toml", INTERFACE, 0o000);
    if fs::File::open(&path).is_ok() {
        // Root can read every file. Run as nobody, who needs access to the program and the directory.
        let program = folder.0.path().join("synward");
        // Not fs::copy: a test that forks at that moment keeps the copy open for writing, and exec fails with ETXTBSY.
        assert!(
            Command::new("cp")
                .arg(env!("CARGO_BIN_EXE_synward"))
                .arg(&program)
                .status()
                .unwrap()
                .success()
        );
        fs::set_permissions(folder.0.path(), Permissions::from_mode(0o755)).unwrap();
        let mut command = Command::new(&program);
        std::os::unix::process::CommandExt::uid(&mut command, 65534);
        let output = command
            .args(["check", "--config"])
            .arg(&path)
            .output()
            .unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert_eq!(
            folder.shorten(&stdout),
            "FILE: cannot be read: permission denied; run as root or as its owner\n"
        );
        assert_eq!(output.status.code(), Some(1));
    } else {
        let ran = check(&path);
        assert_eq!(
            folder.shorten(&ran.stdout),
            "FILE: cannot be read: permission denied; run as root or as its owner\n"
        );
    }
}

/// On a machine with no address but loopback there is nothing to test.
#[test]
fn own_addresses_inside_a_prefix_are_reported() {
    let own = synward::kernel::own_addresses().unwrap();
    let mut global = own.iter().filter(|one| one.is_ipv4() && !one.is_loopback());
    let Some(address) = global.next() else { return };
    let folder = TestFolder::new();
    let network = ipnet::IpNet::new(*address, 24).unwrap().trunc();
    let service = SERVICE.replace("192.0.2.10", &network.to_string());
    let ran = folder.check(format!("{INTERFACE}{service}{}", folder.cookie()));
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    let expected = format!(
        "FILE:4: warning: on this machine: service \"web\": {address} is an address of this machine, so its prefix leaves \
         it out and connections to it pass; a service with handoff = \"local\" that names it protects it"
    );
    let lines = folder.shorten(&ran.stderr);
    assert!(lines.lines().any(|line| line == expected), "{lines}");
}

#[test]
fn problems_of_a_list_file_name_that_file() {
    let folder = TestFolder::new();
    let deny = folder.write(
        "deny",
        "# a feed\n203.0.113.0/24\n203.0.113.9/24\n10.0.0.0/8\n",
        0o644,
    );
    let allow = folder.write("allow", "10.0.0.0/8\n", 0o644);
    let service = |keys: &str| format!("{INTERFACE}{SERVICE}{keys}{}", folder.cookie());
    let both = format!("deny_file = {deny:?}\nallow_file = {allow:?}\n");
    let ran = folder.check(service(&both));
    assert_eq!(ran.code, 1);
    assert_eq!(
        folder.shorten(&ran.stdout),
        "DIR/deny:3: \"203.0.113.9/24\" has host bits set; use \"203.0.113.0/24\" or \"203.0.113.9\"\n"
    );
    folder.write("deny", "203.0.113.0/24\n10.0.0.0/8 # both\n", 0o644);
    let ran = folder.check(service(&both));
    assert_eq!(
        folder.shorten(&ran.stdout),
        "DIR/deny:2: 10.0.0.0/8 is in DIR/allow too (line 1); remove it from one of them\n"
    );
    let ran = folder.check(service(&format!(
        "allow = [\"10.0.0.0/8\"]\ndeny_file = {deny:?}\n"
    )));
    assert_eq!(
        folder.shorten(&ran.stdout),
        "DIR/deny:2: 10.0.0.0/8 is in `allow` too (line 8); remove it from one of them\n"
    );
    folder.write("deny", "", 0o644);
    assert_eq!(folder.check(service(&both)).code, 0);
}
