//! `bench`: load generators and measurements for SYN defences, synward and others.

mod baseline;
mod cli_values;
mod compare;
mod connect;
mod cores;
mod delay;
mod device;
mod echo;
mod engine;
mod flood;
mod flow_table_bench;
mod interrupt;
mod machine;
mod order;
mod pass;
mod report;
mod reset;
mod rings;
mod shared_pod;
mod spread;
mod two_machines;
mod xdp_attach;
mod xdp_objects;

use clap::Parser;

/// Loads and measures SYN defences. Use it only on networks that you own.
#[derive(Parser)]
#[command(version)]
enum Bench {
    /// Sends a bounded flood of TCP segments from random sources
    Flood(flood::Options),
    /// Opens a connection and sends one of its segments repeatedly, at full speed
    Repeat(flood::repeat::Options),
    /// Attaches an XDP program that passes everything, as the peer of a veth that transmits by XDP needs it
    Pass(pass::Options),
    /// Attaches an XDP program that synward is compared with: the kernel's cookies made in XDP, and others
    Baseline(baseline::Options),
    /// Answers SYNs over AF_XDP with minimal code, until interrupted; synward is compared with it
    Echo(echo::Options),
    /// Accepts TCP connections and resets each at once, until interrupted
    Reset(reset::Options),
    /// Connects two interfaces by a line with delay, loss and reordering, until interrupted
    Delay(delay::Options),
    /// Opens TCP connections at a constant rate and measures the time of each
    Connect(connect::Options),
    /// Runs the same workload behind each of several SYN defences, in labs that it builds, and compares
    #[command(subcommand)]
    Compare(compare::Command),
    /// Measures the engine's cost per batch: answering SYNs, verifying ACKs, translating segments
    Engine(engine::Options),
    /// Measures the cost of a frame through the appliance's AF_XDP sockets, compared with minimal code on the same
    /// rings
    Rings(rings::Options),
    /// Writes a page with a table and plots of all comparisons
    Report(report::Options),
    /// Measures look-ups and insertions in the tables that could hold the flows
    FlowTable(flow_table_bench::Options),
    /// Measures a defence on physical NICs, from a second machine, with a flood and data at once
    #[command(subcommand)]
    TwoMachines(two_machines::Command),
}

fn main() {
    let done = match Bench::parse() {
        Bench::Flood(options) => flood::run(&options),
        Bench::Repeat(options) => flood::repeat::run(&options),
        Bench::Pass(options) => pass::run(&options),
        Bench::Baseline(options) => baseline::run(&options),
        Bench::Echo(options) => echo::run(&options),
        Bench::Reset(options) => reset::run(&options),
        Bench::Delay(options) => delay::run(&options),
        Bench::Connect(options) => connect::run(&options),
        Bench::Compare(command) => compare::run(&command),
        Bench::Engine(options) => engine::run(&options),
        Bench::Rings(options) => rings::run(&options),
        Bench::Report(options) => report::run(&options),
        Bench::FlowTable(options) => flow_table_bench::run(&options),
        Bench::TwoMachines(command) => two_machines::run(&command),
    };
    if let Err(error) = done {
        eprintln!("bench: {error:#}");
        std::process::exit(1);
    }
}
