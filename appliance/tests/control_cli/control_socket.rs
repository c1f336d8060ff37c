//! The control socket and its commands.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use synward::observe::{ApplianceHandle as _, ControlError, ControlServer};
use tempfile::TempDir;

use crate::CLIENT_TIMEOUT;
use crate::fake_appliance::FakeAppliance;
use crate::program_run::{ProgramRun, run_synward};

/// A temporary directory for a control socket.
pub(crate) struct TestFolder(TempDir);

impl TestFolder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Path of the socket, in a directory that does not exist yet.
    pub(crate) fn control(&self) -> PathBuf {
        self.0.path().join("run/control.sock")
    }

    pub(crate) fn serve(&self, source: &Arc<FakeAppliance>) -> ControlServer {
        ControlServer::start(&self.control(), source.clone()).unwrap()
    }

    pub(crate) fn synward(&self, arguments: &[&str]) -> ProgramRun {
        let control = self.control();
        let socket = ["--control", control.to_str().unwrap()];
        run_synward(&[arguments, &socket].concat())
    }
}

/// Sends `text`, shuts down the write side, and returns the response.
fn send_raw(control: &Path, text: &[u8]) -> String {
    let mut stream = UnixStream::connect(control).unwrap();
    stream.write_all(text).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn status_without_a_process_is_4() {
    let folder = TestFolder::new();
    for arguments in [&["status"][..], &["status", "--json"]] {
        let ran = folder.synward(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (4, ""));
        assert!(
            ran.stderr
                .starts_with("synward: not running (nobody listens on /")
        );
        assert!(
            ran.stderr
                .contains("start it with `synward run --config FILE`")
        );
        assert_eq!(ran.stderr.lines().count(), 1);
    }
    for arguments in [
        &["flows"][..],
        &["mode", "web", "off"],
        &["deny", "add", "192.0.2.7"],
        &["allow", "list"],
        &["drain"],
        &["undrain"],
    ] {
        let ran = folder.synward(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
        assert!(ran.stderr.contains("not running"));
    }
}

#[test]
fn status_of_a_path_that_cannot_be_a_socket_is_4() {
    let folder = TestFolder::new();
    let long = folder.0.path().join("x".repeat(120));
    let below_a_file = Path::new("/etc/hostname/control.sock");
    for path in [&long, below_a_file] {
        let ran = run_synward(&["status", "--control", path.to_str().unwrap()]);
        assert_eq!(ran.code, 4, "{}", ran.stderr);
    }
}

/// `status`, `top` and `capture` know three states, and what they cannot ask is none of these.
#[test]
fn another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        // The harness captures what the macros print, and shows it for failures only.
        std::io::stderr()
            .write_all(b"SKIPPED: a test that needs root\n")
            .unwrap();
        return;
    }
    let (folder, source) = (TestFolder::new(), FakeAppliance::new());
    let _server = folder.serve(&source);
    let everybody = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.0.path(), everybody.clone()).unwrap();
    // Those above the built program may be closed to other users.
    let program = folder.0.path().join("synward");
    fs::copy(env!("CARGO_BIN_EXE_synward"), &program).unwrap();
    fs::set_permissions(&program, everybody).unwrap();
    let capture = ["capture", "--service", "web", "--out", "/dev/null"];
    for (arguments, code) in [
        (&["status"][..], 2),
        (&["status", "--json"], 2),
        (&["top", "--once"], 2),
        (&capture, 2),
        (&["flows"], 1),
        (&["mode", "web", "off"], 1),
        (&["allow", "list"], 1),
        (&["reload"], 1),
        (&["drain"], 1),
        (&["undrain"], 1),
        (&["check", "--against-running"], 1),
    ] {
        let mut command = std::process::Command::new(&program);
        let command = command.args(arguments).arg("--control");
        let ran = command.arg(folder.control()).uid(65534).output().unwrap();
        assert_eq!(ran.status.code(), Some(code), "{arguments:?}");
        let said = String::from_utf8(ran.stderr).unwrap();
        assert!(said.starts_with("synward: not allowed to use /"), "{said}");
        assert!(said.contains("run this as root"), "{said}");
        assert_eq!((said.lines().count(), ran.stdout.len()), (1, 0));
    }
}

#[test]
fn status_with_a_stale_socket_file_is_4() {
    let folder = TestFolder::new();
    fs::create_dir(folder.control().parent().unwrap()).unwrap();
    drop(UnixListener::bind(folder.control()).unwrap());
    assert!(folder.control().exists());
    assert_eq!(folder.synward(&["status"]).code, 4);
}

