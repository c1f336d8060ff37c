//! `bench two-machines generate`: the generator's side.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use aya::EbpfLoader;
use clap::Args;

use super::output_file::{Generated, Load, Record, Turn, now};
use super::traffic::Loader;
use crate::cli_values::{number, seconds};
use crate::compare::Rate;
use crate::device::{self, Device, parse_mac};
use crate::flood::{Prefix, check_owned};
use crate::interrupt::Interrupt;
use crate::machine::Machine;
use crate::order::Order;
use crate::xdp_attach::Visit;
use crate::xdp_objects;

/// Connections that have to succeed before anything is measured.
const WARM_UP: u64 = 20;
/// From the flood's start to that of the connections, so that they all meet it.
const LEAD: Duration = Duration::from_secs(1);
/// Between turns, for what the last one left in queues.
const REST: Duration = Duration::from_secs(1);

/// Command line of `bench two-machines generate`.
#[derive(Args)]
#[command(after_long_help = "\
The flood leaves the interface by XDP and needs no address. Connections and transfers are the kernel's, so they need an \
address on the same wire, towards the device under test. Either the interface has it, and nothing else is done with it:

  ip address add 198.51.100.2/24 dev eth1; ip route add 192.0.2.0/24 via 198.51.100.1
  bench two-machines generate --interface eth1 --i-own-this-network …

or a macvlan in a namespace of its own has it, and the interface has none:

  ip netns add wire; ip link add link eth1 name wire0 netns wire type macvlan
  ip -n wire address add 198.51.100.2/24 dev wire0; ip -n wire link set wire0 up
  ip -n wire route add default via 198.51.100.1
  bench two-machines generate --interface eth1 --connect-in wire --mac MAC --i-own-this-network …

The interface gets an XDP program meanwhile, which counts SYN-ACKs to the flood's sources and passes everything else; \
drivers may take their link down for some seconds when they get one.")]
pub(crate) struct Options {
    /// Interface to flood on: a veth without an address, unless --i-own-this-network
    #[arg(long, value_name = "IF")]
    pub(super) interface: String,
    /// The service behind, or on, the device under test: a web server
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(super) destination: SocketAddr,
    /// Prefix of the flood's random source addresses
    #[arg(long, value_name = "PREFIX", value_parser = prefix)]
    pub(super) sources: String,
    /// MAC of the device under test (default: of the destination's or its gateway's neighbour entry)
    #[arg(long, value_name = "MAC", value_parser = mac)]
    pub(super) mac: Option<String>,
    /// SYNs a second, separated by commas: 0 is no flood, max as many as it goes; 0 also tells what data alone cost
    #[arg(
        long,
        value_name = "R",
        value_delimiter = ',',
        default_value = "0,1M,5M,10M,max"
    )]
    pub(super) rates: Vec<Rate>,
    /// How long connections begin at each rate
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    pub(super) seconds: Duration,
    /// Rounds, each with all rates in a random order; medians count
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u16).range(1..=101))]
    pub(super) rounds: u16,
    /// Decides the order of the turns (default: random; it is in the file)
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
    /// Connections a second, begun whether or not earlier ones are done
    #[arg(long, value_name = "R", default_value = "500", value_parser = number)]
    pub(super) connections: u64,
    /// Bytes of the HTTP request of each
    #[arg(long, value_name = "BYTES", default_value = "200", value_parser = clap::value_parser!(u32).range(18..=4096))]
    pub(super) data: u32,
    /// Give a connection up after this time
    #[arg(long, value_name = "S", default_value = "8", value_parser = seconds)]
    pub(super) patience: Duration,
    /// Load this long file meanwhile: data towards the generator
    #[arg(long, value_name = "PATH")]
    pub(super) download: Option<String>,
    /// Store a file of this name meanwhile, by PUT: data towards the device under test, into the queues of the flood
    #[arg(long, value_name = "PATH")]
    pub(super) upload: Option<String>,
    /// Connections of each transfer
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u8).range(1..))]
    pub(super) flows: u8,
    /// Cores of the flood, separated by commas; they share its rate
    #[arg(long, value_name = "CORES", value_delimiter = ',', default_value = "0")]
    pub(super) flood_cores: Vec<usize>,
    /// Core of the connections (default: any)
    #[arg(long, value_name = "CORE")]
    pub(super) connect_core: Option<usize>,
    /// Network namespace of connections and transfers (`ip netns`), where another has the address
    #[arg(long, value_name = "NAME")]
    pub(super) connect_in: Option<String>,
    /// Allow an interface that is no veth, or has an address
    #[arg(long)]
    pub(super) i_own_this_network: bool,
    /// Where all results go, as JSON
    #[arg(long, value_name = "FILE", default_value = "generate.json")]
    pub(super) output: PathBuf,
}

