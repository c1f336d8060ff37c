//! `bench pass`: attaches an XDP program that passes everything, and leaves it attached without a process.

use std::os::fd::AsFd as _;

use anyhow::Result;
use aya::EbpfLoader;
use clap::Args;

use crate::device::Device;
use crate::{xdp_attach, xdp_objects};

/// Command line of `bench pass`.
#[derive(Args)]
pub(crate) struct Options {
    /// Interface to attach to
    #[arg(long, value_name = "IF")]
    interface: String,
    /// Drop everything instead, including ARP: to measure a generator alone
    #[arg(long)]
    drop: bool,
    /// Detach the interface's program instead
    #[arg(long, conflicts_with = "drop")]
    detach: bool,
}

/// Attaches the program, or detaches the present one.
///
/// # Errors
/// No such interface, or the kernel's refusal.
pub(crate) fn run(options: &Options) -> Result<()> {
    let device = Device::named(&options.interface)?;
    if options.detach {
        return xdp_attach::detach(&device);
    }
    let mut object = xdp_objects::FLOOD.open(&mut EbpfLoader::new())?;
    let program = object.load(if options.drop { "sink" } else { "pass" })?;
    xdp_attach::attach(&device, program.fd()?.as_fd())
}
