//! `synward doctor` and `synward tune` on a machine with planted faults: a network namespace with a veth whose other end is
//! elsewhere. Needs root.
#![allow(clippy::unwrap_used)]

#[path = "../steering_veth/foreign_program.rs"]
#[allow(dead_code, reason = "another test attaches with a link")]
mod foreign_program;
mod killed_tune;
mod lab;

use serde_json::Value;

use lab::{HERE, Lab};

/// The faults of [`Lab::plant`] that `tune` mends: id and command.
fn mended_by_tune(lab: &Lab) -> [(&'static str, String); 4] {
    [
        (
            "kernel.syncookies",
            "sysctl -w net.ipv4.tcp_syncookies=1".into(),
        ),
        (
            "bpffs.mount",
            format!("mount -t bpf bpf {}", lab.bpffs().display()),
        ),
        ("nic.mtu", format!("ip link set {HERE} mtu 3818")),
        ("nic.vlan-offload", format!("ethtool -K {HERE} rxvlan off")),
    ]
}

/// The finding with this id.
fn finding<'a>(report: &'a Value, id: &str) -> &'a Value {
    let mut findings = report.as_array().unwrap().iter();
    findings
        .find(|finding| finding["id"] == id)
        .unwrap_or_else(|| panic!("no {id} in {report:#}"))
}

#[test]
fn doctor_finds_each_planted_fault_tune_mends_it_and_undo_restores_it() {
    let lab = Lab::new();
    let healthy = lab.doctor();
    for (id, _) in mended_by_tune(&lab) {
        // The pin folder is not on a BPF file system from the start.
        let expected = if id == "bpffs.mount" { "fail" } else { "ok" };
        assert_eq!(finding(&healthy, id)["status"], expected, "{id}");
    }
    assert_eq!(finding(&healthy, "xdp.occupied")["status"], "ok");

    lab.plant();
    let planted = lab.state();
    let report = lab.doctor();
    for (id, command) in mended_by_tune(&lab) {
        let found = finding(&report, id);
        assert_ne!(found["status"], "ok", "{found:#}");
        assert_eq!(found["command"], command, "{found:#}");
        assert_eq!(found["tune"], true);
    }
    let occupied = finding(&report, "xdp.occupied");
    assert_eq!(occupied["status"], "fail");
    let what = occupied["what"].as_str().unwrap();
    assert!(
        what.contains("XDP program drop_all (id") && what.contains("nothing holds it"),
        "{what}"
    );
    assert_eq!(
        occupied["command"],
        format!("ip link set {HERE} xdpgeneric off")
    );
    assert_eq!(lab.state(), planted, "doctor changes nothing");

    let (code, dry) = lab.tune(&["--dry-run"]);
    assert_eq!(code, 0);
    assert_eq!(lab.state(), planted, "a dry run changes nothing");
    for (_, command) in mended_by_tune(&lab) {
        assert!(dry.lines().any(|line| line == command), "{command}: {dry}");
    }

    let (code, text) = lab.tune(&[]);
    assert_eq!(
        (code, &text),
        (0, &dry),
        "tune runs what the dry run printed"
    );
    assert!(text.contains("# left to you: xdp.occupied"), "{text}");
    let report = lab.doctor();
    for (id, _) in mended_by_tune(&lab) {
        assert_eq!(finding(&report, id)["status"], "ok", "{id}");
    }
    let (code, again) = lab.tune(&[]);
    assert_eq!(code, 0);
    assert!(again.starts_with("# nothing to change"), "{again}");

    let (code, undone) = lab.tune(&["--undo"]);
    assert_eq!(code, 0, "{undone}");
    assert_eq!(lab.state(), planted, "{undone}");
    assert!(!lab.record().exists());
    let (_, nothing) = lab.tune(&["--undo"]);
    assert!(nothing.starts_with("# nothing to undo"), "{nothing}");
}

#[test]
fn undo_leaves_alone_what_somebody_changed_and_what_is_in_use() {
    let lab = Lab::new();
    lab.plant();
    assert_eq!(lab.tune(&[]).0, 0);
    lab.ip(&["link", "set", HERE, "mtu", "1400"]);
    let pin = lab.bpffs().join("guard");
    foreign_program::pin(&foreign_program::load("guard"), &pin);

    let (code, text) = lab.tune(&["--undo"]);
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("nic.mtu: not restored: it was 3818") && text.contains("somebody changed"),
        "{text}"
    );
    assert!(text.contains("holds what is pinned there"), "{text}");
    assert!(lab.state().contains("mtu 1400"));

    std::fs::remove_file(pin).unwrap();
    lab.ip(&["link", "set", HERE, "mtu", "9000"]);
    let (code, text) = lab.tune(&["--undo"]);
    assert_eq!(code, 0, "{text}");
    assert!(!lab.record().exists());
}

/// As with `pin = "/run/synward"`: a mount on /run would hide what every other program has there.
#[test]
fn nothing_is_mounted_over_files() {
    let lab = Lab::new();
    let file = lab.bpffs().join("file");
    std::fs::write(&file, "").unwrap();
    let report = lab.doctor();
    let found = finding(&report, "bpffs.mount");
    assert_eq!(
        (&found["status"], found["tune"].as_bool()),
        (&"fail".into(), Some(false))
    );
    assert_eq!(found["command"], Value::Null);
    let (code, text) = lab.tune(&[]);
    assert_eq!(code, 0, "{text}");
    assert!(!text.contains("mount -t bpf"), "{text}");
    assert!(text.contains("# left to you: bpffs.mount"), "{text}");
    assert!(file.exists());
    assert_eq!(lab.tune(&["--undo"]).0, 0);
}

#[test]
fn without_root_doctor_reports_and_tune_refuses() {
    let lab = Lab::new();
    lab.plant();
    let planted = lab.state();
    let (code, text, _) = lab.as_nobody(&["doctor"]);
    assert_eq!(code, 1, "{text}");
    let line = |id: &str| text.lines().find(|line| line.contains(id)).unwrap();
    assert!(line(" capabilities ").starts_with("warn"), "{text}");
    assert!(line(" nic.mtu ").starts_with("fail"), "{text}");
    let hidden = line(" xdp.occupied ");
    assert!(
        hidden.starts_with("warn") && hidden.contains("only root may see"),
        "{text}"
    );
    let (code, _, error) = lab.as_nobody(&["tune"]);
    assert_eq!(code, 1);
    assert!(error.contains("run it as root"), "{error}");
    let (code, dry, _) = lab.as_nobody(&["tune", "--dry-run"]);
    assert_eq!(code, 0);
    assert!(dry.contains("rxvlan off"), "{dry}");
    assert_eq!(lab.state(), planted);
}

#[test]
fn the_program_of_a_running_synward_is_no_occupant() {
    let lab = Lab::new();
    assert_eq!(lab.tune(&[]).0, 0, "mounts the BPF file system");
    let running = lab.start();
    let report = lab.doctor();
    let own = finding(&report, "xdp.occupied");
    assert_eq!(own["status"], "ok", "{own:#}");
    assert!(own["what"].as_str().unwrap().contains("own program"));
    running.stop();
    let report = lab.doctor();
    let what = &finding(&report, "xdp.occupied")["what"];
    assert_eq!(what, "no XDP program is attached");
    assert_eq!(lab.tune(&["--undo"]).0, 0);
}

#[test]
fn without_a_configuration_every_port_is_checked() {
    let lab = Lab::new();
    let (code, text) = lab.synward(&["doctor"]);
    assert!([0, 1, 3].contains(&code), "{text}");
    assert!(text.contains(HERE) && !text.contains(" lo "), "{text}");
}
