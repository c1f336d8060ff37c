//! `bench baseline`: the XDP programs of `bench/ebpf/src/baseline` that synward is compared with, left on an interface without a
//! process.

use std::net::SocketAddr;
use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result};
use aya::maps::{Array, HashMap, Map};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader, Pod};
use clap::{Args, ValueEnum};
use synward_core::layout::{Endpoint, EndpointKey, Globals, Profile};

use crate::device::Device;
use crate::xdp_attach;

static OBJECT: &[u8] = aya::include_bytes_aligned!("../ebpf/objects/baseline.o");

/// Command line of `bench baseline`.
#[derive(Args)]
pub(crate) struct Options {
    /// What answers SYNs
    program: Program,
    /// Interface to attach to, in place of its program
    #[arg(long, value_name = "IF")]
    interface: String,
    /// The service: 192.0.2.10:80 or [2001:db8:5::10]:80, several separated by commas; `bare` does not ask
    #[arg(long, value_name = "ADDRESS:PORT", value_delimiter = ',')]
    service: Vec<SocketAddr>,
    /// Window scale of the server's listeners
    #[arg(long, value_name = "N", default_value = "7", value_parser = clap::value_parser!(u8).range(..=14))]
    window_scale: u8,
}

/// A program of bench/ebpf/src/baseline.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Program {
    /// The kernel's cookies, and a look at the kernel's sockets first; wants tcp_syncookies=2 and tcp_timestamps=2
    KernelCookie,
    /// The same without that look
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

/// A type of the shared library as aya takes it.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Shared<T>(T);

// SAFETY: five words without padding.
unsafe impl Pod for Shared<EndpointKey> {}
// SAFETY: two words of 64 bits and four of 32.
unsafe impl Pod for Shared<Globals> {}
// SAFETY: two words and two profiles, which are integers with explicit padding, of eight bytes each.
unsafe impl Pod for Shared<Endpoint> {}

/// Attaches the program.
///
/// # Errors
/// No such interface, or the kernel's refusal.
pub(crate) fn run(options: &Options) -> Result<()> {
    let device = Device::named(&options.interface)?;
    let mut object = open(&mut EbpfLoader::new())?;
    serve(&mut object, options)?;
    let program = load(&mut object, options.program.name())?;
    xdp_attach::attach(&device, program.fd()?.as_fd())
}

/// Creates the maps; programs are loaded by name with [`load`].
///
/// # Errors
/// The kernel's refusal: no privilege, or no eBPF.
pub(crate) fn open(loader: &mut EbpfLoader<'_>) -> Result<Ebpf> {
    loader
        .load(OBJECT)
        .context("creating eBPF maps failed (bench needs root, or CAP_BPF and CAP_NET_ADMIN)")
}

/// Loads one of the object's programs into the kernel.
///
/// # Errors
/// The verifier's or the kernel's refusal.
pub(crate) fn load<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program: &mut Xdp = object
        .program_mut(name)
        .with_context(|| {
            format!("bench/ebpf/objects/baseline.o has no program '{name}': run ebpf/build")
        })?
        .try_into()?;
    program
        .load()
        .with_context(|| format!("the kernel refused the XDP program '{name}'"))?;
    Ok(program)
}

/// Enters the services, as the appliance does for its own.
fn serve(object: &mut Ebpf, options: &Options) -> Result<()> {
    let map: &mut Map = object
        .map_mut("ENDPOINTS")
        .context("bench/ebpf/objects/baseline.o has no map 'ENDPOINTS': run ebpf/build")?;
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
    let map: &mut Map = object
        .map_mut("GLOBALS")
        .context("bench/ebpf/objects/baseline.o has no map 'GLOBALS': run ebpf/build")?;
    let globals = Globals {
        generation: 1,
        ..Globals::default()
    };
    Array::<_, Shared<Globals>>::try_from(map)?
        .set(0, Shared(globals), 0)
        .context("entering the services failed")
}

/// What SYN-ACKs promise: the MSS of Ethernet, and a first window like the kernel's.
fn endpoint(service: &SocketAddr, window_scale: u8) -> Endpoint {
    let profile = Profile {
        mss: if service.is_ipv4() { 1460 } else { 1440 },
        window: u16::MAX,
        window_scale,
        ..Profile::default()
    };
    Endpoint {
        service: 0,
        since: 0,
        now: profile,
        before: profile,
    }
}
