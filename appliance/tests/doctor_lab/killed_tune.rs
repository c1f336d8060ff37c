//! `synward tune` that is killed, and what is left of it: whatever happened, `--undo` restores what was there.

use std::fs;
use std::time::{Duration, Instant};

use crate::lab::{HERE, Lab};

/// Undoes. While a command of a killed run still runs, it is refused.
fn undo(lab: &Lab) -> (i32, String) {
    let record = lab.record();
    let arguments = ["tune", "--undo", "--state", record.to_str().unwrap()];
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let output = lab.run(&arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        if error.contains("wait until it has ended") && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        }
        let text = String::from_utf8(output.stdout).unwrap();
        return (output.status.code().unwrap(), text + &error);
    }
}

#[test]
fn a_killed_run_is_undone() {
    for after in [false, true] {
        let lab = Lab::new();
        lab.plant();
        // A device on top, whose MTU the kernel lowers with that of its parent.
        let upper = ["link", "add", "link", HERE, "name", "sw-upper"];
        lab.ip(&[&upper[..], &["type", "macvlan"]].concat());
        lab.ip(&["link", "set", "sw-upper", "mtu", "9000"]);
        let planted = lab.state();
        assert!(planted.matches("mtu 9000").count() == 2, "{planted}");
        for at in 0.. {
            let killed = lab.killed_tune(at, after, &[]);
            let what = format!("command {at}, killed after it: {after}");
            // Another run must not take what is half tuned for what was there.
            if at % 2 == 1 {
                lab.killed_tune(99, after, &[]);
            }
            let (code, text) = undo(&lab);
            assert_eq!(code, 0, "{what}: {text}");
            assert_eq!(lab.state(), planted, "{what}: {text}");
            assert!(!lab.record().exists(), "{what}");
            if !killed {
                assert!(at >= 4, "all {at} commands ran");
                break;
            }
        }
    }
}

#[test]
fn a_killed_undo_is_completed() {
    for after in [false, true] {
        let lab = Lab::new();
        lab.plant();
        let planted = lab.state();
        assert_eq!(lab.tune(&[]).0, 0);
        let mut kills = 0;
        while lab.killed_tune(kills % 2, after, &["--undo"]) {
            kills += 1;
            // The command that outlives it ends.
            undo_is_possible(&lab);
            assert!(kills < 9);
        }
        let (code, text) = undo(&lab);
        assert_eq!(code, 0, "{text}");
        assert_eq!(lab.state(), planted, "{kills} kills: {text}");
        assert!(!lab.record().exists() && kills >= 2, "{kills} kills");
    }
}

/// Waits until no command of a killed run holds the record.
fn undo_is_possible(lab: &Lab) {
    let lock = lab.record().with_extension("json.lock");
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        let free = std::process::Command::new("flock")
            .args(["--nonblock", lock.to_str().unwrap(), "true"])
            .status();
        if free.unwrap().success() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{} is locked", lock.display());
}

/// Checks that `tune` fails because its record cannot be written, and says why.
fn is_refused(lab: &Lab, tune: &[&str], cause: &str) {
    let refused = lab.run(tune);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("tune.json") && said.contains(cause), "{said}");
}

