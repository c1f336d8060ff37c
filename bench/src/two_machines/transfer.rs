//! `bench two-machines transfer`: bulk data over established connections, and how much of it arrives.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use super::output_file::Transferred;
use crate::cli_values::seconds;

/// Bytes of a stored file; only files that the server confirms count.
const STORED: usize = 8 << 20;
/// Time before a broken connection is replaced.
const REST: Duration = Duration::from_millis(20);

/// Command line of `bench two-machines transfer`.
#[derive(Args)]
pub(crate) struct Options {
    /// The web server: 192.0.2.10:80
    #[arg(value_name = "ADDRESS:PORT")]
    target: SocketAddr,
    /// File to load; a long one needs only one connection
    #[arg(value_name = "PATH")]
    path: String,
    /// Store it instead (PUT), 8 MiB per connection
    #[arg(long)]
    store: bool,
    /// Connections at a time
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u8).range(1..))]
    flows: u8,
    /// Stop after this time, at most 600
    #[arg(long, default_value = "10", value_parser = seconds)]
    seconds: Duration,
}

/// Transfers, and prints a line of JSON.
///
/// # Errors
/// The server refuses the request.
pub(crate) fn run(options: &Options) -> Result<()> {
    let start = Instant::now();
    let deadline = start + options.seconds;
    let flows = thread::scope(|scope| {
        let flows: Vec<_> = (0..options.flows)
            .map(|number| scope.spawn(move || flow(options, number, deadline)))
            .collect();
        flows
            .into_iter()
            .map(|flow| flow.join().unwrap_or_else(|_| Ok((0, 1))))
            .collect::<Result<Vec<_>>>()
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let bytes: u64 = flows.iter().map(|(bytes, _)| bytes).sum();
    let report = Transferred {
        bytes,
        seconds,
        gigabits: bytes as f64 * 8.0 / seconds / 1e9,
        broken: flows.iter().map(|(_, broken)| broken).sum(),
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

/// Makes one connection after the other; returns the bytes that arrived and the number of broken connections.
fn flow(options: &Options, number: u8, deadline: Instant) -> Result<(u64, u64)> {
    let path = match options.store {
        // Otherwise all flows would write one file.
        true => format!("{}.{number}", options.path),
        false => options.path.clone(),
    };
    let (mut bytes, mut broken) = (0, 0);
    while Instant::now() < deadline {
        let mut exchange = Exchange::default();
        let ended = exchange.run(options, &path, deadline);
        bytes += exchange.bytes;
        exchange.refused(options, &path)?;
        if ended.is_err() && Instant::now() < deadline {
            broken += 1;
            thread::sleep(REST.min(deadline.saturating_duration_since(Instant::now())));
        }
    }
    Ok((bytes, broken))
}

/// A request and its answer.
#[derive(Default)]
struct Exchange {
    /// That arrived.
    bytes: u64,
    /// The beginning of the answer.
    status: Vec<u8>,
}

impl Exchange {
    fn run(
        &mut self,
        options: &Options,
        path: &str,
        deadline: Instant,
    ) -> Result<(), std::io::Error> {
        let mut connection = TcpStream::connect_timeout(&options.target, left(deadline)?)?;
        let method = if options.store { "PUT" } else { "GET" };
        let length = match options.store {
            true => format!("Content-Length: {STORED}\r\n"),
            false => String::new(),
        };
        let head = format!("{method} {path} HTTP/1.0\r\nHost: bench\r\n{length}\r\n");
        connection.set_write_timeout(Some(left(deadline)?))?;
        connection.write_all(head.as_bytes())?;
        if options.store {
            let piece = vec![b'x'; 64 << 10];
            for _ in 0..STORED / piece.len() {
                connection.set_write_timeout(Some(left(deadline)?))?;
                connection.write_all(&piece)?;
            }
        }
        let mut buffer = vec![0; 256 << 10];
        loop {
            connection.set_read_timeout(Some(left(deadline)?))?;
            let count = connection.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            let wanted = STATUS.saturating_sub(self.status.len()).min(count);
            self.status.extend(&buffer[..wanted]);
            if !options.store {
                self.bytes += count as u64;
            }
        }
        if options.store && succeeded(&self.status) {
            self.bytes = STORED as u64;
        }
        Ok(())
    }

    /// A status other than success does not change later.
    fn refused(&self, options: &Options, path: &str) -> Result<()> {
        ensure!(
            self.status.len() < STATUS || succeeded(&self.status),
            "{} refuses {path}: {}; give the path of a long file{}",
            options.target,
            String::from_utf8_lossy(&self.status),
            match options.store {
                true => " that may be stored with PUT",
                false => "",
            }
        );
        Ok(())
    }
}

/// Bytes of `HTTP/1.1 200`.
const STATUS: usize = 12;

fn succeeded(status: &[u8]) -> bool {
    status.starts_with(b"HTTP/1.") && status.get(9) == Some(&b'2')
}

fn left(deadline: Instant) -> Result<Duration, std::io::Error> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

/// What a run printed.
///
/// # Errors
/// Something else.
pub(super) fn parse(printed: &str) -> Result<Transferred> {
    serde_json::from_str(printed).with_context(|| {
        format!("bench two-machines transfer reported something unexpected: {printed}")
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Runs a transfer against a server that answers everything with `answer`.
    fn transfer(answer: &'static str, store: bool) -> Result<(u64, u64)> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let mut taken = 0;
                let mut buffer = vec![0; 1 << 20];
                while taken < if store { STORED } else { 1 } {
                    taken += connection.read(&mut buffer).unwrap();
                }
                let _ = connection.write_all(answer.as_bytes());
            }
        });
        let options = Options {
            target,
            path: "/big".into(),
            store,
            flows: 1,
            seconds: Duration::from_millis(300),
        };
        flow(&options, 0, Instant::now() + options.seconds)
    }

    #[test]
    fn what_arrives_is_counted() {
        let answer = "HTTP/1.1 200 OK\r\n\r\ndata";
        let (bytes, broken) = transfer(answer, false).unwrap();
        assert!(bytes > 0 && bytes % answer.len() as u64 == 0, "{bytes}");
        assert_eq!(broken, 0);
        let (bytes, _) = transfer("HTTP/1.1 201 Created\r\n\r\n", true).unwrap();
        assert!(bytes > 0 && bytes % STORED as u64 == 0, "{bytes}");
    }

    #[test]
    fn a_refusal_ends_it() {
        let error = transfer("HTTP/1.1 404 Not Found\r\n\r\n", false).unwrap_err();
        assert!(
            error.to_string().contains("refuses /big: HTTP/1.1 404"),
            "{error}"
        );
    }
}
