//! XDP programs of a few instructions each, written as raw instructions, so that these tests need no
//! compiler and do not depend on the appliance's own programs. They use bpf(2) directly; numbers are
//! from include/uapi/linux/bpf.h.

use std::{
    io, mem,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr,
};

/// The test frames' EtherType (IEEE 802 "local experimental 1"), as a little-endian load of the two
/// bytes gives it.
const ETHERTYPE: i32 = 0x88b5_u16.swap_bytes() as i32;
/// The first and the last eight of the 32 bytes of metadata.
pub(crate) const MARKER: i32 = 0x5eed_cafe;

const XDP_DROP: i32 = 1;
const XDP_PASS: i32 = 2;

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    Native,
    Generic,
}

/// Passes every frame. A veth with a program accepts frames that its peer transmits from XDP or AF_XDP.
pub(crate) fn pass() -> io::Result<OwnedFd> {
    load(&[imm(0, XDP_PASS), exit()])
}

/// Drops every frame.
pub(crate) fn sink() -> io::Result<OwnedFd> {
    load(&[imm(0, XDP_DROP), exit()])
}

/// Redirects test frames to the socket in the slot of their queue. Passes other frames, and test frames for
/// an empty slot.
pub(crate) fn steer(sockets: &OwnedFd) -> io::Result<OwnedFd> {
    let [map_low, map_high] = map(1, sockets);
    load(&[
        imm(0, XDP_PASS),
        ldx(W, 2, 1, 0), // data
        ldx(W, 3, 1, 4), // data_end
        mov(4, 2),
        add(4, 22),
        jump_greater(4, 3, END),
        ldx(H, 4, 2, 12),
        jump_not(4, ETHERTYPE, END),
        ldx(W, 2, 1, 16), // rx_queue_index
        map_low,
        map_high,
        imm(3, XDP_PASS),
        call(REDIRECT_MAP),
        exit(),
    ])
}

/// Stores 32 bytes of metadata (u64 each: [`MARKER`], the frame's sequence number, the queue,
/// [`MARKER`]) and redirects.
pub(crate) fn steer_with_metadata(sockets: &OwnedFd) -> io::Result<OwnedFd> {
    let [map_low, map_high] = map(1, sockets);
    load(&[
        mov(6, 1),
        imm(2, -32),
        call(ADJUST_META),
        jump_not(0, 0, END),
        imm(0, XDP_DROP),
        ldx(W, 2, 6, 8), // data_meta
        ldx(W, 3, 6, 0), // data
        ldx(W, 4, 6, 4), // data_end
        mov(5, 2),
        add(5, 32),
        jump_greater(5, 3, END),
        mov(5, 3),
        add(5, 22),
        jump_greater(5, 4, END),
        store(2, 0, MARKER),
        ldx(DW, 5, 3, 14),
        stx(2, 8, 5),
        ldx(W, 5, 6, 16), // rx_queue_index
        stx(2, 16, 5),
        store(2, 24, MARKER),
        mov(2, 5),
        map_low,
        map_high,
        imm(3, XDP_PASS),
        call(REDIRECT_MAP),
        exit(),
    ])
}

/// A generator, driven by [`generate`]: writes a test frame with the next sequence number of `counter` (an
/// array map of one u64) into every frame, and redirects it to `interface`.
pub(crate) fn number(counter: &OwnedFd, interface: u32) -> io::Result<OwnedFd> {
    let [value_low, value_high] = map(2, counter);
    load(&[
        imm(0, XDP_DROP),
        ldx(W, 2, 1, 0), // data
        ldx(W, 3, 1, 4), // data_end
        mov(4, 2),
        add(4, 60),
        jump_greater(4, 3, END),
        value_low,
        value_high,
        ldx(DW, 5, 4, 0),
        mov(0, 5),
        add(0, 1),
        stx(4, 0, 0),
        store(2, 0, 2), // to 02:00:00:00:00:00
        store(2, 8, 0), // from 00:00:00:00:00:00
        store_half(2, 12, ETHERTYPE),
        stx(2, 14, 5),
        imm(1, interface as i32),
        imm(2, 0),
        call(REDIRECT),
        exit(),
    ])
}

/// Runs `program` on `count` live frames of 60 bytes, as if received on `interface`.
pub(crate) fn generate(program: &OwnedFd, interface: u32, count: u32) -> io::Result<()> {
    #[repr(C)]
    struct TestRun {
        program: u32,
        result: u32,
        input_length: u32,
        output_length: u32,
        input: u64,
        output: u64,
        repeat: u32,
        duration: u32,
        context_length: u32,
        context_output_length: u32,
        context: u64,
        context_output: u64,
        flags: u32,
        cpu: u32,
        batch: u32,
        padding: u32,
    }
    const LIVE_FRAMES: u32 = 2;
    let frame = [0u8; 60];
    let context = [0u32, frame.len() as u32, 0, interface, 0, 0];
    bpf(
        10,
        &TestRun {
            program: program.as_raw_fd() as u32,
            result: 0,
            input_length: frame.len() as u32,
            output_length: 0,
            input: frame.as_ptr().addr() as u64,
            output: 0,
            repeat: count,
            duration: 0,
            context_length: mem::size_of_val(&context) as u32,
            context_output_length: 0,
            context: context.as_ptr().addr() as u64,
            context_output: 0,
            flags: LIVE_FRAMES,
            cpu: 0,
            batch: 64,
            padding: 0,
        },
    )?;
    Ok(())
}

/// Creates an XSKMAP with one slot per queue.
pub(crate) fn socket_map(queues: u32) -> io::Result<OwnedFd> {
    create_map(17, 4, queues)
}

