//! `synward allow` and `synward deny`.

use crate::control_socket::TestFolder;
use crate::fake_appliance::FakeAppliance;

#[test]
fn entries_are_added_listed_and_removed() {
    let (folder, source) = (TestFolder::new(), FakeAppliance::new());
    let _server = folder.serve(&source);
    let says = |arguments: &[&str], code: i32, text: &str| {
        let ran = folder.synward(arguments);
        let printed = ran.stdout + &ran.stderr;
        assert_eq!((ran.code, printed.as_str()), (code, text), "{arguments:?}");
    };
    says(&["allow", "list"], 0, "nothing is on the allow list\n");
    says(
        &["deny", "list", "10.0.0.0/8", "--service", "web"],
        0,
        "no entry of the deny list is about 10.0.0.0/8 for service \"web\"\n",
    );
    says(
        &["deny", "add", "203.0.113.0/24", "--for", "1h"],
        0,
        "203.0.113.0/24: denied for all services, for 1 h 0 min\n",
    );
    says(
        &["deny", "add", "2001:DB8::7", "--service", "web"],
        0,
        "2001:db8::7/128: denied for service \"web\", until the process ends\n",
    );
    says(
        &["allow", "add", "203.0.113.0/24"],
        1,
        "synward: 203.0.113.0/24 is denied for all services at run time; remove that first: \
         `synward deny remove 203.0.113.0/24`\n",
    );
    says(
        &["deny", "add", "203.0.113.9", "--service", "wbe"],
        1,
        "synward: there is no service \"wbe\"; there is web, mail\n",
    );
    let list = folder.synward(&["deny", "list"]);
    let lines: Vec<Vec<_>> = list
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines[0], ["prefix", "service", "origin", "remaining"]);
    assert_eq!(lines[1][..4], ["203.0.113.0/24", "all", "run", "time"]);
    assert_eq!(lines[2], ["2001:db8::7/128", "web", "run", "time", "-"]);
    assert_eq!(lines[3], ["198.51.0.0/16", "mail", "configuration", "-"]);
    assert_eq!(lines.len(), 4, "{}", list.stdout);

    says(
        &["deny", "remove", "203.0.113.0/24"],
        0,
        "203.0.113.0/24: removed from the deny list of all services\n",
    );
    says(
        &["deny", "remove", "203.0.113.0/24"],
        1,
        "synward: 203.0.113.0/24 is not on the deny list of any service\n",
    );
    let refused = folder.synward(&["deny", "remove", "198.51.0.0/16"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("remove it there and reload"));
}

#[test]
fn the_list_is_json_with_stable_names() {
    let (folder, source) = (TestFolder::new(), FakeAppliance::new());
    let _server = folder.serve(&source);
    folder.synward(&["deny", "add", "198.51.100.0/24", "--for", "90s"]);
    let listed = |arguments: &[&str]| -> serde_json::Value {
        let ran = folder.synward(&[arguments, &["--json"]].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        serde_json::from_str(&ran.stdout).unwrap()
    };
    let all = listed(&["deny", "list"]);
    let left = all[0]["remaining_seconds"].as_f64().unwrap();
    assert!(left > 80.0 && left <= 90.0, "{left}");
    assert_eq!(all[0]["list"], "deny");
    assert_eq!(all[0]["prefix"], "198.51.100.0/24");
    assert!(all[0]["service"].is_null(), "all services");
    assert_eq!(all[0]["origin"], "run_time");
    assert_eq!(
        all[1],
        serde_json::json!({
            "list": "deny", "prefix": "198.51.0.0/16", "service": "mail", "origin": "configuration",
            "remaining_seconds": null,
        })
    );
    let count = |arguments: &[&str]| listed(arguments).as_array().unwrap().len();
    assert_eq!(count(&["allow", "list"]), 0);
    assert_eq!(count(&["deny", "list", "--service", "web"]), 1);
    assert_eq!(count(&["deny", "list", "198.51.100.7"]), 2, "both hold it");
    assert_eq!(count(&["deny", "list", "198.51.3.0/24"]), 1);
    assert_eq!(count(&["deny", "list", "198.0.0.0/8"]), 2, "both lie in it");
    assert_eq!(count(&["deny", "list", "10.0.0.0/8"]), 0);
}
