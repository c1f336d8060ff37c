//! `synward capture`: what it refuses. What it captures is shown by deploy/tests/39_capture.py.

use crate::control_socket::TestFolder;
use crate::fake_appliance::FakeAppliance;

const OUT: [&str; 2] = ["--out", "/dev/null"];

#[test]
fn an_unknown_service_or_reason_is_an_error_that_lists_the_known_ones() {
    let (folder, source) = (TestFolder::new(), FakeAppliance::new());
    let _server = folder.serve(&source);
    let ran = folder.synward(&[&["capture", "--service", "wbe"][..], &OUT].concat());
    let expected = "synward: there is no service \"wbe\"; there is web, mail\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (1, expected));

    for reason in ["bad_cookie", "challenged,bad_cookie", ""] {
        let arguments = ["capture", "--service", "web", "--reason", reason];
        let ran = folder.synward(&[&arguments[..], &OUT].concat());
        assert_eq!(ran.code, 2, "{reason}: {}", ran.stderr);
        for known in [
            "challenged",
            "proven",
            "dropped",
            "invalid_cookie",
            "passed",
        ] {
            assert!(ran.stderr.contains(known), "{known}: {}", ran.stderr);
        }
    }
}

#[test]
fn without_a_process_the_exit_code_is_4() {
    let folder = TestFolder::new();
    let ran = folder.synward(&[&["capture", "--service", "web"][..], &OUT].concat());
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    assert!(ran.stderr.contains("not running"), "{}", ran.stderr);
}

#[test]
fn a_capture_is_bounded_and_names_a_service() {
    let folder = TestFolder::new();
    for wrong in [
        &["capture"][..],
        &["capture", "--service", "web", "--count", "0"],
        &["capture", "--service", "web", "--count", "1000000000"],
        &["capture", "--service", "web", "--seconds", "0"],
        &["capture", "--service", "no service"],
    ] {
        let ran = folder.synward(wrong);
        assert_eq!(ran.code, 2, "{wrong:?}: {}", ran.stderr);
    }
}

/// The fake appliance has no XDP program.
#[test]
fn without_the_program_nothing_is_written() {
    let (folder, source) = (TestFolder::new(), FakeAppliance::new());
    let _server = folder.serve(&source);
    let ran = folder.synward(&["capture", "--service", "web"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("XDP program (id 0)"), "{}", ran.stderr);
}