/// Creates an array map of one u64.
pub(crate) fn counter() -> io::Result<OwnedFd> {
    create_map(2, 8, 1)
}

/// Puts a socket into the slot of its queue.
pub(crate) fn set_socket(sockets: &OwnedFd, queue: u32, socket: i32) -> io::Result<()> {
    #[repr(C)]
    struct Update {
        map: u32,
        padding: u32,
        key: u64,
        value: u64,
        flags: u64,
    }
    let key = ptr::from_ref(&queue).addr() as u64;
    let value = ptr::from_ref(&socket).addr() as u64;
    bpf(
        2,
        &Update {
            map: sockets.as_raw_fd() as u32,
            padding: 0,
            key,
            value,
            flags: 0,
        },
    )?;
    Ok(())
}

/// Attaches a program to an interface of the caller's network namespace until the result is dropped.
pub(crate) fn attach(program: &OwnedFd, interface: u32, mode: Mode) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct LinkCreate {
        program: u32,
        interface: u32,
        kind: u32,
        flags: u32,
    }
    let flags = match mode {
        Mode::Generic => 1 << 1,
        Mode::Native => 1 << 2,
    };
    bpf(
        28,
        &LinkCreate {
            program: program.as_raw_fd() as u32,
            interface,
            kind: 37,
            flags,
        },
    )
    .and_then(owned)
}

fn create_map(kind: u32, value_size: u32, entries: u32) -> io::Result<OwnedFd> {
    bpf(0, &[kind, 4, value_size, entries, 0, 0]).and_then(owned)
}

fn load(instructions: &[u64]) -> io::Result<OwnedFd> {
    let instructions = resolve(instructions);
    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
        version: u32,
        flags: u32,
    }
    let mut log = vec![0u8; 1 << 16];
    let result = bpf(
        5,
        &Load {
            kind: 6,
            count: instructions.len() as u32,
            instructions: instructions.as_ptr().addr() as u64,
            license: c"GPL".as_ptr().addr() as u64,
            log_level: 1,
            log_size: log.len() as u32,
            log: log.as_mut_ptr().addr() as u64,
            version: 0,
            flags: 0,
        },
    );
    result.and_then(owned).map_err(|error| {
        let text = String::from_utf8_lossy(&log)
            .trim_end_matches('\0')
            .to_owned();
        io::Error::other(format!("{error}: {text}"))
    })
}

/// Resolves jumps to [`END`] to the last instruction.
fn resolve(instructions: &[u64]) -> Vec<u64> {
    let last = instructions.len() - 1;
    let end = u64::from(END as u16) << 16;
    let is_jump = |code: u64| matches!(code as u8, 0x2d | 0x55);
    instructions
        .iter()
        .enumerate()
        .map(
            |(at, &code)| match is_jump(code) && code & 0xffff_0000 == end {
                true => code & !0xffff_0000 | ((last - at - 1) as u64) << 16,
                false => code,
            },
        )
        .collect()
}

fn bpf<T>(command: i32, attributes: &T) -> io::Result<i32> {
    // SAFETY: `attributes` is a plain structure in the layout of the command, with the given length;
    // addresses in it are those of buffers on the callers' stacks that outlive the call and have the
    // lengths given with them.
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
        fd => Ok(fd as i32),
    }
}

fn owned(fd: i32) -> io::Result<OwnedFd> {
    // SAFETY: bpf(2) has just created this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

// The instructions: opcode, destination, source, offset, immediate
// (Documentation/bpf/standardization/instruction-set.rst).

const W: u8 = 0x00;
const H: u8 = 0x08;
const DW: u8 = 0x18;
/// The offset of a jump to the last instruction; see [`resolve`].
const END: i16 = i16::MAX;
const REDIRECT: i32 = 23;
const REDIRECT_MAP: i32 = 51;
const ADJUST_META: i32 = 54;

const fn instruction(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> u64 {
    (code as u64)
        | (to as u64) << 8
        | (from as u64) << 12
        | (offset as u16 as u64) << 16
        | (immediate as u32 as u64) << 32
}

const fn imm(to: u8, value: i32) -> u64 {
    instruction(0xb7, to, 0, 0, value)
}

const fn mov(to: u8, from: u8) -> u64 {
    instruction(0xbf, to, from, 0, 0)
}

const fn add(to: u8, value: i32) -> u64 {
    instruction(0x07, to, 0, 0, value)
}

const fn ldx(size: u8, to: u8, from: u8, offset: i16) -> u64 {
    instruction(0x61 | size, to, from, offset, 0)
}

/// Stores a 64-bit register.
const fn stx(to: u8, offset: i16, from: u8) -> u64 {
    instruction(0x7b, to, from, offset, 0)
}

/// Stores a constant as 64 bits.
const fn store(to: u8, offset: i16, value: i32) -> u64 {
    instruction(0x7a, to, 0, offset, value)
}

const fn store_half(to: u8, offset: i16, value: i32) -> u64 {
    instruction(0x6a, to, 0, offset, value)
}

const fn jump_greater(left: u8, right: u8, over: i16) -> u64 {
    instruction(0x2d, left, right, over, 0)
}

const fn jump_not(left: u8, value: i32, over: i16) -> u64 {
    instruction(0x55, left, 0, over, value)
}

const fn call(function: i32) -> u64 {
    instruction(0x85, 0, 0, 0, function)
}

const fn exit() -> u64 {
    instruction(0x95, 0, 0, 0, 0)
}

/// Loads a map (`kind` 1) or the address of the first value of an array (`kind` 2) into r1 or r4.
fn map(kind: u8, map: &OwnedFd) -> [u64; 2] {
    let to = if kind == 1 { 1 } else { 4 };
    [instruction(0x18, to, kind, 0, map.as_raw_fd()), 0]
}
