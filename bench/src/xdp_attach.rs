//! Attaches XDP programs by netlink: such a program stays attached without a process, unlike a bpf link (the only kind
//! that aya creates on current kernels).

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, RawFd};

use anyhow::{Context as _, Result, bail};
use aya::programs::{ProgramFd, loaded_programs};
use socket2::{Domain, Protocol, Socket, Type};

use crate::device::Device;

// include/uapi/linux/if_link.h
const IFLA_XDP_FD: u16 = 1;
const IFLA_XDP_FLAGS: u16 = 3;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// Attaches `program` to the device in native mode, replacing one attached the same way.
///
/// # Errors
/// The kernel's refusal: a bpf link holds the interface, or its driver has no XDP.
pub(crate) fn attach(device: &Device, program: BorrowedFd<'_>) -> Result<()> {
    set_xdp_program(device, program.as_raw_fd()).with_context(|| {
        format!(
            "attaching an XDP program to {} failed (busy: another program holds it through a bpf link; \
             not supported: its driver has no XDP)",
            device.name
        )
    })
}

/// Detaches the device's XDP program; no program is no error.
///
/// # Errors
/// The kernel's refusal, as for [`attach`].
pub(crate) fn detach(device: &Device) -> Result<()> {
    set_xdp_program(device, -1)
        .with_context(|| format!("detaching the XDP program of {} failed", device.name))
}

/// A temporarily attached program; dropping it restores the previous program.
pub(crate) struct TemporaryProgram {
    device: Device,
    previous: Option<ProgramFd>,
}

impl TemporaryProgram {
    /// Attaches `program`.
    ///
    /// # Errors
    /// Those of [`attach`].
    pub(crate) fn begin(device: Device, program: BorrowedFd<'_>) -> Result<Self> {
        let previous = match device.xdp {
            Some(id) => Some(program_by_id(id)?),
            None => None,
        };
        attach(&device, program)?;
        Ok(Self { device, previous })
    }
}

impl Drop for TemporaryProgram {
    fn drop(&mut self) {
        let restored = match &self.previous {
            Some(program) => attach(&self.device, program.as_fd()),
            None => detach(&self.device),
        };
        if let Err(error) = restored {
            eprintln!("bench: {error:#}");
        }
    }
}

fn program_by_id(id: u32) -> Result<ProgramFd> {
    for program in loaded_programs() {
        let program = program.context("listing the kernel's eBPF programs failed")?;
        if program.id() == id {
            return Ok(program.fd()?);
        }
    }
    bail!("the XDP program with id {id} is gone")
}

/// Sends RTM_SETLINK with IFLA_XDP (rtnetlink(7)) and waits for the kernel's answer.
fn set_xdp_program(device: &Device, program: RawFd) -> std::io::Result<()> {
    let mut socket = Socket::new(
        Domain::from(libc::AF_NETLINK),
        Type::RAW,
        Some(Protocol::from(libc::NETLINK_ROUTE)),
    )?;
    socket.write_all(&request(device.index, program))?;
    let mut answer = [0; 4096];
    let length = socket.read(&mut answer)?;
    // struct nlmsghdr (16 bytes), then struct nlmsgerr, which starts with a negative errno or 0.
    match answer[..length].get(16..20) {
        Some(&[a, b, c, d]) => match i32::from_ne_bytes([a, b, c, d]) {
            0 => Ok(()),
            errno => Err(std::io::Error::from_raw_os_error(-errno)),
        },
        _ => Err(std::io::ErrorKind::UnexpectedEof.into()),
    }
}

fn request(index: u32, program: RawFd) -> Vec<u8> {
    let mut xdp = attribute(IFLA_XDP_FD, &program.to_ne_bytes());
    xdp.extend(attribute(IFLA_XDP_FLAGS, &XDP_FLAGS_DRV_MODE.to_ne_bytes()));

    // struct ifinfomsg: family, padding, type, index, flags, mask of flags to change.
    let mut body = vec![libc::AF_UNSPEC as u8, 0, 0, 0];
    body.extend(index.to_ne_bytes());
    body.extend([0; 8]);
    body.extend(attribute(libc::IFLA_XDP | libc::NLA_F_NESTED as u16, &xdp));

    // struct nlmsghdr: length, type, flags, sequence number, port.
    let mut message = (16 + body.len() as u32).to_ne_bytes().to_vec();
    message.extend(libc::RTM_SETLINK.to_ne_bytes());
    message.extend(((libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16).to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// A netlink attribute whose value is a multiple of four bytes, so that it needs no padding.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = (4 + value.len() as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes
}
