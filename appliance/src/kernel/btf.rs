//! Reads the BTF of the running kernel (Documentation/bpf/btf.rst): offsets of structure members and ids of functions.
//!
//! aya parses BTF too, but does not expose these two.
#![forbid(unsafe_code)]

use std::io;

/// The BTF of the running kernel.
const KERNEL: &str = "/sys/kernel/btf/vmlinux";
/// `BTF_MAGIC` of include/uapi/linux/btf.h.
const MAGIC: u16 = 0xeb9f;
/// Bytes of `struct btf_type`, and of `struct btf_member`.
const TYPE: usize = 12;

/// Maximum depth of nested unnamed structures: more than the kernel has. It also ends a loop in malformed BTF.
const NESTED: u32 = 8;

/// `BTF_KIND_*`.
mod kind {
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const FUNC: u32 = 12;
}

/// The types of a kernel.
pub struct KernelTypes {
    bytes: Vec<u8>,
    types: usize,
    strings: usize,
}

impl std::fmt::Debug for KernelTypes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KernelTypes")
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// One type: its id, its position, and the content of its `struct btf_type`.
struct Type {
    number: u32,
    at: usize,
    name: u32,
    kind: u32,
    length: usize,
    /// Whether members are bit fields.
    bits: bool,
}

impl KernelTypes {
    /// Reads the types of the running kernel.
    ///
    /// # Errors
    /// The file cannot be read, or is not BTF of this byte order.
    pub fn of_kernel() -> io::Result<Self> {
        let invalid = || io::Error::new(io::ErrorKind::InvalidData, "not BTF");
        Self::parse(std::fs::read(KERNEL)?).ok_or_else(invalid)
    }

    fn parse(bytes: Vec<u8>) -> Option<Self> {
        let magic = u16::from_ne_bytes([*bytes.first()?, *bytes.get(1)?]);
        let header = word(&bytes, 4)? as usize;
        let section = |at| Some(header + word(&bytes, at)? as usize);
        let (types, strings) = (section(8)?, section(16)?);
        (magic == MAGIC && types <= strings && strings <= bytes.len()).then_some(Self {
            types,
            strings,
            bytes,
        })
    }

    /// The id of a function, by which programs call it.
    pub fn function(&self, name: &str) -> Option<u32> {
        let mut all = self.all();
        let found = all.find(|one| one.kind == kind::FUNC && self.name_equals(one.name, name))?;
        Some(found.number)
    }

    /// The offset of a structure member in bytes. Members of unnamed nested structures and unions are found too.
    pub fn offset(&self, structure: &str, member: &str) -> Option<u32> {
        self.all()
            .filter(|one| one.kind == kind::STRUCT && self.name_equals(one.name, structure))
            .find_map(|one| self.offset_in(&one, member, NESTED))
    }

    fn offset_in(&self, outer: &Type, member: &str, deeper: u32) -> Option<u32> {
        let first = outer.at + TYPE;
        (0..outer.length).find_map(|index| {
            let at = first + index * TYPE;
            let (name, number) = (word(&self.bytes, at)?, word(&self.bytes, at + 4)?);
            let bits = word(&self.bytes, at + 8)?;
            let bits = if outer.bits { bits & 0xff_ffff } else { bits };
            let inside = if self.name_equals(name, member) {
                0
            } else if name == 0 && deeper > 0 {
                let inner = self.all().nth(number.checked_sub(1)? as usize)?;
                let has_members = matches!(inner.kind, kind::STRUCT | kind::UNION);
                let found = has_members.then(|| self.offset_in(&inner, member, deeper - 1));
                found.flatten()?
            } else {
                return None;
            };
            bits.is_multiple_of(8).then_some(bits / 8 + inside)
        })
    }

    /// Every type in order. Id 0 is void and is not in the file.
    fn all(&self) -> impl Iterator<Item = Type> {
        let mut next = (1, self.types);
        std::iter::from_fn(move || {
            let (number, at) = next;
            let info = (at < self.strings).then(|| word(&self.bytes, at + 4))??;
            let (kind, length) = (info >> 24 & 31, (info & 0xffff) as usize);
            next = (number + 1, at + TYPE + tail(kind)? * units(kind, length));
            Some(Type {
                number,
                at,
                name: word(&self.bytes, at)?,
                kind,
                length,
                bits: info >> 31 != 0,
            })
        })
    }

    fn name_equals(&self, string: u32, name: &str) -> bool {
        let found = self.bytes.get(self.strings + string as usize..);
        found.is_some_and(|found| {
            found.starts_with(name.as_bytes()) && found.get(name.len()) == Some(&0)
        })
    }
}

/// Bytes that each of the [`units`] of a type adds after its `struct btf_type`. `None`: the kind is unknown, so the
/// position of the next type is unknown too.
fn tail(kind: u32) -> Option<usize> {
    match kind {
        // Pointer, forward declaration, typedef, volatile, const, restrict, function, float, type tag.
        2 | 7..=12 | 16 | 18 => Some(0),
        // Integer, variable, declaration tag.
        1 | 14 | 17 => Some(4),
        // Enumeration, function prototype.
        6 | 13 => Some(8),
        // Array, structure, union, data section, enumeration of 64 bits.
        3..=5 | 15 | 19 => Some(12),
        _ => None,
    }
}

/// Number of tails of a type: one per member, except for the kinds that have exactly one.
fn units(kind: u32, length: usize) -> usize {
    match kind {
        1 | 3 | 14 | 17 => 1,
        _ => length,
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    bytes.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// BTF of an integer, `struct s { int a; int b; union { int a; int c; }; }` and a function.
    fn example() -> Vec<u8> {
        let strings = b"\0int\0s\0a\0b\0c\0call\0";
        let types: &[u32] = &[
            1,
            1 << 24,
            4,
            0x0100_0020, // 1: int
            5,
            4 << 24 | 3,
            12,
            7,
            1,
            0,
            9,
            1,
            32,
            0,
            4,
            64, // 2: struct s
            13,
            12 << 24,
            0, // 3: call
            0,
            5 << 24 | 2,
            4,
            7,
            1,
            0,
            11,
            1,
            0, // 4: the union
        ];
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        let length = types.len() as u32 * 4;
        for word in [24, 0, length, length, strings.len() as u32] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(types.iter().flat_map(|word| word.to_ne_bytes()));
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn finds_functions_and_members_by_name() {
        let types = KernelTypes::parse(example()).unwrap();
        assert_eq!(types.function("call"), Some(3));
        assert_eq!(types.function("cal"), None);
        assert_eq!(types.offset("s", "b"), Some(4));
        assert_eq!(types.offset("s", "c"), Some(8));
        assert_eq!(types.offset("s", "d"), None);
        assert_eq!(types.offset("int", "b"), None);
    }

    #[test]
    fn truncated_btf_does_not_panic() {
        let whole = example();
        for length in 0..whole.len() {
            if let Some(types) = KernelTypes::parse(whole[..length].to_vec()) {
                let _ = (types.function("none"), types.offset("s", "none"));
            }
        }
    }
}
