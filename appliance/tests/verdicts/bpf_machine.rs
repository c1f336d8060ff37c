//! Interprets the XDP program and counts its instructions (RFC 9669). The kernel compiles the program and counts nothing, and
//! times differ from run to run.
//!
//! Maps are those of the program under test: an element is read when it is looked up first, and changes stay in this machine.
//! Helpers of the network do as if they had succeeded.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};

use aya::Ebpf;
use aya::maps::{Map, MapData};
use aya_obj::Object;

use crate::bpf_instruction::{Instruction, compute, is_taken, size_of};

const REGION: u32 = 32;
const STACK: u64 = 512;
/// In front of the frame: room for metadata and for a longer header.
const HEADROOM: u64 = 256;

/// A map of the program.
struct Table {
    fd: RawFd,
    key_size: usize,
    /// Bytes of a value, of all CPUs if each has its own.
    read_size: usize,
    value_size: usize,
    has_elements: bool,
}

pub(crate) struct Machine {
    program: Vec<Instruction>,
    tables: Vec<Table>,
    elements: HashMap<(usize, Vec<u8>), u64>,
    /// Memory: an address is the number of a region and an offset.
    regions: Vec<Vec<u8>>,
    free: Vec<usize>,
    context: u64,
    frame: [u64; 2],
    /// The coarse clock, ns.
    now: u64,
    random: u64,
    next_hop: u32,
    executed: u64,
}

/// What a run came to.
pub(crate) struct Run {
    pub(crate) verdict: u32,
    /// Instructions; a call of a helper is one.
    pub(crate) instructions: u64,
}

impl Machine {
    /// The program `steer` of `bytes`, with the maps of `object`. `next_hop`: the interface that routes lead to.
    pub(crate) fn new(bytes: &[u8], object: &Ebpf, now: u64, next_hop: u32) -> Self {
        let mut parsed = Object::parse(bytes).unwrap();
        let sections: HashSet<usize> = parsed
            .functions
            .keys()
            .map(|(section, _)| *section)
            .collect();
        let maps: Vec<_> = parsed
            .maps
            .iter()
            .map(|(name, map)| (name.clone(), map.clone()))
            .collect();
        let numbered = maps.iter().enumerate();
        let references =
            numbered.map(|(number, (name, map))| (name.as_str(), number as RawFd, map));
        parsed.relocate_maps(references, &sections).unwrap();
        parsed.relocate_calls(&sections).unwrap();
        let function = &parsed.functions[&parsed.programs["steer"].function_key()];
        let cpus = aya::util::nr_cpus().unwrap();
        let program = function.instructions.iter().map(|code| Instruction {
            code: code.code,
            destination: code.dst_reg().into(),
            source: code.src_reg().into(),
            offset: code.off,
            immediate: code.imm,
        });
        let tables = maps.iter().map(|(name, map)| {
            let loaded = object.map(name);
            let value_size = map.value_size() as usize;
            let read_size = match loaded {
                Some(Map::PerCpuArray(_)) => value_size.next_multiple_of(8) * cpus,
                _ => value_size,
            };
            Table {
                fd: loaded
                    .and_then(data_of)
                    .map_or(-1, |map| map.fd().as_fd().as_raw_fd()),
                key_size: map.key_size() as usize,
                read_size,
                value_size,
                has_elements: loaded.and_then(data_of).is_some(),
            }
        });
        Self {
            program: program.collect(),
            tables: tables.collect(),
            elements: HashMap::new(),
            regions: vec![vec![]],
            free: vec![],
            context: 0,
            frame: [0; 2],
            now,
            random: 1,
            next_hop,
            executed: 0,
        }
    }

    /// Runs the program on a frame that arrives at queue 0 of an interface.
    pub(crate) fn run(&mut self, interface: u32, frame: &[u8]) -> Run {
        let context = self.allocate(vec![0; 64]);
        self.context = context >> REGION;
        self.write(context + 12, 4, interface.into());
        let mut buffer = vec![0; HEADROOM as usize];
        buffer.extend_from_slice(frame);
        let start = self.allocate(buffer);
        self.frame = [start + HEADROOM, start + HEADROOM + frame.len() as u64];
        self.executed = 0;
        let verdict = self.call(0, [context, 0, 0, 0, 0]) as u32;
        self.release(context);
        self.release(start);
        Run {
            verdict,
            instructions: self.executed,
        }
    }