/// As after a disk error: the file system of the record is read-only.
#[test]
fn what_is_recorded_on_a_file_system_that_became_read_only_is_restored() {
    let lab = Lab::new();
    lab.plant();
    let planted = lab.state();
    let folder = tempfile::tempdir().unwrap();
    let _mount = Mount::tmpfs(&folder);
    let record = folder.path().join("tune.json");
    let config = lab.config();
    let (config, record) = (config.to_str().unwrap(), record.to_str().unwrap());
    let tune = ["tune", "--config", config, "--state", record];
    Mount::set(&folder, "remount,ro");
    let nothing = lab.run(&["tune", "--undo", "--state", record]);
    let said = String::from_utf8(nothing.stdout).unwrap();
    assert!(said.starts_with("# nothing to undo"), "{said}");
    assert_eq!(nothing.status.code(), Some(0));
    Mount::set(&folder, "remount,rw");
    assert_eq!(lab.run(&tune).status.code(), Some(0));
    Mount::set(&folder, "remount,ro");
    is_refused(&lab, &tune, "Read-only");

    let undone = lab.run(&["tune", "--undo", "--state", record]);
    let said = String::from_utf8(undone.stderr).unwrap();
    assert_eq!(undone.status.code(), Some(1), "{said}");
    assert!(
        said.contains("what could be restored is restored"),
        "{said}"
    );
    assert_eq!(lab.state(), planted);
    Mount::set(&folder, "remount,rw");
    assert_eq!(
        lab.run(&["tune", "--undo", "--state", record])
            .status
            .code(),
        Some(0)
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn without_room_for_a_record_nothing_is_changed_and_everything_is_undone() {
    let lab = Lab::new();
    lab.plant();
    let planted = lab.state();
    let folder = tempfile::tempdir().unwrap();
    let _mount = Mount::tmpfs(&folder);
    let record = folder.path().join("tune.json");
    let config = lab.config();
    let (config, record) = (config.to_str().unwrap(), record.to_str().unwrap());
    let tune = ["tune", "--config", config, "--state", record];
    let fill = || {
        // ENOSPC is what this is for.
        let _ = fs::write(folder.path().join("full"), vec![0; 1 << 20]);
    };
    fill();
    is_refused(&lab, &tune, "No space");
    assert_eq!(lab.state(), planted);
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        1,
        "only what fills it"
    );

    fs::remove_file(folder.path().join("full")).unwrap();
    assert_eq!(lab.run(&tune).status.code(), Some(0));
    fill();
    let undone = lab.run(&["tune", "--undo", "--state", record]);
    let said = String::from_utf8(undone.stderr).unwrap();
    assert_eq!(undone.status.code(), Some(0), "{said}");
    assert_eq!(lab.state(), planted);
}

/// As in `synward tune … | head -1`.
#[test]
fn without_a_reader_a_dry_run_ends_an_undo_goes_on_and_a_run_stops() {
    let lab = Lab::new();
    lab.plant();
    let planted = lab.state();
    let (config, record) = (lab.config(), lab.record());
    let (config, record) = (config.to_str().unwrap(), record.to_str().unwrap());
    let tune = ["tune", "--config", config, "--state", record];
    let dry = lab.run_unread(&[&tune[..], &["--dry-run"]].concat());
    assert_eq!(dry, (Some(0), String::new()));
    let (code, error) = lab.run_unread(&tune);
    assert_eq!(code, Some(1));
    assert!(
        error.starts_with("synward: cannot write to stdout"),
        "{error}"
    );
    assert_eq!(
        lab.state(),
        planted,
        "a command that cannot be shown is not run"
    );
    assert_eq!(lab.tune(&[]).0, 0);
    let undone = lab.run_unread(&["tune", "--undo", "--state", record]);
    assert_eq!(undone, (Some(0), String::new()));
    assert_eq!(lab.state(), planted);
    assert!(!lab.record().exists());
}

/// A small file system of its own.
struct Mount<'a>(&'a tempfile::TempDir);

impl<'a> Mount<'a> {
    fn tmpfs(at: &'a tempfile::TempDir) -> Self {
        Self::run("mount", &["-t", "tmpfs", "-o", "size=64k", "none"], at);
        Self(at)
    }

    fn set(at: &tempfile::TempDir, options: &str) {
        Self::run("mount", &["-o", options], at);
    }

    fn run(program: &str, arguments: &[&str], at: &tempfile::TempDir) {
        let mut command = std::process::Command::new(program);
        let status = command.args(arguments).arg(at.path()).status().unwrap();
        assert!(status.success(), "{program} {arguments:?}");
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg(self.0.path())
            .status();
    }
}
