#![allow(clippy::unwrap_used)]

use super::*;
use crate::config::Config;
use crate::lists::{ListRequest, ListVerb};

const FILE: &str = r#"
[[interface]]
name = "eth0"
side = "both"
[[service]]
name = "web"
addresses = ["192.0.2.10"]
ports = [80]
allow = ["203.0.113.0/24"]
[[service]]
name = "mail"
addresses = ["192.0.2.10"]
ports = [25]
deny = ["198.51.0.0/16"]
"#;

fn services() -> Vec<config::Service> {
    Config::of_text(FILE).services
}

fn key(list: List, net: &str, service: Option<&str>) -> (List, IpNet, Scope) {
    (list, net.parse().unwrap(), service.map(str::to_owned))
}

struct Lists {
    lists: RunTimeLists,
    services: Vec<config::Service>,
    now: Instant,
}

impl Lists {
    fn new() -> Self {
        Self {
            lists: RunTimeLists::default(),
            services: services(),
            now: Instant::now(),
        }
    }

    fn add(&mut self, list: List, net: &str, service: Option<&str>, seconds: u64) -> String {
        let lasting = (seconds > 0).then(|| Duration::from_secs(seconds));
        let key = key(list, net, service);
        let added = self.lists.add(key, lasting, &self.services, self.now);
        added
            .err()
            .map_or_else(String::new, |error| error.to_string())
    }

    fn remove(&mut self, list: List, net: &str, service: Option<&str>) -> String {
        let key = key(list, net, service);
        let removed = self.lists.remove(key, &self.services, self.now);
        removed
            .err()
            .map_or_else(String::new, |error| error.to_string())
    }

    /// The run-time entries of a service.
    fn of(&self, service: &str) -> Vec<String> {
        let entries = self.lists.of_service(service, self.now);
        entries
            .map(|entry| format!("{} {}", entry.list.word(), entry.net))
            .collect()
    }
}

#[test]
fn entries_are_for_one_service_or_for_all() {
    let mut lists = Lists::new();
    assert_eq!(lists.add(List::Deny, "10.0.0.0/8", None, 0), "");
    assert_eq!(lists.add(List::Deny, "10.1.0.0/16", Some("web"), 0), "");
    assert_eq!(lists.of("web"), ["deny 10.0.0.0/8", "deny 10.1.0.0/16"]);
    assert_eq!(lists.of("mail"), ["deny 10.0.0.0/8"]);
    assert_eq!(
        lists.of("one that a reload adds"),
        ["deny 10.0.0.0/8"],
        "an entry for all services holds for later ones too"
    );
    assert_eq!(
        lists.remove(List::Deny, "10.0.0.0/8", Some("web")),
        "10.0.0.0/8 is denied for all services; remove it without --service"
    );
    assert_eq!(lists.remove(List::Deny, "10.1.0.0/16", None), "");
    assert_eq!(lists.remove(List::Deny, "10.0.0.0/8", None), "");
    assert_eq!(lists.of("web"), [""; 0]);
}

#[test]
fn a_prefix_is_never_allowed_and_denied() {
    let mut lists = Lists::new();
    assert_eq!(lists.add(List::Deny, "10.0.0.0/8", Some("web"), 0), "");
    for scope in [None, Some("web")] {
        assert_eq!(
            lists.add(List::Allow, "10.0.0.0/8", scope, 0),
            "10.0.0.0/8 is denied for service \"web\" at run time; remove that first: \
             `synward deny remove 10.0.0.0/8 --service web`"
        );
        assert_eq!(
            lists.add(List::Deny, "203.0.113.0/24", scope, 0),
            "203.0.113.0/24 is allowed for service \"web\" by the configuration (`allow`); change that and reload, \
             or use longer prefixes: the longest decides"
        );
    }
    assert_eq!(lists.add(List::Allow, "10.0.0.0/8", Some("mail"), 0), "");
    assert_eq!(lists.add(List::Allow, "10.2.0.0/16", Some("web"), 0), "");
    assert_eq!(lists.add(List::Deny, "203.0.113.0/24", Some("mail"), 0), "");
    assert_eq!(
        lists.add(List::Allow, "203.0.113.0/24", Some("web"), 9),
        "",
        "what the configuration says may be said again"
    );
}