    fn allocate(&mut self, bytes: Vec<u8>) -> u64 {
        let region = self.free.pop().unwrap_or_else(|| {
            self.regions.push(vec![]);
            self.regions.len() - 1
        });
        self.regions[region] = bytes;
        (region as u64) << REGION
    }

    fn release(&mut self, address: u64) {
        self.free.push((address >> REGION) as usize);
    }

    fn bytes(&mut self, address: u64, size: usize) -> &mut [u8] {
        let at = address as u32 as usize;
        &mut self.regions[(address >> REGION) as usize][at..at + size]
    }

    fn read(&mut self, address: u64, size: usize) -> u64 {
        // The kernel replaces loads from `struct xdp_md` by loads of pointers.
        match address as u32 {
            at @ (0 | 4 | 8) if address >> REGION == self.context => {
                self.frame[usize::from(at == 4)]
            }
            _ => {
                let mut word = [0; 8];
                word[..size].copy_from_slice(self.bytes(address, size));
                u64::from_le_bytes(word)
            }
        }
    }

    fn write(&mut self, address: u64, size: usize, value: u64) {
        let bytes = value.to_le_bytes();
        self.bytes(address, size).copy_from_slice(&bytes[..size]);
    }

    /// Runs a function from its first instruction to its exit.
    fn call(&mut self, mut at: usize, arguments: [u64; 5]) -> u64 {
        let stack = self.allocate(vec![0; STACK as usize]);
        let mut registers = [0; 11];
        registers[1..6].copy_from_slice(&arguments);
        registers[10] = stack + STACK;
        loop {
            let code = self.program[at];
            self.executed += 1;
            at += 1;
            let jump = (at as isize + isize::from(code.offset)) as usize;
            match code.code & 7 {
                4 | 7 => compute(&code, &mut registers),
                0 => {
                    registers[code.destination] = self.constant(&code, self.program[at].immediate);
                    at += 1;
                }
                1 => {
                    let address = registers[code.source].wrapping_add_signed(code.offset.into());
                    let size = size_of(code.code);
                    let value = self.read(address, size);
                    let unused = 64 - 8 * size as u32;
                    registers[code.destination] = match code.code >> 5 {
                        4 => ((value << unused) as i64 >> unused) as u64,
                        _ => value,
                    };
                }
                class @ (2 | 3) => {
                    let address =
                        registers[code.destination].wrapping_add_signed(code.offset.into());
                    if class == 3 && code.code >> 5 == 6 {
                        self.exchange(&code, address, &mut registers);
                        continue;
                    }
                    let value = if class == 2 {
                        code.immediate as i64 as u64
                    } else {
                        registers[code.source]
                    };
                    self.write(address, size_of(code.code), value);
                }
                class => match code.code >> 4 {
                    0 if class == 5 => at = jump,
                    0 => at = (at as isize + code.immediate as isize) as usize,
                    8 => {
                        let arguments = registers[1..6].try_into().unwrap();
                        registers[0] = if code.source == 1 {
                            self.call((at as isize + code.immediate as isize) as usize, arguments)
                        } else {
                            self.help(code.immediate, arguments)
                        };
                    }
                    9 => {
                        self.release(stack);
                        return registers[0];
                    }
                    _ if is_taken(&code, class == 6, &registers) => at = jump,
                    _ => {}
                },
            }
        }
    }

    /// A constant of 64 bits: a number, the number of a map, or an address in the only element of one.
    fn constant(&mut self, code: &Instruction, upper: i32) -> u64 {
        match code.source {
            0 => u64::from(upper as u32) << 32 | u64::from(code.immediate as u32),
            1 => code.immediate as u64,
            2 => self.look_up(code.immediate as usize, &[0; 4]) + u64::from(upper as u32),
            other => panic!("constant of kind {other}"),
        }
    }

