//! Checks the filled maps from the client's side, with the client's own kernel.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use synward::config::Mode;
use synward::maps::coarse_now;
use synward::steering::Steering;
use synward_core::counters::Counter;
use synward_core::layout::MAX_QUEUES;

use super::steering_lab::{HERE, Lab, THERE, inside};

/// Generic XDP can answer on a veth whose peer has no program.
pub(crate) const GENERIC: (&str, &str) = ("\"auto\"", "\"generic\"");

/// Keeps the queues from counting as abandoned: these tests run no workers.
pub(crate) fn expect_workers(steering: &Steering) {
    (0..MAX_QUEUES).for_each(|queue| steering.heartbeats().stop(queue));
}

pub(crate) fn connect(lab: &Lab, from: &str, to: &str) -> Result<TcpStream, ErrorKind> {
    connect_within(Duration::from_secs(30), lab, from, to)
}

/// Whether nobody answers a client, until it would send its SYN again.
fn gets_no_answer(lab: &Lab, from: &str, to: &str) -> bool {
    let connected = connect_within(Duration::from_millis(700), lab, from, to);
    connected.err() == Some(ErrorKind::TimedOut)
}

fn connect_within(
    patience: Duration,
    lab: &Lab,
    from: &str,
    to: &str,
) -> Result<TcpStream, ErrorKind> {
    let to: SocketAddr = to.parse().unwrap();
    let from = SocketAddr::new(from.parse().unwrap(), 0);
    wait_for_next_jiffy();
    inside(&lab.there(), || {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
        socket.bind(&from.into()).unwrap();
        let connected = socket.connect_timeout(&to.into(), patience);
        connected
            .map(|()| TcpStream::from(socket))
            .map_err(|error| error.kind())
    })
}

/// What the program prepared for SYNs holds for one jiffy, and so does not know yet of what the test has just changed.
fn wait_for_next_jiffy() {
    let now = coarse_now();
    while coarse_now() == now {
        std::thread::yield_now();
    }
}

fn counted(steering: &Steering, service: u32, counter: Counter) -> u64 {
    steering.counters(service).unwrap().value(counter)
}

/// The program answers for a server that does not exist, and validates its own cookie.
#[test]
fn a_client_gets_a_cookie_and_is_validated() {
    let lab = Lab::new();
    let mut steering = lab.steer(&[GENERIC]).unwrap();
    for (from, to) in [
        ("192.0.2.2", "192.0.2.10:80"),
        ("2001:db8::2", "[2001:db8::10]:80"),
    ] {
        expect_workers(&steering);
        let client = connect(&lab, from, to).unwrap();
        drop(client);
    }
    for (counter, least) in [
        (Counter::Syn, 2),
        (Counter::AnsweredXdp, 2),
        (Counter::CookieValid, 2),
    ] {
        let count = counted(&steering, 0, counter);
        assert!(count >= least, "{counter:?}: {count}");
    }
    assert!(
        counted(&steering, 0, Counter::Waiting) >= 2,
        "no worker could open a connection, so the clients wait for one"
    );
    assert_eq!(counted(&steering, 0, Counter::CookieInvalid), 0);

    // No service covers port 81, nor port 80 while the service is off: this machine's kernel refuses.
    assert_eq!(
        connect(&lab, "192.0.2.2", "192.0.2.10:81").err(),
        Some(ErrorKind::ConnectionRefused)
    );
    for mode in [Mode::Off, Mode::Monitor] {
        steering.set_mode(0, mode).unwrap();
        assert_eq!(
            connect(&lab, "192.0.2.2", "192.0.2.10:80").err(),
            Some(ErrorKind::ConnectionRefused)
        );
    }
    steering.set_mode(0, Mode::Always).unwrap();
    expect_workers(&steering);
    assert!(connect(&lab, "192.0.2.2", "192.0.2.10:80").is_ok());
    steering.stop(false).unwrap();
}

#[test]
fn prefixes_any_port_and_lists_are_applied() {
    let lab = Lab::new();
    lab.route_from_client("203.0.0.0/16", "192.0.2.1");
    lab.route_from_client("2001:db8:1::/64", "2001:db8::10");
    let services = r#"
addresses = ["192.0.2.10"]
ports = [80]
deny = ["192.0.2.0/24"]
allow = ["192.0.2.2"]
[[service]]
name = "net"
addresses = ["203.0.113.0/24", "2001:db8:1::/64"]
ports = [81]
[[service]]
name = "rest"
addresses = ["203.0.0.0/16"]
ports = "any"
"#;
    let steering = lab
        .steer(&[
            GENERIC,
            (
                "addresses = [\"192.0.2.10\", \"2001:db8::10\"]\nports = [80]\n",
                services,
            ),
        ])
        .unwrap();
    // An exact endpoint: one client is in the allow list and reaches the kernel, the other one is denied.
    assert_eq!(
        connect(&lab, "192.0.2.2", "192.0.2.10:80").err(),
        Some(ErrorKind::ConnectionRefused)
    );
    assert!(gets_no_answer(&lab, "192.0.2.3", "192.0.2.10:80"));
    assert!(counted(&steering, 0, Counter::DropDenied) >= 1);
    assert_eq!(counted(&steering, 0, Counter::AnsweredXdp), 0);
    expect_workers(&steering);
    // A listed port of the longer prefix, then any port of the shorter one.
    assert!(connect(&lab, "192.0.2.2", "203.0.113.1:81").is_ok());
    assert!(connect(&lab, "2001:db8::2", "[2001:db8:1::10]:81").is_ok());
    assert_eq!(counted(&steering, 1, Counter::AnsweredXdp), 2);
    assert!(connect(&lab, "192.0.2.2", "203.0.113.10:9999").is_ok());
    assert_eq!(counted(&steering, 2, Counter::AnsweredXdp), 1);
    assert_eq!(
        connect(&lab, "2001:db8::2", "[2001:db8::10]:82").err(),
        Some(ErrorKind::ConnectionRefused)
    );
    steering.stop(false).unwrap();
}

