//! `top --once`, and `top` without a terminal.

use std::sync::Arc;

use crate::control_socket::TestFolder;
use crate::fake_appliance::FakeAppliance;

#[test]
fn one_picture_as_text() {
    let (folder, source) = (TestFolder::new(), FakeAppliance::new());
    let _server = folder.serve(&source);
    let ran = folder.synward(&["top", "--once", "--interval", "0.1"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let head = "synward 0.1.0 serving, up 3 d 4 h, pid 4711\n";
    assert!(ran.stdout.starts_with(head), "{}", ran.stdout);
    for part in [">!web", " !mail", "workers busy: 0 (core 2) 87 %, 1 DEAD"] {
        assert!(ran.stdout.contains(part), "{part}");
    }
    assert!(!ran.stdout.contains("q quit"));
    assert!(ran.stdout.chars().all(|c| c == '\n' || !c.is_control()));

    source.change(|snapshot| snapshot.degraded.push("eth1 is down".into()));
    let ran = folder.synward(&["top", "--once", "--interval", "0.1"]);
    assert_eq!(ran.code, 3);
    assert!(ran.stdout.contains("\n  eth1 is down\n"));
}

#[test]
fn without_a_process_it_is_4() {
    let ran = TestFolder::new().synward(&["top", "--once"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (4, ""));
    assert!(ran.stderr.starts_with("synward: not running"));
}

#[test]
fn without_a_terminal_it_names_what_to_use() {
    let (folder, source) = (TestFolder::new(), FakeAppliance::new());
    let _server = folder.serve(&Arc::clone(&source));
    let ran = folder.synward(&["top"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(
        ran.stderr.contains("`synward top --once`"),
        "{}",
        ran.stderr
    );
}