    /// Atomic operations.
    fn exchange(&mut self, code: &Instruction, address: u64, registers: &mut [u64; 11]) {
        let size = size_of(code.code);
        let (before, with) = (self.read(address, size), registers[code.source]);
        let compared = if size == 8 {
            registers[0]
        } else {
            registers[0] as u32 as u64
        };
        match code.immediate {
            0xf1 if before != compared => {}
            0xf1 | 0xe1 => self.write(address, size, with),
            operation => {
                let after = match operation & !1 {
                    0 => before.wrapping_add(with),
                    0x40 => before | with,
                    0x50 => before & with,
                    0xa0 => before ^ with,
                    other => panic!("atomic operation {other:#x}"),
                };
                self.write(address, size, after);
            }
        }
        match code.immediate {
            0xf1 => registers[0] = before,
            operation if operation & 1 != 0 => registers[code.source] = before,
            _ => {}
        }
    }

    fn help(&mut self, helper: i32, [one, two, three, ..]: [u64; 5]) -> u64 {
        match helper {
            // bpf_map_lookup_elem, bpf_map_update_elem.
            1 => {
                let key = self.bytes(two, self.tables[one as usize].key_size).to_vec();
                self.look_up(one as usize, &key)
            }
            2 => {
                let table = &self.tables[one as usize];
                let (key_size, value_size) = (table.key_size, table.value_size);
                let key = self.bytes(two, key_size).to_vec();
                let value = self.bytes(three, value_size).to_vec();
                let address = self.allocate(value);
                self.elements.insert((one as usize, key), address);
                0
            }
            // bpf_get_prandom_u32, by xorshift.
            7 => {
                self.random ^= self.random << 13;
                self.random ^= self.random >> 7;
                self.random ^= self.random << 17;
                u64::from(self.random as u32)
            }
            // bpf_redirect, bpf_redirect_map: XDP_REDIRECT.
            23 | 51 => 4,
            // bpf_xdp_adjust_head, bpf_xdp_adjust_meta. The frame's first byte and its metadata begin at one place here.
            44 | 54 => {
                if helper == 44 {
                    self.frame[0] = self.frame[0].wrapping_add(two as i32 as u64);
                }
                0
            }
            // bpf_fib_lookup: `ifindex` of struct bpf_fib_lookup.
            69 => {
                self.write(two + 8, 4, self.next_hop.into());
                0
            }
            // bpf_jiffies64; bpf_ktime_get_coarse_ns.
            118 => self.now / 1_000_000,
            160 => self.now,
            // bpf_xdp_get_buff_len.
            188 => self.frame[1] - self.frame[0],
            other => panic!("helper {other}"),
        }
    }

    /// The address of an element, or 0.
    fn look_up(&mut self, map: usize, key: &[u8]) -> u64 {
        if let Some(address) = self.elements.get(&(map, key.to_vec())) {
            return *address;
        }
        let table = &self.tables[map];
        let mut value = vec![0; table.read_size];
        let address = if table.has_elements && read_element(table.fd, key, &mut value) {
            value.truncate(table.value_size);
            self.allocate(value)
        } else {
            0
        };
        self.elements.insert((map, key.to_vec()), address);
        address
    }
}

fn data_of(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::LpmTrie(data) => Some(data),
        _ => None,
    }
}

/// BPF_MAP_LOOKUP_ELEM of bpf(2).
fn read_element(fd: RawFd, key: &[u8], value: &mut [u8]) -> bool {
    #[repr(C)]
    struct Attributes {
        fd: u64,
        key: u64,
        value: u64,
        flags: u64,
    }
    let attributes = Attributes {
        fd: fd as u64,
        key: key.as_ptr() as u64,
        value: value.as_mut_ptr() as u64,
        flags: 0,
    };
    // SAFETY: key and value are live and as long as the map's; the kernel writes the value only.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            1,
            &raw const attributes,
            size_of_val(&attributes),
        )
    };
    result == 0
}
