//! Parses whole configuration files.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use super::*;

const SMALL: &str = r#"
[[interface]]
name = "eth0"
side = "both"
[[service]]
name = "web"
addresses = ["192.0.2.10"]
ports = [80]
"#;

/// Parses with a secret file that does not exist.
fn parse(text: &str) -> Result<Config, Problems> {
    Config::parse(Path::new("f.toml"), text, Path::new("/nonexistent/secret"))
}

#[test]
fn a_small_file_has_every_default() {
    let config = parse(SMALL).unwrap();
    assert_eq!(config.appliance, Appliance::default());
    assert_eq!(config.flows, Flows::default());
    assert!(
        config.cookie.content.keyring().is_none(),
        "created at first start"
    );
    assert_eq!(
        config.interfaces,
        [Interface {
            name: "eth0".into(),
            side: Side::Both,
            xdp: XdpMode::Auto,
            zero_copy: ZeroCopy::Auto,
            queues: Queues::All,
            attach: Attach::Native,
            next: None,
            line: 2,
        }]
    );
    assert_eq!(
        config.services,
        [Service {
            name: "web".into(),
            addresses: vec!["192.0.2.10/32".parse().unwrap()],
            ports: Ports::List(vec![80]),
            handoff: Handoff::Splice,
            mode: Mode::Always,
            allow: vec![],
            deny: vec![],
            allow_file: PrefixFile::default(),
            deny_file: PrefixFile::default(),
            fragments: Fragments::Drop,
            unknown: Unknown::Drop,
            when_down: WhenDown::Reset,
            when_absent: WhenAbsent::Drop,
            plain_cookies: PlainCookies::Limit,
            rtt: Rtt::Fast,
            hold_bytes: 16384,
            openings_per_source: 1024,
            openings_per_server: 4096,
            replies_per_prefix: 1000,
            cookies: Cookies::Auto,
            activation: Activation {
                activate_syn_rate: None,
                deactivate_syn_rate: None,
                hold: Duration::from_secs(60),
            },
            on_event: vec![],
            standing: Standing::Configured,
            offer: Offer::default(),
            line: 5,
        }]
    );
}

/// The defaults that the example shows are the defaults of the program.
#[test]
fn the_example_changes_nothing() {
    let shown = parse(&Config::example()).unwrap();
    let small = parse(
        "[[interface]]\nname = \"eth0\"\nside = \"both\"\n[[service]]\nname = \"web\"\n\
         addresses = [\"192.0.2.10\", \"2001:db8::10\"]\nports = [80, 443]",
    );
    let mut small = small.unwrap();
    small.interfaces[0].line = shown.interfaces[0].line;
    small.services[0].line = shown.services[0].line;
    assert_eq!(shown.appliance, small.appliance);
    assert_eq!(shown.interfaces, small.interfaces);
    assert_eq!(shown.services, small.services);
    assert_eq!(shown.flows, small.flows);
}

/// Every key that the example comments out can be set.
#[test]
fn the_example_can_be_uncommented() {
    let text = Config::example()
        .replace("\n# ", "\n")
        .replace("secret = \"/etc", "# \"/etc");
    let service = &parse(&text).unwrap().services[0];
    let all = Offer {
        mss: Some(1460),
        wscale: Some(7),
        sack: Some(true),
        timestamps: Some(true),
        ecn: Some(false),
    };
    assert_eq!(service.offer, all);
}

