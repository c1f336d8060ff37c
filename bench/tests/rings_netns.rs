//! `bench rings` in a network namespace of its own. Needs root, as `bench` does; fails without, unless
//! SYNWARD_SKIP_ROOT_TESTS is set.
#![allow(clippy::unwrap_used)]

use std::process::Command;

/// The output of `bench rings` with these arguments; `None` without root.
fn rings(arguments: &[&str]) -> Option<String> {
    if !root() {
        return None;
    }
    let bench = Command::new(env!("CARGO_BIN_EXE_bench"))
        .arg("rings")
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&bench.stderr);
    assert!(bench.status.success(), "{said}");
    Some(String::from_utf8(bench.stdout).unwrap())
}

/// Bursts exceed the rings at times.
#[test]
fn over_many_frames_none_is_lost_to_its_port() {
    if let Some(printed) = rings(&["--packets", "300k"]) {
        assert!(printed.contains("all at home at the end"), "{printed}");
    }
}

#[test]
fn both_loops_answer_what_they_get() {
    if let Some(printed) = rings(&["--rounds", "1", "--batches", "5"]) {
        assert!(printed.contains("median ratio"), "{printed}");
    }
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
