//! Chooses whether the kernel loads an XDP program for frames in several buffers (`BPF_F_XDP_HAS_FRAGS`, since Linux 5.18).
//!
//! aya sets the flag for programs in the section `xdp.frags`, and has no other way to set it.
#![forbid(unsafe_code)]

use std::borrow::Cow;

use aya::util::KernelVersion;

/// The section of our programs, with the NUL that ends it.
const SECTION: &[u8] = b"xdp.frags\0";
/// Where it ends to name a program for frames in one buffer: behind `xdp`.
const END: usize = 3;

/// Whether the kernel runs XDP programs for frames in several buffers. If its version cannot be read, the load shows it.
pub fn kernel_has_frags() -> bool {
    KernelVersion::current().map_or(true, |version| version >= KernelVersion::new(5, 18, 0))
}

/// The object to load: `object`, whose XDP programs are in the section `xdp.frags`, or if `frags` is false, one that has them in
/// the section `xdp`. No length changes: the name only ends earlier.
pub fn choose_frags(object: &[u8], frags: bool) -> Cow<'_, [u8]> {
    if frags {
        return Cow::Borrowed(object);
    }
    let mut object = object.to_vec();
    let names: Vec<_> = object
        .windows(SECTION.len())
        .enumerate()
        .filter(|(_, bytes)| *bytes == SECTION)
        .map(|(at, _)| at)
        .collect();
    for at in names {
        object[at + END] = 0;
    }
    Cow::Owned(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_section_ends_earlier() {
        let object = b"\0steer\0xdp.frags\0.relxdp.frags\0xdp.fragment\0";
        assert_eq!(*choose_frags(object, true), *object);
        assert_eq!(
            *choose_frags(object, false),
            *b"\0steer\0xdp\0frags\0.relxdp\0frags\0xdp.fragment\0"
        );
    }
}