/// Makes the traffic of all turns, and writes what became of it.
///
/// # Errors
/// An interface that is not the caller's to flood, no connection before any flood, an interruption, or turns that
/// failed; results up to then are in the file.
pub(crate) fn run(options: &Options) -> Result<()> {
    let device = Device::named(&options.interface)?;
    check_owned(&device, options.i_own_this_network)?;
    let addresses = device::addresses(&options.interface)?;
    check_addresses(&options.interface, &addresses, options.i_own_this_network)?;
    ensure!(
        options.sources.contains(':') == options.destination.is_ipv6(),
        "--sources and --destination are of different families"
    );
    let seed = match options.seed {
        Some(seed) => seed,
        None => getrandom::u64().context("no random seed: give one with --seed")?,
    };
    let mut record = Generated {
        machine: Machine::here(&std::env::current_exe()?),
        conditions: conditions(options),
        seed,
        rounds: options.rounds,
        turns: Vec::new(),
    };
    let interrupt = Interrupt::new()?;
    let loader = Loader::new(options, &interrupt)?;
    // Once for all turns, because a driver may reset its rings for the first program, but not for those that replace it.
    let mut object = xdp_objects::open(&mut EbpfLoader::new())?;
    let visit = Visit::begin(
        device,
        xdp_objects::load(&mut object, "pass")?.fd()?.as_fd(),
    )?;
    loader.warm_up(WARM_UP)?;
    for (round, rate) in plan(&options.rates, options.rounds, seed) {
        if interrupt.requested() {
            break;
        }
        eprintln!("round {} of {}: {rate}", round + 1, options.rounds);
        let done = turn(&loader, rate, &interrupt);
        // What an interruption broke is no result.
        if interrupt.requested() {
            break;
        }
        let (begin, load, error) = match done {
            Ok((begin, load)) => (begin, Some(load), None),
            Err(error) => (now(), None, Some(format!("{error:#}"))),
        };
        if let Some(error) = &error {
            eprintln!("{rate}: {error}");
        }
        record.turns.push(Turn {
            round,
            rate: rate.word(),
            begin,
            end: begin + options.seconds.as_secs_f64(),
            load,
            error,
        });
    }
    drop(visit);
    let failed = record.turns.iter().filter(|turn| turn.error.is_some());
    let failed = failed.count();
    Record::Generator(record).write(&options.output)?;
    ensure!(!interrupt.requested(), "interrupted");
    if failed > 0 {
        bail!(
            "{failed} turns failed, see above and in {}",
            options.output.display()
        );
    }
    Ok(())
}

/// One rate: when its connections began, and what became of all.
fn turn(loader: &Loader<'_>, rate: Rate, interrupt: &Interrupt) -> Result<(f64, Load)> {
    pause(REST, interrupt)?;
    let flood = loader.flood(rate)?;
    pause(LEAD, interrupt)?;
    let begin = now();
    Ok((begin, loader.data()?.finish(flood)?))
}

fn pause(time: Duration, interrupt: &Interrupt) -> Result<()> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        ensure!(!interrupt.requested(), "interrupted");
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Every rate in every round; the order within a round is random.
fn plan(rates: &[Rate], rounds: u16, seed: u64) -> Vec<(u16, Rate)> {
    let mut order = Order::new(seed);
    let mut rates = rates.to_vec();
    let mut turns = Vec::new();
    for round in 0..rounds {
        order.shuffle(&mut rates);
        turns.extend(rates.iter().map(|rate| (round, *rate)));
    }
    turns
}

