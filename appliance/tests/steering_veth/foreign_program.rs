//! XDP programs that are not synward's: two instructions and a name, loaded with bpf(2). Numbers are from
//! include/uapi/linux/bpf.h.

use std::ffi::CString;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::{io, mem, ptr};

/// Loads a program that passes every frame.
pub(crate) fn load(name: &str) -> OwnedFd {
    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        instructions: u64,
        license: u64,
        log: [u64; 2],
        version: u32,
        flags: u32,
        name: [u8; 16],
    }
    const XDP: u32 = 6;
    // r0 = XDP_PASS; exit
    let instructions = [0x0000_0002_0000_00b7u64, 0x95];
    let mut text = [0; 16];
    text[..name.len()].copy_from_slice(name.as_bytes());
    bpf(
        5,
        &Load {
            kind: XDP,
            count: instructions.len() as u32,
            instructions: instructions.as_ptr().addr() as u64,
            license: c"GPL".as_ptr().addr() as u64,
            log: [0; 2],
            version: 0,
            flags: 0,
            name: text,
        },
    )
    .unwrap()
}

/// Pins a program or a link.
pub(crate) fn pin(object: &OwnedFd, path: &Path) {
    #[repr(C)]
    struct Pin {
        path: u64,
        object: u32,
        flags: u32,
    }
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let pin = Pin {
        path: path.as_ptr().addr() as u64,
        object: object.as_raw_fd() as u32,
        flags: 0,
    };
    assert_eq!(call(6, &pin).unwrap(), 0);
}

/// Attaches a program to an interface of the caller's network namespace with a link.
pub(crate) fn attach(program: &OwnedFd, interface: u32) -> OwnedFd {
    try_attach(program, interface).unwrap()
}

/// [`attach`], which may be refused.
pub(crate) fn try_attach(program: &OwnedFd, interface: u32) -> io::Result<OwnedFd> {
    const XDP: u32 = 37;
    const NATIVE: u32 = 1 << 2;
    bpf(28, &[program.as_raw_fd() as u32, interface, XDP, NATIVE])
}

fn bpf<T>(command: i32, attributes: &T) -> io::Result<OwnedFd> {
    let fd = call(command, attributes)?;
    // SAFETY: bpf(2) has just created this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn call<T>(command: i32, attributes: &T) -> io::Result<i32> {
    // SAFETY: `attributes` is a plain structure in the layout of the command, with the given length. Addresses in it are
    // those of buffers on the callers' stacks that outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            ptr::from_ref(attributes),
            mem::size_of::<T>(),
        )
    };
    match result {
        -1 => Err(io::Error::last_os_error()),
        number => Ok(number as i32),
    }
}