/// The operator's own connections to the appliance pass, although a prefix holds its addresses; also to one that it gets
/// later. Other addresses of the prefix are protected.
#[test]
fn own_addresses_inside_a_prefix_pass() {
    let lab = Lab::new();
    for net in ["192.0.2.96/27", "2001:db8:0:0:77::/80"] {
        lab.route_from_client(
            net,
            if net.contains(':') {
                "2001:db8::10"
            } else {
                "192.0.2.1"
            },
        );
    }
    let services = "addresses = [\"192.0.2.0/24\", \"2001:db8::/64\"]\nports = \"any\"\n";
    let mut steering = lab
        .steer(&[
            GENERIC,
            (
                "addresses = [\"192.0.2.10\", \"2001:db8::10\"]\nports = [80]\n",
                services,
            ),
        ])
        .unwrap();
    let refused = Some(ErrorKind::ConnectionRefused);
    for (from, to) in [
        ("192.0.2.2", "192.0.2.1:22"),
        ("192.0.2.2", "192.0.2.10:80"),
        ("2001:db8::2", "[2001:db8::10]:22"),
    ] {
        assert_eq!(connect(&lab, from, to).err(), refused, "{to}");
    }
    assert_eq!(counted(&steering, 0, Counter::AnsweredXdp), 0);
    for (from, address) in [
        ("192.0.2.2", "192.0.2.100"),
        ("2001:db8::2", "2001:db8::77:0:0:1"),
    ] {
        let to = if address.contains(':') {
            format!("[{address}]:22")
        } else {
            format!("{address}:22")
        };
        expect_workers(&steering);
        assert!(connect(&lab, from, &to).is_ok(), "{address} is protected");
        let mut with = |action: &str| {
            let mut command = vec!["addr", action, address, "dev", HERE];
            // An IPv6 address is tentative at first (RFC 4862 §5.4).
            command.extend((action == "add" && address.contains(':')).then_some("nodad"));
            lab.ip(&command);
            inside(&lab.here(), || steering.renew_own_addresses()).unwrap();
        };
        with("add");
        assert_eq!(connect(&lab, from, &to).err(), refused, "{address} is ours");
        with("del");
        expect_workers(&steering);
        assert!(
            connect(&lab, from, &to).is_ok(),
            "{address} is not ours any more"
        );
    }
    let left_out = steering.endpoints().left_out();
    assert!(
        left_out
            .iter()
            .any(|one| one.address.to_string() == "192.0.2.1")
    );
    steering.stop(false).unwrap();
}

/// A source that becomes one of this machine, or a broadcast address of its networks, gets no answer until it is gone again.
#[test]
fn own_sources_are_followed() {
    let lab = Lab::new();
    let mut steering = lab.steer(&[GENERIC]).unwrap();
    for (source, own, to) in [
        ("203.0.113.9", "203.0.113.9/32", "192.0.2.10:80"),
        ("203.0.113.127", "203.0.113.1/25", "192.0.2.10:80"),
        ("2001:db8:9::9", "2001:db8:9::9/128", "[2001:db8::10]:80"),
    ] {
        let mut add = vec!["addr", "add", source, "dev", THERE];
        add.extend(source.contains(':').then_some("nodad"));
        lab.client_ip(&add);
        let change = |steering: &mut Steering, action: &str| {
            let mut command = vec!["addr", action, own, "dev", HERE];
            command.extend((action == "add" && own.contains(':')).then_some("nodad"));
            lab.ip(&command);
            inside(&lab.here(), || steering.renew_own_addresses()).unwrap();
        };
        // It also resolves the link address, which the kernel does not tell to an address of its own.
        expect_workers(&steering);
        assert!(
            connect(&lab, source, to).is_ok(),
            "{source} is not ours yet"
        );
        change(&mut steering, "add");
        let refused = counted(&steering, 0, Counter::DropImpossibleSource);
        assert!(gets_no_answer(&lab, source, to), "{source}");
        assert!(counted(&steering, 0, Counter::DropImpossibleSource) > refused);
        change(&mut steering, "del");
        expect_workers(&steering);
        assert!(connect(&lab, source, to).is_ok(), "{source}");
    }
    steering.stop(false).unwrap();
}
