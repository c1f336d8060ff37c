//! `synward reload` and `synward check --against-running`, against a fake appliance.

use std::fs;
use std::path::PathBuf;

use synward::config::config_facts::Facts;
use synward::config::{Abilities, Config};
use synward::observe::ControlServer;
use synward::observe::control_protocol::RunningConfiguration;
use tempfile::TempDir;

use crate::fake_appliance::FakeAppliance;
use crate::program_run::{ProgramRun, run_synward};

const FILE: &str = r#"
[[interface]]
name = "eth0"
side = "both"
[[service]]
name = "web"
addresses = ["192.0.2.10"]
ports = [80, 443]
"#;

/// A folder with a configuration and a control socket.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let secret = run_synward(&["secret"]).stdout;
        folder.write("secret", &secret);
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(folder.path("secret"), private).unwrap();
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Writes the configuration with this secret and control socket.
    fn configure(&self, text: &str) -> Config {
        let (control, secret) = (self.path("control.sock"), self.path("secret"));
        let head = format!("[appliance]\ncontrol = {control:?}\n[cookie]\nsecret = {secret:?}\n");
        self.write("synward.toml", &(head + text));
        Config::load(&self.path("synward.toml")).unwrap()
    }

    fn serve(&self, source: &std::sync::Arc<FakeAppliance>) -> ControlServer {
        ControlServer::start(&self.path("control.sock"), source.clone()).unwrap()
    }

    fn synward(&self, arguments: &[&str]) -> ProgramRun {
        let control = self.path("control.sock");
        let socket = ["--control", control.to_str().unwrap()];
        run_synward(&[arguments, &socket].concat())
    }

    fn compare(&self) -> ProgramRun {
        let file = self.path("synward.toml");
        self.synward(&[
            "check",
            "--config",
            file.to_str().unwrap(),
            "--against-running",
        ])
    }
}

fn running(config: &Config) -> RunningConfiguration {
    RunningConfiguration {
        facts: Facts::of(config),
        control_is_given: false,
        abilities: Abilities {
            workers: true,
            ..Abilities::default()
        },
    }
}

#[test]
fn reload_prints_what_changes_and_refusals_are_1() {
    let (folder, source) = (Folder::new(), FakeAppliance::new());
    let _server = folder.serve(&source);

    source.will_report(true, &["[[service]] web: mode always -> monitor", "b"]);
    let ran = folder.synward(&["reload"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert_eq!(ran.stdout, "[[service]] web: mode always -> monitor\nb\n");

    source.will_report(false, &["f.toml:3: `port` is unknown"]);
    let ran = folder.synward(&["reload"]);
    assert_eq!(ran.code, 1);
    assert_eq!(ran.stdout, "f.toml:3: `port` is unknown\n");
    assert_eq!(ran.stderr, "synward: reload refused; nothing changed\n");

    // It may change something later.
    source.will_not_report("it is not done after 15 s");
    let ran = folder.synward(&["reload"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert_eq!(ran.stderr, "synward: it is not done after 15 s\n");
}

#[test]
fn reload_without_a_process_is_an_error() {
    let ran = Folder::new().synward(&["reload"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.contains("not running"), "{}", ran.stderr);
}

#[test]
fn a_refused_reload_is_in_the_status() {
    let (folder, source) = (Folder::new(), FakeAppliance::new());
    let _server = folder.serve(&source);
    source.change(|snapshot| {
        snapshot.config_last_reload_successful = false;
        snapshot.config_last_reload = (1..=7).map(|line| format!("f.toml:{line}: no")).collect();
    });
    let text = folder.synward(&["status"]).stdout;
    for part in [
        "the last reload was refused; the previous configuration is in force\n",
        "    f.toml:5: no\n    and 2 more",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains("f.toml:6"), "{text}");
}

#[test]
fn a_file_is_compared_with_what_runs() {
    let (folder, source) = (Folder::new(), FakeAppliance::new());
    let config = folder.configure(FILE);
    let _server = folder.serve(&source);
    source.runs(running(&config));
    let ran = folder.compare();
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert_eq!(ran.stdout, "nothing changes\n");

    folder.configure(&(FILE.replace("443", "8443") + "mode = \"off\"\n"));
    let ran = folder.compare();
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let lines = "[[service]] web: mode always -> off\n[[service]] web: ports +8443 -443\n";
    assert_eq!(ran.stdout, lines);

    source.change(|snapshot| snapshot.config_file = folder.path("synward.toml"));
    let unnamed = folder.synward(&["check", "--against-running"]);
    assert_eq!((unnamed.code, unnamed.stdout.as_str()), (0, lines));
}

#[test]
fn everything_that_needs_a_restart_is_named() {
    let (folder, source) = (Folder::new(), FakeAppliance::new());
    let config = folder.configure(FILE);
    let _server = folder.serve(&source);
    source.runs(running(&config));
    let changed = FILE
        .replace("eth0", "eth1")
        .replace("[[service]]", "[flows]\ncapacity = 4096\n[[service]]")
        + "handoff = \"local\"\nmode = \"off\"\n";
    folder.configure(&changed);
    let ran = folder.compare();
    assert_eq!(ran.code, 1);
    let needing = ran
        .stdout
        .lines()
        .filter(|line| line.contains("needs a restart"));
    let needing: Vec<_> = needing
        .map(|line| line.split(':').next().unwrap())
        .collect();
    let expected = [
        "[[interface]] eth1",
        "[[service]] web",
        "[flows]",
        "[[interface]] eth0",
    ];
    assert_eq!(needing, expected, "{}", ran.stdout);
    assert!(ran.stdout.contains("[[service]] web: mode always -> off\n"));
    assert_eq!(
        ran.stderr,
        "synward: a reload would be refused and change nothing\n"
    );
}

#[test]
fn a_control_socket_of_the_command_line_is_not_compared() {
    let (folder, source) = (Folder::new(), FakeAppliance::new());
    let mut config = folder.configure(FILE);
    let _server = folder.serve(&source);
    config.appliance.control = "/elsewhere/control.sock".into();
    source.runs(running(&config));
    assert_eq!(folder.compare().code, 1);
    source.runs(RunningConfiguration {
        control_is_given: true,
        ..running(&config)
    });
    let ran = folder.compare();
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "nothing changes\n"));
}

#[test]
fn a_rotated_secret_is_a_difference_that_gives_nothing_away() {
    let (folder, source) = (Folder::new(), FakeAppliance::new());
    let config = folder.configure(FILE);
    let _server = folder.serve(&source);
    source.runs(running(&config));
    let old = fs::read_to_string(folder.path("secret")).unwrap();
    let new = run_synward(&["secret"]).stdout;
    folder.write("secret", &(new.clone() + &old));
    let ran = folder.compare();
    let expected = "[cookie]: secret another one issues cookies, 2 accepted (1 new, 0 gone)\n";
    assert_eq!((ran.code, ran.stdout.as_str()), (0, expected));
}

#[test]
fn a_bad_file_is_listed_as_check_does() {
    let (folder, source) = (Folder::new(), FakeAppliance::new());
    folder.configure(FILE);
    let _server = folder.serve(&source);
    folder.write("synward.toml", "[[service]]\nname = \"web\"\nport = 80\n");
    let (compared, file) = (folder.compare(), folder.path("synward.toml"));
    let checked = run_synward(&["check", "--config", file.to_str().unwrap()]);
    assert_eq!((compared.code, &compared.stdout), (1, &checked.stdout));
    assert!(
        compared.stdout.contains("synward.toml:3: "),
        "{}",
        compared.stdout
    );
}