#[test]
fn status_distinguishes_serving_from_degraded() {
    let (folder, source) = (TestFolder::new(), FakeAppliance::new());
    let _server = folder.serve(&source);

    let ran = folder.synward(&["status"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(
        ran.stdout
            .starts_with("synward 0.1.0 serving, up 3 d 4 h, pid 4711, ")
    );
    assert!(ran.stdout.contains("12,000,000"));

    source.change(|snapshot| snapshot.degraded.push("eth1 is down".into()));
    let ran = folder.synward(&["status"]);
    assert_eq!(ran.code, 3);
    assert!(ran.stdout.contains("degraded: eth1 is down\n"));

    source.change(|snapshot| {
        snapshot.degraded.clear();
        snapshot.serving = false;
    });
    let ran = folder.synward(&["status", "--json"]);
    assert_eq!(ran.code, 3);
}

#[test]
fn what_a_hanging_process_answers_is_no_state() {
    let (folder, source) = (TestFolder::new(), FakeAppliance::new());
    let _server = folder.serve(&source);
    source.hangs(Some("the control thread has made no round for 7 s"));
    for (arguments, code) in [
        (&["status"][..], 3),
        (&["status", "--json"], 3),
        (&["top", "--once"], 3),
        (&["flows"], 1),
        (&["mode", "web", "off"], 1),
        (&["deny", "add", "192.0.2.7"], 1),
        (&["drain"], 1),
        (&["reload"], 1),
    ] {
        let ran = folder.synward(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{arguments:?}");
        let expected = "synward: runs, but its state cannot be read: the control thread has made no round for 7 s\n";
        assert_eq!(ran.stderr, expected);
    }
    source.hangs(None);
    assert_eq!(folder.synward(&["status"]).code, 0);
    assert_eq!(source.snapshot().services[0].mode, "always");
}

#[test]
fn status_as_json_has_stable_names() {
    let (folder, source) = (TestFolder::new(), FakeAppliance::new());
    let _server = folder.serve(&source);
    let ran = folder.synward(&["status", "--json"]);
    assert_eq!(ran.code, 0);
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    for (pointer, value) in [
        ("/version", "\"0.1.0\""),
        ("/pid", "4711"),
        ("/serving", "true"),
        ("/degraded", "[]"),
        ("/config_last_reload_successful", "true"),
        ("/services/0/name", "\"web\""),
        ("/services/0/mode", "\"always\""),
        ("/services/0/counters/syn", "12000000"),
        ("/services/0/counters/drop_invalid_cookie", "3000000"),
        ("/services/0/handoffs/timed_out", "3"),
        ("/services/0/profiles/0/window_scale", "7"),
        ("/interfaces/0/queues/0/responder", "\"afxdp\""),
        ("/interfaces/0/queues/0/counters/rx_ring_full", "4"),
        ("/interfaces/0/queues/0/frames/fill", "2048"),
        ("/interfaces/0/queues/1/zero_copy", "null"),
        ("/workers/0/core", "2"),
        ("/flows/capacity", "1048576"),
        ("/handoff_seconds/count", "4"),
    ] {
        let found = json.pointer(pointer).map(ToString::to_string);
        assert_eq!(found.as_deref(), Some(value), "{pointer}");
    }
}

#[test]
fn flows_are_listed_and_counted() {
    let (folder, source) = (TestFolder::new(), FakeAppliance::new());
    let _server = folder.serve(&source);

    let ran = folder.synward(&["flows"]);
    assert_eq!(ran.code, 0);
    assert_eq!(ran.stdout.lines().count(), 4);
    assert!(ran.stdout.contains("opening at worker 1"));
    assert_eq!(ran.stderr, "synward: 3 of 100 flows; more with --limit\n");

    let ran = folder.synward(&["flows", "--json", "--limit", "2"]);
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 2);
    assert_eq!(json[0]["state"], "opening");
    assert_eq!(json[1]["client"], "203.0.113.200:61234");
    assert_eq!(json[1]["idle_seconds"], 3725.0);
}

#[test]
fn modes_are_set_and_refusals_list_the_services() {
    let (folder, source) = (TestFolder::new(), FakeAppliance::new());
    let _server = folder.serve(&source);

    let ran = folder.synward(&["mode", "web", "monitor"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert_eq!(ran.stdout, "web: monitor, until the next reload or start\n");
    assert!(
        folder
            .synward(&["status"])
            .stdout
            .contains("web      monitor")
    );

    let ran = folder.synward(&["mode", "wbe", "off"]);
    assert_eq!(ran.code, 1);
    let expected = "synward: there is no service \"wbe\"; there is web, mail\n";
    assert_eq!(ran.stderr, expected);

    let ran = folder.synward(&["mode", "mail", "off"]);
    assert_eq!(ran.code, 1);
    assert_eq!(
        ran.stderr,
        "synward: mail cannot change its mode today; try tomorrow\n"
    );
}

#[test]
fn invalid_requests_are_refused() {
    let (folder, source) = (TestFolder::new(), FakeAppliance::new());
    let _server = folder.serve(&source);
    let control = folder.control();
    for (request, part) in [
        (&b"\n"[..], "this is not a request"),
        (b"{\"command\":\"fly\"}\n", "`fly`"),
        (b"{\"command\":\"flows\"}\n", "`limit`"),
        (b"\xff\xfe\n", "this is not a request"),
        (
            b"{\"command\":\"mode\",\"service\":\"web\",\"mode\":\"sometimes\"}",
            "use \\\"always\\\"",
        ),
    ] {
        let answer = send_raw(&control, request);
        assert!(answer.starts_with("{\"error\":"), "{answer}");
        assert!(answer.contains(part), "{answer}");
        assert!(answer.ends_with("}\n"), "{answer}");
    }
    assert!(send_raw(&control, &[b'['; 100_000]).contains("this is not a request"));
    assert_eq!(send_raw(&control, b""), "");
    let status = send_raw(&control, b"{\"command\":\"status\"}");
    assert!(status.starts_with("{\"status\":{\"schema_version\":1,\"version\":\"0.1.0\""));
}

#[test]
fn a_stuck_client_does_not_block_others() {
    let (folder, source) = (TestFolder::new(), FakeAppliance::new());
    let stops = || {
        let server = folder.serve(&source);
        let stuck: Vec<_> = (0..20)
            .map(|_| {
                let mut stream = UnixStream::connect(folder.control()).unwrap();
                stream.write_all(b"{\"command\":").unwrap();
                stream
            })
            .collect();
        assert_eq!(folder.synward(&["status"]).code, 0);
        let begun = Instant::now();
        drop(server);
        drop(stuck);
        begun.elapsed() < CLIENT_TIMEOUT
    };
    // A busy machine makes one stop slow, and what waits for a client makes each slow.
    assert!((0..5).any(|_| stops()), "stopping waited for a client");
}

#[test]
fn clients_beyond_the_limit_wait() {
    let (folder, source) = (TestFolder::new(), FakeAppliance::new());
    let _server = folder.serve(&source);
    let mut stuck: Vec<_> = (0..40)
        .map(|_| UnixStream::connect(folder.control()).unwrap())
        .collect();
    assert_eq!(folder.synward(&["status"]).code, 0);
    // The server has closed the first connections.
    stuck[0]
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    assert_eq!(stuck[0].read(&mut [0]).unwrap(), 0);
}

#[test]
fn the_socket_is_private_and_removed_on_stop() {
    let (folder, source) = (TestFolder::new(), FakeAppliance::new());
    let server = folder.serve(&source);
    let control = folder.control();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&control), 0o600);
    assert_eq!(mode(control.parent().unwrap()), 0o755);
    drop(server);
    assert!(!control.exists());
}

#[test]
fn a_stale_socket_file_is_replaced_and_a_live_one_is_not() {
    let (folder, source) = (TestFolder::new(), FakeAppliance::new());
    let control = folder.control();
    fs::create_dir(control.parent().unwrap()).unwrap();
    drop(UnixListener::bind(&control).unwrap());

    let server = folder.serve(&source);
    let error = ControlServer::start(&control, source.clone()).unwrap_err();
    let pid = std::process::id();
    assert!(
        error
            .to_string()
            .starts_with(&format!("synward already runs (pid {pid}) ")),
        "{error}"
    );
    assert_eq!(folder.synward(&["status"]).code, 0);

    // A file of somebody else is not removed.
    fs::remove_file(&control).unwrap();
    fs::write(&control, "mine").unwrap();
    drop(server);
    assert_eq!(fs::read(&control).unwrap(), b"mine");
    let error = ControlServer::start(&control, source).unwrap_err();
    assert!(matches!(error, ControlError::NotASocket(_)), "{error}");
}

#[test]
fn a_path_that_cannot_be_a_socket_is_reported() {
    let folder = TestFolder::new();
    let long = folder.0.path().join("x".repeat(120));
    let error = ControlServer::start(&long, FakeAppliance::new()).unwrap_err();
    assert!(matches!(error, ControlError::TooLong(_)), "{error}");
    let below_a_file = folder.0.path().join("file");
    fs::write(&below_a_file, "").unwrap();
    let error = ControlServer::start(&below_a_file.join("c"), FakeAppliance::new()).unwrap_err();
    assert!(matches!(error, ControlError::Folder(..)), "{error}");
}
