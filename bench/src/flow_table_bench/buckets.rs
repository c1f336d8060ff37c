//! The bucketed table from user space: its arrays are mapped into this process, so an insertion needs no system call.

use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};
use synward_core::flow::{FREE, FlowKey, OVERFLOW, Place, WAYS, entry_index};
use synward_core::layout::Flow;
use synward_core::multilinear;
use synward_core::occupancy::{self, BucketBits};

/// Number of buckets for `flows`: a power of two, with half of the ways (eight per bucket) in use.
pub(super) fn needed(flows: u32) -> u32 {
    flows.div_ceil(8).next_power_of_two()
}

type Tags = [AtomicU32; WAYS + 1];

/// Tags and flows, mapped.
pub(crate) struct Buckets {
    tags: Mapping<Tags>,
    flows: Mapping<Flow>,
    /// A line of the occupancy filter has the size of a line of tags.
    occupancy: Mapping<Tags>,
    mask: u32,
    key: multilinear::Key,
}

impl Buckets {
    /// Maps the arrays of `buckets` buckets; `key` is the key of the hash.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(crate) fn map(
        tags: BorrowedFd<'_>,
        flows: BorrowedFd<'_>,
        occupancy: BorrowedFd<'_>,
        buckets: u32,
        key: multilinear::Key,
    ) -> Result<Self> {
        Ok(Self {
            tags: Mapping::new(tags, buckets as usize)?,
            flows: Mapping::new(flows, buckets as usize * (WAYS + 1))?,
            occupancy: Mapping::new(occupancy, occupancy::line_count(buckets) as usize)?,
            mask: buckets - 1,
            key,
        })
    }

    /// Writes a flow, then the tag that makes it visible; returns false if both of its buckets are full. Programs may
    /// look up flows meanwhile, but nothing else may insert.
    pub(crate) fn insert(&mut self, flow: &Flow) -> bool {
        let place = self.place(&flow.key);
        for bucket in [place.bucket, place.overflow] {
            let tags = self.tags.at(bucket);
            let free = (0..WAYS).find(|way| tags[*way].load(Ordering::Relaxed) == FREE);
            if let Some(way) = free {
                self.flows.set(entry_index(bucket, way as u32), *flow);
                // The count comes first: it tells readers to look in the second bucket.
                if bucket != place.bucket {
                    self.tags.at(place.bucket)[OVERFLOW].fetch_add(1, Ordering::Release);
                }
                self.tags.at(bucket)[way].store(place.tag, Ordering::Release);
                let (word, bit) = BucketBits::of(place.bucket).flows;
                let half = word * 2 + usize::from(bit > u64::from(u32::MAX));
                let bit = (bit | bit >> 32) as u32;
                self.occupancy.at(BucketBits::of(place.bucket).line)[half]
                    .fetch_or(bit, Ordering::Release);
                return true;
            }
        }
        false
    }

    /// Removes a flow, if it is there. No program may look up flows meanwhile.
    pub(super) fn remove(&mut self, key: &FlowKey) {
        let place = self.place(key);
        for bucket in [place.bucket, place.overflow] {
            let tags = self.tags.at(bucket);
            for (way, tag) in tags[..WAYS].iter().enumerate() {
                let index = entry_index(bucket, way as u32);
                if tag.load(Ordering::Relaxed) == place.tag && self.flows.at(index).key == *key {
                    tag.store(FREE, Ordering::Release);
                    if bucket != place.bucket {
                        self.tags.at(place.bucket)[OVERFLOW].fetch_sub(1, Ordering::Release);
                    }
                    return;
                }
            }
        }
    }

    fn place(&self, key: &FlowKey) -> Place {
        Place::of(key.table_hash(&self.key), self.mask)
    }
}

/// A mapped array of the kernel.
struct Mapping<T> {
    start: NonNull<T>,
    length: usize,
}

impl<T> Mapping<T> {
    fn new(array: BorrowedFd<'_>, length: usize) -> Result<Self> {
        // SAFETY: a new mapping of a file descriptor that is open; nothing existing is touched. The
        // kernel refuses a length beyond the array's.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length * size_of::<T>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                array.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error()).context("mapping an array failed");
        }
        let start = NonNull::new(start.cast()).context("an array was mapped at zero")?;
        Ok(Self { start, length })
    }

    fn at(&self, index: u32) -> &T {
        assert!((index as usize) < self.length);
        // SAFETY: inside the mapping (just checked), which lives as long as `self`; page-aligned, and
        // the sizes are multiples of the alignments. The types hold integers alone. Tags are atomic; a flow is
        // looked at only by `bench flow-table`, which runs no program meanwhile.
        unsafe { self.start.add(index as usize).as_ref() }
    }

    fn set(&mut self, index: u32, value: T) {
        assert!((index as usize) < self.length);
        // SAFETY: as in `at`; `&mut self` rules out references into the mapping. Programs that run look at no flow
        // whose tag is free, and this one's still is.
        unsafe { self.start.add(index as usize).write(value) }
    }
}

impl<T> Drop for Mapping<T> {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped; no reference outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length * size_of::<T>()) };
    }
}