/// Refuses an interface that this machine itself uses, unless the caller says that it is for this alone.
fn check_addresses(name: &str, addresses: &[IpAddr], owned: bool) -> Result<()> {
    match addresses.first() {
        Some(address) if !owned => bail!(
            "{name} has the address {address}: a flood there is in the way of whatever this machine does with it. Take an \
             interface without one (see --help for how connections get theirs), or, if it is for this alone: \
             --i-own-this-network"
        ),
        _ => Ok(()),
    }
}

fn conditions(options: &Options) -> Vec<String> {
    let files = [("down", &options.download), ("up", &options.upload)];
    let transfers: Vec<_> = files
        .iter()
        .filter_map(|(way, path)| Some(format!("{way} {}", path.as_ref()?)))
        .collect();
    let transfers = match transfers.is_empty() {
        true => "no transfer".into(),
        false => format!(
            "transfers over {} connection(s) each: {}",
            options.flows,
            transfers.join(", ")
        ),
    };
    vec![
        format!(
            "SYNs on {} to {} from random addresses of {}, made on core(s) {}",
            options.interface,
            options.destination,
            options.sources,
            options
                .flood_cores
                .iter()
                .map(usize::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        ),
        format!(
            "meanwhile for {} s {} connections a second, begun whatever became of earlier ones, each with a request of {} \
             bytes, given up after {} s; {transfers}",
            options.seconds.as_secs_f64(),
            options.connections,
            options.data,
            options.patience.as_secs_f64()
        ),
    ]
}

fn prefix(text: &str) -> Result<String, String> {
    text.parse::<Prefix>().map(|_| text.to_owned())
}

fn mac(text: &str) -> Result<String, String> {
    match parse_mac(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    /// The options of a line with the necessary ones before it.
    pub(in super::super) fn parse(line: &str) -> Result<Options, String> {
        let usual = "generate --interface eth1 --destination 192.0.2.10:80 --sources 10.0.0.0/8";
        Line::try_parse_from(usual.split_whitespace().chain(line.split_whitespace()))
            .map(|line| line.options)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn every_round_has_every_rate_in_an_order_of_its_own() {
        let rates = parse("--rates 0,1M,5M,10M,max").unwrap().rates;
        let turns = plan(&rates, 3, 7);
        assert_eq!(turns.len(), 15);
        let orders: Vec<Vec<String>> = turns
            .chunks(5)
            .map(|round| round.iter().map(|(_, rate)| rate.word()).collect())
            .collect();
        for (round, order) in orders.iter().enumerate() {
            assert!(
                turns[5 * round..][..5]
                    .iter()
                    .all(|turn| usize::from(turn.0) == round)
            );
            let mut sorted = order.clone();
            sorted.sort();
            assert_eq!(sorted, ["0", "1000000", "10000000", "5000000", "max"]);
        }
        assert!(
            orders[0] != orders[1] || orders[1] != orders[2],
            "{orders:?}"
        );
        assert_eq!(turns, plan(&rates, 3, 7), "the seed decides it");
    }

    #[test]
    fn an_interface_in_use_is_refused_by_name() {
        let address = ["198.51.100.2".parse().unwrap()];
        let error = check_addresses("eth1", &address, false)
            .unwrap_err()
            .to_string();
        for part in ["eth1", "198.51.100.2", "--i-own-this-network"] {
            assert!(error.contains(part), "{error}");
        }
        check_addresses("eth1", &address, true).unwrap();
        check_addresses("eth1", &[], false).unwrap();
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in [
            "--rates 1,x",
            "--rates ''",
            "--mac 02:53",
            "--data 17",
            "--flows 0",
            "--sources 10.0.0.0",
            "--rounds 0",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_file_tells_what_was_done() {
        let options = parse("--download /big --flows 2 --flood-cores 1,2").unwrap();
        let text = conditions(&options).join("; ");
        for part in [
            "eth1",
            "192.0.2.10:80",
            "core(s) 1, 2",
            "2 connection(s) each: down /big",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
