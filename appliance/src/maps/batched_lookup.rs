//! Reads many elements of a per-CPU array with one system call (BPF_MAP_LOOKUP_BATCH; per-CPU arrays have it since Linux 5.13).
#![allow(unsafe_code)] // bpf(2)

use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::Pod;
use aya::maps::{MapData, MapType};
use aya::util::nr_cpus;

/// BPF_MAP_LOOKUP_BATCH (enum bpf_cmd, linux/bpf.h).
const LOOKUP_BATCH: libc::c_int = 24;
/// Elements read by one call: a machine with many CPUs needs 2 KiB or more for each.
const ONE_CALL: u32 = 256;

/// `batch` of union bpf_attr (linux/bpf.h), whose pointers have 64 bits.
#[repr(C)]
struct Batch {
    in_batch: *const u32,
    out_batch: *mut u32,
    keys: *mut u32,
    values: *mut libc::c_void,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

const _: () = assert!(size_of::<*const u32>() == 8);

/// A per-CPU array with elements of type `T`.
pub(crate) struct BatchedPerCpuArray<T: Pod> {
    map: MapData,
    cpus: usize,
    keys: Vec<u32>,
    /// Those of one element for each CPU, then those of the next.
    values: Vec<T>,
}

impl<T: Pod + Default> BatchedPerCpuArray<T> {
    /// Takes a map.
    ///
    /// # Errors
    /// It is no per-CPU array of such elements, or the kernel does not tell.
    pub(crate) fn new(map: MapData) -> io::Result<Self> {
        let unknown = |error: &dyn fmt::Display| io::Error::other(error.to_string());
        let info = map.info().map_err(|error| unknown(&error))?;
        let kind = info.map_type().map_err(|error| unknown(&error))?;
        // The kernel rounds the size of a value on one CPU up to 8 bytes.
        let is_ours = kind == MapType::PerCpuArray
            && info.value_size() as usize == size_of::<T>()
            && size_of::<T>().is_multiple_of(8);
        if !is_ours {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Self {
            map,
            cpus: nr_cpus().map_err(|(_, error)| error)?.max(1),
            keys: Vec::new(),
            values: Vec::new(),
        })
    }

    /// Reads the first `count` elements, and calls `each` with the values that an element has on all CPUs, in their order.
    ///
    /// # Errors
    /// The kernel cannot do it, or the map has fewer elements. `each` may have been called for some of them.
    pub(crate) fn read(&mut self, count: u32, mut each: impl FnMut(&[T])) -> io::Result<()> {
        let mut first = 0;
        while first < count {
            let some = ONE_CALL.min(count - first);
            self.read_some(first, some)?;
            self.values.chunks_exact(self.cpus).for_each(&mut each);
            first += some;
        }
        Ok(())
    }

    fn read_some(&mut self, first: u32, count: u32) -> io::Result<()> {
        self.keys.resize(count as usize, 0);
        self.values.resize(count as usize * self.cpus, T::default());
        // The kernel begins behind this key; behind the last possible one it begins with the first.
        let before = first.wrapping_sub(1);
        let mut last = 0;
        let mut batch = Batch {
            in_batch: &raw const before,
            out_batch: &raw mut last,
            keys: self.keys.as_mut_ptr(),
            values: self.values.as_mut_ptr().cast(),
            count,
            map_fd: self.map.fd().as_fd().as_raw_fd().cast_unsigned(),
            elem_flags: 0,
            flags: 0,
        };
        // SAFETY: `batch` is laid out as the command reads it. Its pointers are live, each to memory of its own. The kernel writes
        // at most `count` keys of 4 bytes (an array's), and as many times `cpus` values of the size that `new` has compared:
        // `keys` and `values` have room for them, and every bit pattern is a valid value (`Pod`). It keeps no pointer.
        let code = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                LOOKUP_BATCH,
                &raw mut batch,
                size_of::<Batch>(),
            )
        };
        let error = (code < 0).then(io::Error::last_os_error);
        match error {
            // ENOENT: that was the last element.
            Some(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
            _ if batch.count != count => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

impl<T: Pod> fmt::Debug for BatchedPerCpuArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchedPerCpuArray")
            .field("map", &self.map)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::maps::Plain;
    use aya::maps::{PerCpuArray, PerCpuValues};
    use synward_core::address_counts::AddressCounts;

    /// More elements than one call reads.
    const ELEMENTS: u32 = 2 * ONE_CALL + 88;

    #[test]
    fn all_at_once_are_the_same_as_one_by_one() {
        let created = PerCpuArray::<MapData, Plain<AddressCounts>>::create(ELEMENTS, 0);
        let Ok(mut map) = created else {
            eprintln!("SKIPPED: not root");
            return;
        };
        let cpus = nr_cpus().unwrap();
        let counts = |index: u32| (0..cpus as u64).map(move |cpu| [u64::from(index), cpu, 7, 0]);
        for index in 0..ELEMENTS {
            let values: Vec<_> = counts(index).map(|one| Plain(AddressCounts(one))).collect();
            map.set(index, PerCpuValues::try_from(values).unwrap(), 0)
                .unwrap();
        }
        let folder = std::path::Path::new("/sys/fs/bpf");
        let path = folder.join(format!("synward-test-{}", std::process::id()));
        if map.pin(&path).is_err() {
            eprintln!("SKIPPED: no BPF file system at /sys/fs/bpf");
            return;
        }
        let data = MapData::from_pin(&path);
        std::fs::remove_file(&path).unwrap();
        let mut batched = BatchedPerCpuArray::<Plain<AddressCounts>>::new(data.unwrap()).unwrap();
        for count in [0, 1, ONE_CALL, ONE_CALL + 1, ELEMENTS] {
            let mut read = Vec::new();
            batched
                .read(count, |cpus| {
                    read.push(cpus.iter().map(|one| one.0.0).collect::<Vec<_>>());
                })
                .unwrap();
            let expected: Vec<Vec<_>> = (0..count).map(|index| counts(index).collect()).collect();
            assert_eq!(read, expected);
        }
        assert!(batched.read(ELEMENTS + 1, |_| {}).is_err());
    }
}
