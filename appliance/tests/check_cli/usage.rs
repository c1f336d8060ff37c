//! Wrong use, completions and manual pages.

use crate::program_run::run_synward;

#[test]
fn wrong_use_exits_with_2() {
    let wrong: &[&[&str]] = &[
        &[],
        &["serve"],
        &["run"],
        &["check"],
        &["check", "--config", "f", "--example"],
        &["check", "--against-running", "--example"],
        &["secret", "--secret", "f"],
        &["secret", "--service", "Web"],
        &["secret", "--service", "web", "--config", "f"],
        &["mode", "web"],
        &["mode", "web", "sometimes"],
        &["deny"],
        &["deny", "add"],
        &["deny", "add", "web"],
        &["deny", "add", "192.0.2.7/24"],
        &["deny", "add", "::ffff:192.0.2.7"],
        &["deny", "add", "192.0.2.7", "--for", "0"],
        &["deny", "add", "192.0.2.7", "--for", "soon"],
        &["allow", "remove"],
        &["allow", "remove", "192.0.2.7", "--for", "1h"],
        &["allow", "list", "--service", "Web"],
        &["drain", "--timeout", "-1"],
        &["undrain", "--timeout", "1"],
        &["tune", "--config", "f", "--dry-run", "--undo"],
        &["completions", "klingon"],
        &["top"],
        &["top", "--once", "--interval", "0"],
    ];
    for arguments in wrong {
        let ran = run_synward(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.stderr);
        assert_eq!(ran.stdout, "");
    }
}

/// What `run` starts for itself is no command for people.
#[test]
fn nothing_lists_the_runner_of_programs() {
    for arguments in [&[][..], &["--help"], &["completions", "bash"], &["man"]] {
        let ran = run_synward(arguments);
        let said = ran.stdout + &ran.stderr;
        assert!(said.contains("drain"), "{arguments:?}: {said}");
        assert!(!said.contains("event-commands"), "{arguments:?}: {said}");
    }
}

/// The programs of other interfaces may be pinned.
#[test]
fn unload_says_of_which_interface_nothing_is_pinned() {
    let place =
        "/nonexistent: it is not on a BPF file system; pins of another mount are not seen here\n";
    for (interface, said) in [
        (
            &["--interface", "eth9"][..],
            "nothing of eth9 is pinned in ",
        ),
        (&[], "nothing is pinned in "),
    ] {
        let ran = run_synward(&[&["unload", "--pin", "/nonexistent"], interface].concat());
        assert_eq!((ran.code, ran.stdout), (0, format!("{said}{place}")));
    }
}

#[test]
fn no_command_panics_if_stdout_and_stderr_are_full() {
    let full = || {
        let file = std::fs::OpenOptions::new().write(true).open("/dev/full");
        std::process::Stdio::from(file.unwrap())
    };
    let commands: &[&[&str]] = &[
        &["check", "--config", "no-such-file"],
        &["check", "--example"],
        &["run", "--config", "no-such-file"],
        &["status", "--control", "/nowhere/control.sock"],
        &["flows", "--control", "/nowhere/control.sock"],
        &["secret"],
        &["doctor"],
        &["tune", "--config", "no-such-file", "--dry-run"],
        &["completions", "bash"],
        &["man"],
        &["top"],
    ];
    for arguments in commands {
        let status = std::process::Command::new(env!("CARGO_BIN_EXE_synward"))
            .args(*arguments)
            .stdout(full())
            .stderr(full())
            .status()
            .unwrap();
        let code = status.code().unwrap();
        assert!((1..=4).contains(&code), "{arguments:?} exits with {code}");
    }
}

#[test]
fn doctor_and_tune_list_the_problems_of_a_configuration() {
    for command in ["doctor", "tune"] {
        let ran = run_synward(&[command, "--config", "no-such-file"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
        assert!(
            ran.stderr
                .starts_with("no-such-file: there is no such file"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn completions_and_manual_pages_are_printed() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = run_synward(&["completions", shell]);
        assert_eq!(ran.code, 0);
        assert!(ran.stdout.contains("keep-steering"), "{shell}");
    }
    assert!(run_synward(&["man"]).stdout.contains(".TH synward 1"));
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        run_synward(&["man", "--folder", folder.path().to_str().unwrap()]).code,
        0
    );
    for page in ["synward.1", "synward-run.1", "synward-completions.1"] {
        assert!(folder.path().join(page).is_file(), "{page}");
    }
}
