//! The metrics endpoint.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use synward::observe::metrics::METRICS;
use synward::observe::{ApplianceHandle as _, DrainCommand, HttpError, MetricsServer};

use crate::fake_appliance::FakeAppliance;
use crate::{CLIENT_TIMEOUT, eventually};

fn serve(source: &Arc<FakeAppliance>) -> MetricsServer {
    MetricsServer::start(([127, 0, 0, 1], 0).into(), source.clone()).unwrap()
}

/// Sends `request` and returns the response.
fn send_raw(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream.write_all(request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The head and body of the response to a GET.
fn get(address: SocketAddr, path: &str) -> (String, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: */*\r\n\r\n");
    let answer = send_raw(address, request.as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[test]
fn metrics_are_served() {
    let server = serve(&FakeAppliance::new());
    let (head, body) = get(server.address(), "/metrics");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())));
    assert!(head.ends_with("\r\nConnection: close"));
    for metric in METRICS {
        assert!(
            body.contains(&format!("\n{}", metric.name)),
            "{}",
            metric.name
        );
    }
    assert!(body.contains("\nsynward_syns_total{service=\"web\"} 12000000\n"));
    assert_eq!(get(server.address(), "/metrics?x=1").1, body);
}

#[test]
fn health_is_200_or_503_with_the_reasons() {
    let source = FakeAppliance::new();
    let server = serve(&source);
    let (head, body) = get(server.address(), "/healthz");
    assert!(head.starts_with("HTTP/1.1 200 "));
    assert_eq!(body, "ok\n");
    source.change(|snapshot| snapshot.degraded = vec!["eth0 is down".into(), "so is eth1".into()]);
    let (head, body) = get(server.address(), "/healthz");
    assert!(head.starts_with("HTTP/1.1 503 "));
    assert_eq!(body, "eth0 is down\nso is eth1\n");
}

#[test]
fn a_process_that_hangs_has_neither_metrics_nor_health() {
    let source = FakeAppliance::new();
    let server = serve(&source);
    source.hangs(Some("the control thread has made no round for 7 s"));
    for path in ["/healthz", "/readyz", "/metrics"] {
        let (head, body) = get(server.address(), path);
        assert!(head.starts_with("HTTP/1.1 503 "), "{path}: {head}");
        assert_eq!(body, "the control thread has made no round for 7 s\n");
    }
}

#[test]
fn a_drain_takes_readiness_and_leaves_health() {
    let source = FakeAppliance::new();
    let server = serve(&source);
    assert_eq!(get(server.address(), "/readyz").1, "ok\n");
    source.drain(DrainCommand::Begin(None)).unwrap();
    let (head, body) = get(server.address(), "/readyz");
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(
        body.starts_with("draining for 4 s: 2 flows and 1 opening left"),
        "{body}"
    );
    assert_eq!(get(server.address(), "/healthz").1, "ok\n");
    let page = get(server.address(), "/metrics").1;
    assert!(page.contains("\nsynward_draining 1\n"));
    source.drain(DrainCommand::End).unwrap();
    assert_eq!(get(server.address(), "/readyz").1, "ok\n");

    source.change(|snapshot| snapshot.degraded = vec!["eth0 is down".into()]);
    let (head, body) = get(server.address(), "/readyz");
    assert!(head.starts_with("HTTP/1.1 503 "));
    assert_eq!(body, "eth0 is down\n");
}

#[test]
fn everything_else_is_refused() {
    let server = serve(&FakeAppliance::new());
    let address = server.address();
    assert!(get(address, "/").0.starts_with("HTTP/1.1 404 "));
    assert!(get(address, "/metrics/").0.starts_with("HTTP/1.1 404 "));
    let answer = send_raw(
        address,
        b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
    );
    assert!(answer.starts_with("HTTP/1.1 405 "));
    assert!(answer.contains("\r\nAllow: GET, HEAD\r\n"));
    assert!(send_raw(address, b"hello\r\n\r\n").starts_with("HTTP/1.1 400 "));
    assert!(send_raw(address, b"\x16\x03\x01\x02\x00").starts_with("HTTP/1.1 400 "));
    let mut long = b"GET /metrics HTTP/1.1\r\nCookie: ".to_vec();
    long.resize(50_000, b'x');
    assert!(send_raw(address, &long).starts_with("HTTP/1.1 431 "));
    let answer = send_raw(address, b"HEAD /metrics HTTP/1.0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"));
}

#[test]
fn slow_and_silent_clients_do_not_delay_others() {
    let server = serve(&FakeAppliance::new());
    let address = server.address();
    let silent: Vec<_> = (0..20)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    // Within the time that a client has for its request.
    let answered = |slow: &mut TcpStream| -> std::io::Result<String> {
        for part in ["GET /hea", "lthz HT", "TP/1.1\r\n"] {
            slow.write_all(part.as_bytes())?;
            assert!(get(address, "/healthz").0.starts_with("HTTP/1.1 200 "));
        }
        slow.write_all(b"\r\n")?;
        slow.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        slow.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let is_served = || {
        let mut slow = TcpStream::connect(address).unwrap();
        let begun = Instant::now();
        let answer = answered(&mut slow);
        let was_in_time = begun.elapsed() < CLIENT_TIMEOUT;
        assert!(!was_in_time || answer.is_ok_and(|answer| answer.ends_with("ok\n")));
        was_in_time
    };
    assert!((0..5).any(|_| is_served()), "others delay a client");

    // A busy machine makes one stop slow, and what waits for a client makes each slow.
    let stops = || {
        let server = serve(&FakeAppliance::new());
        let silent = TcpStream::connect(server.address()).unwrap();
        assert_eq!(get(server.address(), "/healthz").1, "ok\n");
        let begun = Instant::now();
        drop(server);
        drop(silent);
        begun.elapsed() < CLIENT_TIMEOUT
    };
    assert!((0..5).any(|_| stops()), "stopping waited for a client");
    drop(server);
    eventually("it listens no more", || {
        TcpStream::connect(address).is_err()
    });
    drop(silent);
}

#[test]
fn idle_connections_do_not_starve_health_checks() {
    let server = serve(&FakeAppliance::new());
    let address = server.address();
    let mut idle = Vec::new();
    let begun = Instant::now();
    for _ in 0..10 {
        idle.extend((0..50).map(|_| TcpStream::connect(address).unwrap()));
        assert_eq!(get(address, "/healthz").1, "ok\n");
    }
    // Otherwise each round would take one timeout.
    assert!(
        begun.elapsed() < 9 * CLIENT_TIMEOUT,
        "{:?}",
        begun.elapsed()
    );
    // The longest idle ones were closed.
    let mut first = &idle[0];
    first
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    assert_eq!(first.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_client_that_never_stops_sending_is_disconnected() {
    let server = serve(&FakeAppliance::new());
    let address = server.address();
    let mut endless = TcpStream::connect(address).unwrap();
    let begun = Instant::now();
    let sending = std::thread::spawn(move || while endless.write_all(&[b'x'; 65_536]).is_ok() {});
    assert!(get(address, "/healthz").1 == "ok\n");
    sending.join().unwrap();
    assert!(begun.elapsed() < 10 * CLIENT_TIMEOUT);
}

#[test]
fn an_unavailable_address_is_reported() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = MetricsServer::start(address, FakeAppliance::new()).unwrap_err();
    assert!(matches!(error, HttpError::InUse(_)));
    let expected = format!("metrics address {address} is in use by another process; ");
    assert!(error.to_string().starts_with(&expected), "{error}");

    let elsewhere = "192.0.2.77:9470".parse().unwrap();
    let error = MetricsServer::start(elsewhere, FakeAppliance::new()).unwrap_err();
    assert!(matches!(error, HttpError::NotHere(_)), "{error}");
}

#[test]
fn the_address_can_be_reused_immediately() {
    let server = serve(&FakeAppliance::new());
    let address = server.address();
    assert!(get(address, "/healthz").1 == "ok\n");
    drop(server);
    let mut again = None;
    eventually("the address is free", || {
        again = MetricsServer::start(address, FakeAppliance::new()).ok();
        again.is_some()
    });
    let server = again.unwrap();
    assert!(get(server.address(), "/healthz").1 == "ok\n");
}