#[test]
fn settings_become_types() {
    let config = parse(
        r#"
        [appliance]
        metrics = ""
        cores = [3, 2]
        polling = "busy"
        responder = "xdp"
        pin = ""
        adopt_seconds = 0
        [[interface]]
        name = "out0"
        side = "outside"
        xdp = "native"
        zero_copy = "on"
        queues = [1, 0]
        [[interface]]
        name = "in0"
        side = "inside"
        next = "/sys/fs/bpf/filter"
        [[service]]
        name = "all"
        addresses = ["198.51.100.0/24", "2001:db8::/32"]
        ports = "any"
        mode = "monitor"
        rtt = "true"
        plain_cookies = "refuse"
        replies_per_prefix = 0
        hold_bytes = 65536
        openings_per_source = 8192
        openings_per_server = 1
        activate_syn_rate = 1_000
        deactivate_syn_rate = 999
        hold_seconds = 1
        on_event = ["/bin/notify", "all", ""]
        [flows]
        capacity = 16_777_216
        idle_seconds = 0x3c
        closing_seconds = 60
        "#,
    )
    .unwrap();
    let appliance = &config.appliance;
    assert_eq!(
        (appliance.metrics, &appliance.pin, appliance.adopt),
        (None, &None, Duration::ZERO)
    );
    assert_eq!(appliance.cores, Cores::List(vec![3, 2]));
    assert_eq!(
        (appliance.polling, appliance.responder),
        (Polling::Busy, Responder::Xdp)
    );
    let [outside, inside] = &config.interfaces[..] else {
        panic!("two interfaces")
    };
    assert_eq!(
        (outside.zero_copy, outside.xdp),
        (ZeroCopy::On, XdpMode::Native)
    );
    assert_eq!(outside.queues, Queues::List(vec![1, 0]));
    assert!(outside.side.faces_clients() && !outside.side.faces_servers());
    assert_eq!(
        inside.next.as_deref(),
        Some(Path::new("/sys/fs/bpf/filter"))
    );
    assert!(inside.side.faces_servers() && !inside.side.faces_clients());
    let service = &config.services[0];
    assert_eq!(
        (service.openings_per_source, service.openings_per_server),
        (8192, 1)
    );
    assert_eq!(
        (
            &service.ports,
            service.mode,
            service.rtt,
            service.plain_cookies
        ),
        (&Ports::Any, Mode::Monitor, Rtt::True, PlainCookies::Refuse)
    );
    assert_eq!(
        service.activation,
        Activation {
            activate_syn_rate: Some(1_000),
            deactivate_syn_rate: Some(999),
            hold: Duration::from_secs(1),
        }
    );
    assert_eq!(service.on_event, ["/bin/notify", "all", ""]);
    assert_eq!(service.replies_per_prefix, 0);
    assert_eq!(service.addresses[0].prefix_len(), 24);
    let minute = Duration::from_secs(60);
    assert_eq!(
        config.flows,
        Flows {
            capacity: 1 << 24,
            idle: minute,
            closing: minute
        }
    );
    assert_eq!(config.warnings, []);
    assert_eq!(config.to_string(), "f.toml: valid, 1 service, 2 interfaces");
}

#[test]
fn the_secret_is_created_at_first_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("etc/secret");
    let load = || {
        Config::parse(Path::new("f.toml"), SMALL, &path)
            .unwrap()
            .cookie
    };
    let first = load();
    assert!(
        first.content.keyring().is_none() && !path.exists(),
        "loading creates no file"
    );
    let made = first.keyring().unwrap().service_keys("web");
    let read = load().keyring().unwrap().service_keys("web");
    assert_eq!(
        crate::secret::epoch_key(&made[0], 1),
        crate::secret::epoch_key(&read[0], 1)
    );
    assert!(!format!("{:?}", load()).contains(&std::fs::read_to_string(&path).unwrap()[..8]));
}

/// A secret created here would differ from the server's.
#[test]
fn forward_requires_an_existing_secret() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    let text = format!("{SMALL}handoff = \"forward\"\nwscale = 7\n");
    let load = || Config::parse(Path::new("f.toml"), &text, &path);
    let problems = load().unwrap_err().to_string();
    assert!(problems.contains("there is no secret file"), "{problems}");
    crate::secret::Keyring::create(&path).unwrap();
    assert_eq!(load().unwrap().services[0].handoff, Handoff::Forward);
}

#[test]
fn a_secret_that_cannot_be_created_is_an_error() {
    let cookie = Config::parse(
        Path::new("f.toml"),
        SMALL,
        Path::new("/proc/nowhere/secret"),
    )
    .unwrap()
    .cookie;
    let error = cookie.keyring().unwrap_err().to_string();
    assert!(
        error.starts_with(
            "/proc/nowhere/secret: the secret file /proc/nowhere/secret cannot be created: "
        ),
        "{error}"
    );
}

/// Any content gives a configuration or problems of one line each.
#[test]
fn random_content_gives_problems_of_one_line() {
    let example = Config::example().replace("\n# ", "\n").into_bytes();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let words = [
        "\"",
        "[",
        "]]",
        "=",
        "\n",
        "-1",
        "0x",
        "1e9",
        "true",
        "'''",
        "{",
        "}",
        ",",
        "ä",
        "\0",
        "[[service]]\n",
        "1979-05-27",
    ];
    for _ in 0..20_000 {
        let mut bytes = example.clone();
        for _ in 0..=random(4) {
            let at = random(bytes.len());
            match random(3) {
                0 => drop(bytes.splice(at..at, words[random(words.len())].bytes())),
                1 => drop(bytes.drain(at..(at + random(40)).min(bytes.len()))),
                _ => bytes[at] = random(128) as u8,
            }
        }
        if let Ok(text) = String::from_utf8(bytes)
            && let Err(Problems(problems)) = parse(&text)
        {
            let lines = 1 + text.matches('\n').count();
            for problem in problems {
                assert!(
                    problem.line.is_none_or(|line| (1..=lines).contains(&line)),
                    "{problem}"
                );
                assert!(
                    !problem.what.to_string().contains(|c: char| c.is_control()),
                    "{problem:?}"
                );
            }
        }
    }
}
