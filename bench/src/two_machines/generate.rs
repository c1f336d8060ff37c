//! `bench two-machines generate`: the generator.

use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use aya::EbpfLoader;

use super::generate_options::Options;
use super::output_file::{Generated, Load, Record, Turn, now};
use super::traffic::Loader;
use crate::compare::Rate;
use crate::device::{self, Device};
use crate::flood::check_owned;
use crate::interrupt::Interrupt;
use crate::machine::Machine;
use crate::order::Order;
use crate::xdp_attach::TemporaryProgram;
use crate::xdp_objects;

/// Connections that must succeed before the measurement.
const WARM_UP: u64 = 20;
/// Time from the start of the flood to that of the connections, so that all meet the flood.
const LEAD: Duration = Duration::from_secs(1);
/// Time between turns, for queues to drain.
const REST: Duration = Duration::from_secs(1);

/// Makes the traffic of all turns, and writes the results.
///
/// # Errors
/// An interface that the caller may not flood, no connection before any flood, an interruption, or failed turns. The
/// file has the results up to then.
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
    // Attached once for all turns: a driver may reset its rings for the first program, but not for its replacements.
    let mut object = xdp_objects::FLOOD.open(&mut EbpfLoader::new())?;
    let visit = TemporaryProgram::begin(device, object.load("pass")?.fd()?.as_fd())?;
    loader.warm_up(WARM_UP)?;
    for (round, rate) in plan(&options.rates, options.rounds, seed) {
        if interrupt.requested() {
            break;
        }
        eprintln!("round {} of {}: {rate}", round + 1, options.rounds);
        let done = turn(&loader, rate, &interrupt);
        // A turn that was interrupted is no result.
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

/// Runs one rate; returns when its connections began, and the results.
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

/// Refuses an interface that this machine uses otherwise, unless the caller states that it is reserved.
fn check_addresses(name: &str, addresses: &[IpAddr], owned: bool) -> Result<()> {
    match addresses.first() {
        Some(address) if !owned => bail!(
            "{name} has the address {address}: a flood there disturbs this machine's other traffic. Use an \
             interface without an address (--help shows how connections get one), or, if it is reserved for this \
             measurement, give --i-own-this-network"
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
            "meanwhile for {} s {} connections per second, begun independent of earlier ones, each with a request of {} \
             bytes, given up after {} s; {transfers}",
            options.seconds.as_secs_f64(),
            options.connections,
            options.data,
            options.patience.as_secs_f64()
        ),
    ]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::generate_options::tests::parse;
    use super::*;

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
