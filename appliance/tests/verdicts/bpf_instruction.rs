//! What an instruction of eBPF does to registers: arithmetic and conditions (RFC 9669 §4).

/// One instruction.
#[derive(Clone, Copy)]
pub(crate) struct Instruction {
    pub(crate) code: u8,
    pub(crate) destination: usize,
    pub(crate) source: usize,
    pub(crate) offset: i16,
    pub(crate) immediate: i32,
}

/// Bytes that a load or store with this code moves.
pub(crate) fn size_of(code: u8) -> usize {
    match code & 0x18 {
        0 => 4,
        0x08 => 2,
        0x10 => 1,
        _ => 8,
    }
}

/// Arithmetic of 32 bits (class 4) and 64 bits.
pub(crate) fn compute(code: &Instruction, registers: &mut [u64; 11]) {
    let narrow = code.code & 7 == 4;
    let operand = if code.code & 8 != 0 {
        registers[code.source]
    } else {
        code.immediate as i64 as u64
    };
    let target = registers[code.destination];
    let (a, b) = if narrow {
        (target as u32 as u64, operand as u32 as u64)
    } else {
        (target, operand)
    };
    let shift = b as u32 & if narrow { 31 } else { 63 };
    let result = match code.code >> 4 {
        0 => a.wrapping_add(b),
        1 => a.wrapping_sub(b),
        2 => a.wrapping_mul(b),
        3 => a.checked_div(b).unwrap_or(0),
        4 => a | b,
        5 => a & b,
        6 => a << shift,
        7 => a >> shift,
        8 => a.wrapping_neg(),
        9 => a.checked_rem(b).unwrap_or(a),
        10 => a ^ b,
        11 => match code.offset {
            8 => b as i8 as u64,
            16 => b as i16 as u64,
            32 => b as i32 as u64,
            _ => b,
        },
        12 if narrow => ((a as i32) >> shift) as u64,
        12 => ((a as i64) >> shift) as u64,
        // To big endian, or (class 7, or with the flag) swapped: the same on this machine.
        13 if !narrow || code.code & 8 != 0 => match code.immediate {
            16 => u64::from((target as u16).swap_bytes()),
            32 => u64::from((target as u32).swap_bytes()),
            _ => target.swap_bytes(),
        },
        13 if code.immediate == 16 => target & 0xffff,
        13 if code.immediate == 32 => target & 0xffff_ffff,
        13 => target,
        other => panic!("arithmetic {other}"),
    };
    registers[code.destination] = if narrow && code.code >> 4 != 13 {
        result as u32 as u64
    } else {
        result
    };
}

/// Whether a conditional jump of 32 or 64 bits is taken.
pub(crate) fn is_taken(code: &Instruction, narrow: bool, registers: &[u64; 11]) -> bool {
    let operand = if code.code & 8 != 0 {
        registers[code.source]
    } else {
        code.immediate as i64 as u64
    };
    let (mut a, mut b) = (registers[code.destination], operand);
    let (mut signed_a, mut signed_b) = (a as i64, b as i64);
    if narrow {
        (signed_a, signed_b) = (a as i32 as i64, b as i32 as i64);
        (a, b) = (a as u32 as u64, b as u32 as u64);
    }
    match code.code >> 4 {
        1 => a == b,
        2 => a > b,
        3 => a >= b,
        4 => a & b != 0,
        5 => a != b,
        6 => signed_a > signed_b,
        7 => signed_a >= signed_b,
        10 => a < b,
        11 => a <= b,
        12 => signed_a < signed_b,
        13 => signed_a <= signed_b,
        other => panic!("jump {other}"),
    }
}
