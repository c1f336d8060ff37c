//! The command line of `bench two-machines generate`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::cli_values::{number, seconds};
use crate::compare::Rate;
use crate::device::parse_mac;
use crate::flood::Prefix;

/// Command line of `bench two-machines generate`.
#[derive(Args)]
#[command(after_long_help = "\
The flood leaves the interface by XDP and needs no address. Connections and transfers use the kernel's stack, so \
 they need an address on the same link, towards the device under test. Either the interface has the address and \
 is used for nothing else:

  ip address add 198.51.100.2/24 dev eth1; ip route add 192.0.2.0/24 via 198.51.100.1
  bench two-machines generate --interface eth1 --i-own-this-network …

or a macvlan in its own namespace has the address, and the interface has none:

  ip netns add wire; ip link add link eth1 name wire0 netns wire type macvlan
  ip -n wire address add 198.51.100.2/24 dev wire0; ip -n wire link set wire0 up
  ip -n wire route add default via 198.51.100.1
  bench two-machines generate --interface eth1 --connect-in wire --mac MAC --i-own-this-network …

Meanwhile the interface has an XDP program that counts SYN-ACKs to the flood's sources and passes everything \
 else; drivers may take their link down for some seconds when a program is attached.")]
pub(crate) struct Options {
    /// Interface to flood on: a veth without an address, unless --i-own-this-network
    #[arg(long, value_name = "IF")]
    pub(super) interface: String,
    /// The web server on the device under test, or behind it
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(super) destination: SocketAddr,
    /// Prefix of the flood's random source addresses
    #[arg(long, value_name = "PREFIX", value_parser = prefix)]
    pub(super) sources: String,
    /// MAC of the device under test (default: from the neighbour entry of the destination or its gateway)
    #[arg(long, value_name = "MAC", value_parser = mac)]
    pub(super) mac: Option<String>,
    /// Rates of the floods in SYN/s, separated by commas; 0 = no flood, max = full speed; 0 also measures the cost of
    /// the data alone
    #[arg(
        long,
        value_name = "R",
        value_delimiter = ',',
        default_value = "0,1M,5M,10M,max"
    )]
    pub(super) rates: Vec<Rate>,
    /// Time in which connections begin at each rate
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    pub(super) seconds: Duration,
    /// Rounds, each with all rates in a random order; medians are reported
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u16).range(1..=101))]
    pub(super) rounds: u16,
    /// Seed of the order of turns (default: random; the file records it)
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
    /// Connections per second, independent of earlier ones
    #[arg(long, value_name = "R", default_value = "500", value_parser = number)]
    pub(super) connections: u64,
    /// Bytes of each connection's HTTP request
    #[arg(long, value_name = "BYTES", default_value = "200", value_parser = clap::value_parser!(u32).range(18..=4096))]
    pub(super) data: u32,
    /// Abandon a connection after this time
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
    /// Network namespace of connections and transfers (`ip netns`), if the address is there
    #[arg(long, value_name = "NAME")]
    pub(super) connect_in: Option<String>,
    /// Allow an interface other than a veth, or with an address
    #[arg(long)]
    pub(super) i_own_this_network: bool,
    /// File for all results, as JSON
    #[arg(long, value_name = "FILE", default_value = "generate.json")]
    pub(super) output: PathBuf,
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
}
