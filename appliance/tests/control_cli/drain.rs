//! `synward drain` and `synward undrain`.

use std::time::Duration;

use synward::observe::{ApplianceHandle as _, DrainPhase};

use crate::control_socket::TestFolder;
use crate::fake_appliance::FakeAppliance;

/// Waits until the fake appliance drains, and then changes its state.
fn when_draining(
    source: &std::sync::Arc<FakeAppliance>,
    change: impl FnOnce(&FakeAppliance) + Send + 'static,
) -> std::thread::JoinHandle<()> {
    let source = source.clone();
    std::thread::spawn(move || {
        while source.snapshot().drain.is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        change(&source);
    })
}

fn end_with(flows: u64) -> impl FnOnce(&FakeAppliance) + Send + 'static {
    move |source| {
        source.change(|snapshot| {
            let drain = snapshot.drain.as_mut().unwrap();
            (drain.phase, drain.flows, drain.openings) = (DrainPhase::Ended, flows, 0);
        });
    }
}

#[test]
fn drain_returns_when_it_has_ended() {
    for (flows, text) in [
        (0, "drained: no connection is left; the process ends\n"),
        (
            3,
            "the time is over: 3 flows and 0 openings left; the process ends\n",
        ),
    ] {
        let (folder, source) = (TestFolder::new(), FakeAppliance::new());
        let _server = folder.serve(&source);
        let ending = when_draining(&source, end_with(flows));
        let ran = folder.synward(&["drain", "--timeout", "60"]);
        ending.join().unwrap();
        assert_eq!((ran.code, ran.stdout.as_str()), (0, text));
        assert!(
            ran.stderr
                .starts_with("synward: draining: no new connections")
        );
        assert_eq!(ran.stderr.lines().count(), 1);
    }
}

#[test]
fn drain_returns_when_it_is_cancelled() {
    let (folder, source) = (TestFolder::new(), FakeAppliance::new());
    let _server = folder.serve(&source);
    let control = folder.control();
    let cancelling = when_draining(&source, move |_| {
        let ran =
            crate::program_run::run_synward(&["undrain", "--control", control.to_str().unwrap()]);
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (0, "new connections are accepted\n")
        );
    });
    let ran = folder.synward(&["drain"]);
    cancelling.join().unwrap();
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr
            .ends_with("synward: the drain was cancelled; new connections are accepted again\n")
    );
    assert_eq!(
        folder.synward(&["undrain"]).code,
        0,
        "there is no drain, and none is wanted"
    );
}

#[test]
fn drain_returns_when_the_process_is_gone() {
    let (folder, source) = (TestFolder::new(), FakeAppliance::new());
    let server = folder.serve(&source);
    let stopping = when_draining(&source, move |_| drop(server));
    let ran = folder.synward(&["drain"]);
    stopping.join().unwrap();
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert!(
        ran.stderr.ends_with(
            "synward: the process has ended before the drain: 2 flows and 1 opening were left\n"
        ),
        "{}",
        ran.stderr
    );
}

#[test]
fn status_says_that_it_drains() {
    let (folder, source) = (TestFolder::new(), FakeAppliance::new());
    let _server = folder.serve(&source);
    let begin = synward::observe::DrainCommand::Begin(Some(Duration::from_secs(90)));
    source.drain(begin).unwrap();
    let ran = folder.synward(&["status"]);
    assert_eq!(ran.code, 3);
    assert!(ran.stdout.starts_with("synward 0.1.0 draining, up "));
    assert!(
        ran.stdout.contains(
            "\n  draining for 4 s: 2 flows and 1 opening left; the process ends in 1 min 30 s at most\n"
        ),
        "{}",
        ran.stdout
    );
    let ran = folder.synward(&["status", "--json"]);
    assert_eq!(ran.code, 3);
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(json["drain"]["phase"], "draining");
    assert_eq!(json["drain"]["flows"], 2);
    assert_eq!(json["serving"], true);
}