#[test]
fn what_cannot_be_removed_is_explained() {
    let mut lists = Lists::new();
    assert_eq!(
        lists.remove(List::Deny, "198.51.0.0/16", None),
        "198.51.0.0/16 is denied for service \"mail\" by the configuration (`deny`); remove it there and reload \
         (`synward reload`)"
    );
    assert_eq!(
        lists.remove(List::Deny, "198.51.7.0/24", None),
        "198.51.7.0/24 is not on the deny list of any service; 198.51.0.0/16, which holds it, is"
    );
    assert_eq!(
        lists.remove(List::Allow, "198.51.7.0/24", Some("web")),
        "198.51.7.0/24 is not on the allow list of service \"web\""
    );
}

#[test]
fn entries_end_by_themselves() {
    let mut lists = Lists::new();
    assert_eq!(lists.add(List::Deny, "10.0.0.0/8", None, 60), "");
    assert_eq!(lists.add(List::Deny, "10.1.0.0/16", None, 0), "");
    lists.now += Duration::from_secs(59);
    assert_eq!(lists.lists.expire(lists.now), 0);
    let left = lists.lists.iter(lists.now).next().unwrap().left;
    assert_eq!(left, Some(Duration::from_secs(1)));
    lists.now += Duration::from_secs(1);
    assert_eq!(lists.of("web"), ["deny 10.1.0.0/16"]);
    assert_eq!(
        lists.add(List::Allow, "10.0.0.0/8", None, 0),
        "",
        "an entry that has ended contradicts nothing"
    );
    assert_eq!(lists.lists.expire(lists.now), 0, "it was replaced");
    assert_eq!(lists.add(List::Deny, "10.3.0.0/16", None, 60), "");
    assert_eq!(
        lists.add(List::Deny, "10.3.0.0/16", None, 600),
        "",
        "it gets the new time"
    );
    lists.now += Duration::from_secs(60);
    assert_eq!(lists.lists.expire(lists.now), 0);
    lists.now += Duration::from_secs(540);
    assert_eq!(lists.lists.expire(lists.now), 1);
}

#[test]
fn the_entries_of_the_run_time_are_bounded() {
    let mut lists = Lists::new();
    for number in 0..MAX_ENTRIES as u32 {
        let net = std::net::Ipv4Addr::from(number << 8);
        let key = (List::Deny, IpNet::from(std::net::IpAddr::V4(net)), None);
        lists
            .lists
            .add(key, None, &lists.services, lists.now)
            .unwrap();
    }
    assert!(
        lists
            .add(List::Deny, "2001:db8::/32", None, 0)
            .contains("65536")
    );
    assert_eq!(
        lists.add(List::Deny, "0.0.1.0/32", None, 5),
        "",
        "known ones may change"
    );
}

/// A reload has removed the service meanwhile.
#[test]
fn entries_of_a_removed_service_can_be_listed_and_removed() {
    let mut lists = Lists::new();
    assert_eq!(lists.add(List::Deny, "10.1.0.0/16", Some("mail"), 0), "");
    lists.services.retain(|service| service.name != "mail");
    let mut ask = |verb, prefix: Option<&str>| {
        let request = ListRequest {
            list: List::Deny,
            verb,
            prefix: prefix.map(str::to_owned),
            service: Some("mail".into()),
            seconds: None,
        };
        request.apply(&lists.services, &mut lists.lists, lists.now)
    };
    assert_eq!(ask(ListVerb::List, None).unwrap().entries.len(), 1);
    assert!(ask(ListVerb::Add, Some("10.2.0.0/16")).is_err());
    ask(ListVerb::Remove, Some("10.1.0.0/16")).unwrap();
    assert!(ask(ListVerb::List, None).is_err(), "nothing is left of it");
}
