//! `bench baseline`: attaches the XDP programs that synward is compared with (`bench/ebpf/src/baseline`), and leaves
//! them attached without a process.

use std::net::SocketAddr;
use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result};
use aya::EbpfLoader;
use aya::maps::{Array, HashMap};
use clap::{Args, ValueEnum};
use synward_core::layout::{Endpoint, EndpointKey, Globals, Profile};

use crate::device::Device;
use crate::shared_pod::Shared;
use crate::xdp_objects::LoadedObject;
use crate::{xdp_attach, xdp_objects};

/// Command line of `bench baseline`.
#[derive(Args)]
pub(crate) struct Options {
    /// The program that answers SYNs
    program: Program,
    /// Interface to attach to, replacing its program
    #[arg(long, value_name = "IF")]
    interface: String,
    /// The service: 192.0.2.10:80 or [2001:db8:5::10]:80, several separated by commas; `bare` ignores it
    #[allow(rustdoc::broken_intra_doc_links, reason = "an IPv6 address")]
    #[arg(long, value_name = "ADDRESS:PORT", value_delimiter = ',')]
    service: Vec<SocketAddr>,
    /// Window scale of the server's listeners
    #[arg(long, value_name = "N", default_value = "7", value_parser = clap::value_parser!(u8).range(..=14))]
    window_scale: u8,
}

/// A program of bench/ebpf/src/baseline.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Program {
    /// The kernel's cookies, after a socket look-up; needs tcp_syncookies=2 and tcp_timestamps=2
    KernelCookie,
    /// The same without the socket look-up
    KernelCookieBlind,
    /// One SipHash, fixed options, no look-up
    Bare,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::KernelCookie => "guard",
            Self::KernelCookieBlind => "guard_blind",
            Self::Bare => "bare",
        }
    }
}

/// Attaches the program.
///
/// # Errors
/// No such interface, or the kernel's refusal.
pub(crate) fn run(options: &Options) -> Result<()> {
    let device = Device::named(&options.interface)?;
    let mut object = xdp_objects::BASELINE.open(&mut EbpfLoader::new())?;
    enter_services(&mut object, options)?;
    let program = object.load(options.program.name())?;
    xdp_attach::attach(&device, program.fd()?.as_fd())
}

/// Enters the services into the maps, as the appliance does.
fn enter_services(object: &mut LoadedObject, options: &Options) -> Result<()> {
    let map = object.map_mut("ENDPOINTS")?;
    let mut endpoints: HashMap<_, Shared<EndpointKey>, Shared<Endpoint>> = HashMap::try_from(map)?;
    for service in &options.service {
        let key = EndpointKey {
            address: service.ip().into(),
            port: service.port().into(),
        };
        let endpoint = endpoint(service, options.window_scale);
        endpoints
            .insert(Shared(key), Shared(endpoint), 0)
            .with_context(|| format!("entering {service} failed"))?;
    }
    let map = object.map_mut("GLOBALS")?;
    let globals = Globals {
        generation: 1,
        ..Globals::default()
    };
    Array::<_, Shared<Globals>>::try_from(map)?
        .set(0, Shared(globals), 0)
        .context("entering the services failed")
}

/// What SYN-ACKs offer: the MSS of Ethernet, and an initial window like the kernel's.
fn endpoint(service: &SocketAddr, window_scale: u8) -> Endpoint {
    let profile = Profile {
        mss: if service.is_ipv4() { 1460 } else { 1440 },
        window: u16::MAX,
        window_scale,
        ..Profile::default()
    };
    Endpoint {
        service: 0,
        policy: 0,
        since: 0,
        now: profile,
        before: profile,
    }
}
