//! The secret file and the keys derived from it.

use std::fs;
use std::path::Path;

use crate::program_run::run_synward;
use crate::{INTERFACE, SERVICE, TestFolder};

#[test]
fn an_unreadable_secret_file_is_reported_once() {
    let ran = run_synward(&[
        "secret",
        "--service",
        "web",
        "--secret",
        "/etc/hostname/secret",
    ]);
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (
            1,
            "synward: the secret file /etc/hostname/secret cannot be read: Not a directory (os error 20)\n"
        )
    );
}

#[test]
fn a_wrong_secret_file_is_named() {
    let folder = TestFolder::new();
    let (a, b) = ("ab".repeat(32), "cd".repeat(32));
    let full = format!("{INTERFACE}{SERVICE}{}", folder.cookie());
    let check = |content: String, mode, expected: &str| {
        fs::remove_file(folder.0.path().join("secret")).unwrap();
        folder.write("secret", content, mode);
        let ran = folder.check(&full);
        assert_eq!(folder.shorten(&ran.stdout), expected);
        assert_eq!(ran.code, i32::from(!expected.contains("FILE: valid")));
    };
    const VALID: &str = "FILE: valid, 1 service, 1 interface\n";
    const CURE: &str = "write 64 hex digits (`synward secret`) or service:NAME:64 hex digits (`synward secret --service NAME`)";
    check(format!("{a}\n{b}\n"), 0o400, VALID);
    check(
        a.clone(),
        0o640,
        "FILE:10: the secret file DIR/secret has mode 0640, so others can access it; run: chmod 600 DIR/secret\n",
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

    fs::remove_file(folder.0.path().join("secret")).unwrap();
    let ran = folder.check(&full);
    let expected = "FILE:10: there is no secret file DIR/secret; create it: synward secret > DIR/secret; chmod 600 DIR/secret\n";
    assert_eq!(folder.shorten(&ran.stdout), expected);

    fs::create_dir(folder.0.path().join("secret")).unwrap();
    let ran = folder.check(&full);
    let expected = "FILE:10: the secret file DIR/secret is a directory; name a regular file\n";
    assert_eq!(folder.shorten(&ran.stdout), expected);
}

#[test]
fn secrets_are_generated_and_service_keys_derived() {
    let folder = TestFolder::new();
    let made = run_synward(&["secret"]);
    assert_eq!((made.stdout.len(), made.stdout.trim_end().len()), (65, 64));
    assert!(
        made.stdout
            .trim_end()
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit())
    );
    assert_ne!(made.stdout, run_synward(&["secret"]).stdout);

    let counted: String = (0..32).map(|byte| format!("{byte:02x}")).collect();
    let secret = folder.write("counted", counted, 0o600);
    let derive = |name: &str, from: &Path| {
        run_synward(&[
            "secret",
            "--service",
            name,
            "--secret",
            from.to_str().unwrap(),
        ])
    };
    let web = derive("web", &secret);
    assert_eq!((web.stdout.as_str(), web.code), (PINNED, 0));

    let narrow = folder.write("narrow", &web.stdout, 0o600);
    assert_eq!(derive("web", &narrow).stdout, web.stdout);
    let other = derive("mail", &narrow);
    let expected = "synward: DIR/narrow holds neither a secret nor a key of service \"mail\"; use the file that has the secret\n";
    assert_eq!(
        (folder.shorten(&other.stderr).as_str(), other.code),
        (expected, 1)
    );

    let absent = derive("web", &folder.0.path().join("absent"));
    let expected = "synward: there is no secret file DIR/absent; create it: synward secret > DIR/absent; chmod 600 DIR/absent\n";
    assert_eq!(
        (folder.shorten(&absent.stderr).as_str(), absent.code),
        (expected, 1)
    );
}

/// The key of service `web` from the secret 00 01 … 1f. It never changes; see secret/key_derivation.rs.
const PINNED: &str =
    "service:web:44c98a8d7c06d697cb1a235668ee000fd8875295ec06441990fbdf17f1052f74\n";

/// The first start of `run`, which would create the file, is what `deploy/test-package` tries.
#[test]
fn a_file_is_created_only_where_the_first_start_would_create_it() {
    let folder = TestFolder::new();
    let with_secret = format!("{INTERFACE}{SERVICE}{}", folder.cookie());
    let file = folder.write("f.toml", &with_secret, 0o644);
    let create = || {
        let ran = run_synward(&["secret", "--config", file.to_str().unwrap()]);
        let text = folder.shorten(&(ran.stdout + &ran.stderr));
        (ran.code, text)
    };
    assert_eq!(create(), (0, "DIR/secret exists\n".to_owned()));
    let secret = folder.0.path().join("secret");
    fs::remove_file(&secret).unwrap();
    let (code, text) = create();
    assert_eq!((code, secret.exists()), (1, false), "{text}");
    assert!(
        text.contains("there is no secret file DIR/secret"),
        "{text}"
    );
}
