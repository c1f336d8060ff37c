//! docs/attack-tests.md names the test of each claim about attacks: each name is that of a test.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

/// The root of the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Where the page says that a file is.
fn file(name: &str) -> PathBuf {
    let tests = [
        "verdicts/",
        "steering_veth/",
        "check_cli/",
        "control_cli/",
        "confinement.rs",
    ];
    let folder = if tests.iter().any(|folder| name.starts_with(folder)) {
        "appliance/tests"
    } else if let Some(name) = name.strip_prefix("core/") {
        return root().join("ebpf/core/src").join(name);
    } else {
        "appliance/src"
    };
    root().join(folder).join(name)
}

/// Whether the text of a file has a function of that name under `#[test]`.
fn has_test(text: &str, function: &str) -> bool {
    let head = format!("fn {function}(");
    let mut is_test = false;
    text.lines().map(str::trim).any(|line| {
        let found = is_test && line.starts_with(&head);
        // Other attributes may follow.
        is_test = line == "#[test]" || (is_test && line.starts_with("#["));
        found
    })
}

/// What is wrong with a name, if it is one of a test.
fn problem(name: &str) -> Option<String> {
    if let Some(story) = name.strip_prefix("story ") {
        let path = root().join(format!("deploy/tests/{story}.py"));
        return (!path.is_file()).then(|| format!("no story {story}"));
    }
    let (path, function) = name.split_once(".rs: ")?;
    let path = file(&format!("{path}.rs"));
    match std::fs::read_to_string(&path) {
        Err(error) => Some(format!("{}: {error}", path.display())),
        Ok(text) if !has_test(&text, function) => {
            Some(format!("{}: no test {function}", path.display()))
        }
        Ok(_) => None,
    }
}

#[test]
fn every_test_that_the_page_names_exists() {
    let page = std::fs::read_to_string(root().join("docs/attack-tests.md")).unwrap();
    // Every second piece is between backticks.
    let names: Vec<_> = page.split('`').skip(1).step_by(2).collect();
    let tests = names
        .iter()
        .filter(|name| name.starts_with("story ") || name.contains(".rs: "));
    assert!(tests.count() > 40, "the page has lost its tests");
    let problems: Vec<_> = names.iter().filter_map(|name| problem(name)).collect();
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn a_name_without_a_test_is_found() {
    for name in [
        "story 99_nothing",
        "core/flow_state.rs: observe",
        "core/no_such_file.rs: anything",
        "verdicts/acks.rs: no_such_test",
    ] {
        assert!(problem(name).is_some(), "{name}");
    }
    assert_eq!(problem("plain_cookies"), None);
}
