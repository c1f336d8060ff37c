//! `bench flood`: a bounded flood of TCP segments, made by an XDP program that the kernel runs repeatedly.

mod bursts;
mod flood_options;
mod flood_report;
mod frame_fields;
mod frame_template;
mod generator;
mod prefix;
pub(crate) mod repeat;

use anyhow::{Result, ensure};

use self::bursts::Bursts;
pub(crate) use self::flood_options::Options;
use self::flood_options::{Kind, Rate};
use self::flood_report::{Report, print};
use self::frame_template::Segment;
use self::generator::{Generator, Plan};
pub(crate) use self::prefix::Prefix;
use crate::cores::pin_to_core;
use crate::device::{Device, parse_mac};

/// Sends the flood and prints the report.
///
/// # Errors
/// Wrong or missing addresses, an interface that is not the caller's to flood, or the kernel's refusal.
pub(crate) fn run(options: &Options) -> Result<()> {
    let device = Device::named(&options.interface)?;
    check_owned(&device, options.i_own_this_network)?;
    if let Some(core) = options.core {
        pin_to_core(core)?;
    }
    let plan = plan(options, &device)?;
    let mut generator = Generator::new(&plan)?;
    let bursts = match &options.bursts_from[..] {
        [] => None,
        cores => Some(Bursts::new(&plan, &device, cores)?),
    };
    let visit = match (options.kind, options.count_answers) {
        (Kind::Handshake, _) => Some(generator.attach("handshake", device)?),
        (_, true) => Some(generator.attach("answers", device)?),
        (_, false) => None,
    };
    let sent = match bursts {
        Some(bursts) => bursts.send(options.seconds)?,
        None => generator.send(options.seconds, options.batch)?,
    };
    let answers = match visit {
        Some(_) => Some(generator.answers(sent.syns + sent.acks)?),
        None => None,
    };
    drop(visit);
    let report = Report {
        kind: options.kind,
        sent: sent.syns + sent.acks,
        syns: sent.syns,
        acks: sent.acks,
        seconds: sent.seconds,
        pps: (sent.syns + sent.acks) as f64 / sent.seconds,
        answers,
    };
    match options.json {
        true => println!("{}", serde_json::to_string(&report)?),
        false => print(&report),
    }
    Ok(())
}

/// Refuses an interface other than a veth, unless the caller states that the network is theirs.
///
/// # Errors
/// It is no veth, and the caller did not state this.
pub(crate) fn check_owned(device: &Device, owned: bool) -> Result<()> {
    ensure!(
        owned || device.kind.as_deref() == Some("veth"),
        "{} is no veth: a flood there reaches a real network. If that network is yours: --i-own-this-network",
        device.name
    );
    Ok(())
}

fn plan(options: &Options, device: &Device) -> Result<Plan> {
    let destination = options.destination;
    ensure!(
        options.sources.is_ipv4() == destination.is_ipv4(),
        "--sources and --destination are of different families"
    );
    let mac = match &options.mac {
        Some(mac) => parse_mac(mac)?,
        None => device.neighbour_towards(destination.ip())?,
    };
    Ok(Plan {
        interface: device.index,
        sources: options.sources,
        kind: options.kind,
        syn: Segment::syn(device.mac, mac, destination, options.profile),
        ack: Segment::ack(device.mac, mac, destination, options.timestamps),
        count: options.count.unwrap_or(u64::MAX),
        rate: match options.rate {
            Rate::Max => None,
            Rate::PerSecond(rate) => Some(rate),
        },
    })
}
