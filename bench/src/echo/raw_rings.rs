//! AF_XDP in copy mode directly on the kernel's rings: no descriptor type of its own, no frame accounting, no FFI. The
//! appliance's sockets are measured against it.
//!
//! The memory of the four rings is shared with the kernel (Documentation/networking/af_xdp.rst, "Rings"); everything
//! unsafe about AF_XDP in this program is in this file.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};

/// Greatest number of frames in a batch.
pub(crate) const BATCH: u32 = 64;
/// Descriptors of the RX and TX rings, and frames, as in the appliance.
const RING: u32 = 2048;
/// Also the size of the fill and completion rings: each has room for all frames.
const FRAMES: u32 = 8192;
const FRAME: usize = 2048;
/// include/uapi/linux/if_xdp.h; Linux ≥ 6.18.
const XDP_MAX_TX_SKB_BUDGET: i32 = 9;

/// A socket that answers every received frame in place and sends it back.
pub(crate) struct Rings {
    socket: OwnedFd,
    frames: Mapping,
    fill: Ring<u64>,
    completion: Ring<u64>,
    rx: Ring<libc::xdp_desc>,
    tx: Ring<libc::xdp_desc>,
}

impl Rings {
    /// Binds a queue of an interface, with all frames in the fill ring.
    ///
    /// # Errors
    /// The step that the kernel refuses.
    pub(crate) fn open(interface: u32, queue: u32) -> Result<Self> {
        // SAFETY: takes three numbers and gives a descriptor or -1.
        let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        check(fd).context("no AF_XDP socket (bench needs root)")?;
        // SAFETY: the descriptor was created just now, and nothing else owns it.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        let frames = Mapping::new(FRAMES as usize * FRAME, None)?;
        let umem = libc::xdp_umem_reg {
            addr: frames.start.as_ptr().expose_provenance() as u64,
            len: frames.length as u64,
            chunk_size: FRAME as u32,
            headroom: 0,
            flags: 0,
            tx_metadata_len: 0,
        };
        set_socket_option(fd, libc::XDP_UMEM_REG, &umem).context("the kernel refuses the UMEM")?;
        for (ring, size) in [
            (libc::XDP_UMEM_FILL_RING, FRAMES),
            (libc::XDP_UMEM_COMPLETION_RING, FRAMES),
            (libc::XDP_RX_RING, RING),
            (libc::XDP_TX_RING, RING),
        ] {
            set_socket_option(fd, ring, &size).context("the kernel refuses a ring")?;
        }
        let at = offsets(fd).context("the kernel does not say where its rings are")?;
        let (fill, completion) = (
            libc::XDP_UMEM_PGOFF_FILL_RING as i64,
            libc::XDP_UMEM_PGOFF_COMPLETION_RING as i64,
        );
        let mut rings = Self {
            fill: Ring::map(fd, fill, &at.fr, FRAMES)?,
            completion: Ring::map(fd, completion, &at.cr, FRAMES)?,
            rx: Ring::map(fd, libc::XDP_PGOFF_RX_RING, &at.rx, RING)?,
            tx: Ring::map(fd, libc::XDP_PGOFF_TX_RING, &at.tx, RING)?,
            frames,
            socket,
        };
        for frame in 0..FRAMES {
            rings.fill.put(frame, u64::from(frame) * FRAME as u64);
        }
        rings.fill.submit(FRAMES);
        let address = libc::sockaddr_xdp {
            sxdp_family: libc::AF_XDP as u16,
            sxdp_flags: libc::XDP_COPY | libc::XDP_USE_NEED_WAKEUP,
            sxdp_ifindex: interface,
            sxdp_queue_id: queue,
            sxdp_shared_umem_fd: 0,
        };
        let length = size_of::<libc::sockaddr_xdp>() as libc::socklen_t;
        // SAFETY: the kernel reads `length` bytes of `address`, which has so many.
        check(unsafe { libc::bind(fd, ptr::from_ref(&address).cast(), length) })
            .with_context(|| format!("queue {queue} cannot be bound"))?;
        // Older kernels refuse this option and send 32 frames per call.
        let _ = set_socket_option(fd, XDP_MAX_TX_SKB_BUDGET, &RING);
        Ok(rings)
    }

    /// The socket, for an XSKMAP.
    pub(crate) fn fd(&self) -> i32 {
        self.socket.as_raw_fd()
    }

    /// Moves one batch from the RX ring to the TX ring: `answer` rewrites each frame into its answer, of the same
    /// length. Returns the number of frames; [`Self::wake`] sends them.
    #[inline]
    pub(crate) fn turn(&mut self, mut answer: impl FnMut(&mut [u8])) -> u32 {
        let back = self.completion.filled();
        for index in 0..back {
            self.fill.put(index, self.completion.entry(index));
        }
        self.completion.release(back);
        self.fill.submit(back);

        let count = self.rx.filled().min(BATCH).min(self.tx.room());
        for index in 0..count {
            let desc = self.rx.entry(index);
            answer(self.frames.bytes(desc.addr as usize, desc.len as usize));
            self.tx.put(index, desc);
        }
        self.rx.release(count);
        self.tx.submit(count);
        count
    }

    /// Sleeps until frames arrive, or for `milliseconds`.
    pub(crate) fn wait(&self, milliseconds: i32) {
        let mut socket = libc::pollfd {
            fd: self.fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one pollfd, which lives through the call.
        unsafe { libc::poll(&mut socket, 1, milliseconds) };
    }

    /// Makes the wakeup system calls that the kernel needs.
    #[inline]
    pub(crate) fn wake(&self) {
        let fd = self.fd();
        if self.fill.needs_wakeup() {
            // SAFETY: a receive of nothing, taken as a wakeup (net/xdp/xsk.c __xsk_recvmsg).
            unsafe {
                let nothing = ptr::null_mut();
                libc::recvfrom(
                    fd,
                    nothing,
                    0,
                    libc::MSG_DONTWAIT,
                    nothing.cast(),
                    ptr::null_mut(),
                )
            };
        }
        if self.tx.room() < RING && self.tx.needs_wakeup() {
            // SAFETY: a send of nothing, taken as a wakeup (net/xdp/xsk.c __xsk_sendmsg). What it leaves in the ring is
            // there the next time.
            unsafe { libc::sendto(fd, ptr::null(), 0, libc::MSG_DONTWAIT, ptr::null(), 0) };
        }
    }
}

/// One ring: a producer and a consumer position that only grow, and descriptors. The kernel is one of the two sides.
struct Ring<T> {
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    entries: NonNull<T>,
    size: u32,
    _memory: Mapping,
}

// SAFETY: it owns its mapping, and no thread but the one that has the ring uses the pointers into it.
unsafe impl<T> Send for Ring<T> {}

impl<T: Copy> Ring<T> {
    fn map(fd: i32, offset: i64, at: &libc::xdp_ring_offset, size: u32) -> Result<Self> {
        let length = at.desc as usize + size as usize * size_of::<T>();
        let memory = Mapping::new(length, Some((fd, offset)))?;
        // SAFETY: the kernel said that these lie in the mapping, which it has made for a ring of this size.
        let place = |offset: u64| unsafe { memory.start.add(offset as usize) };
        Ok(Self {
            producer: place(at.producer).cast(),
            consumer: place(at.consumer).cast(),
            flags: place(at.flags).cast(),
            entries: place(at.desc).cast(),
            size,
            _memory: memory,
        })
    }

    /// Descriptors that the kernel has put here and we have not released.
    #[inline]
    fn filled(&self) -> u32 {
        let (producer, consumer) = self.positions();
        let theirs = producer.load(Ordering::Acquire);
        theirs.wrapping_sub(consumer.load(Ordering::Relaxed))
    }

    /// Free places for our descriptors.
    #[inline]
    fn room(&self) -> u32 {
        let (producer, consumer) = self.positions();
        let theirs = consumer.load(Ordering::Acquire);
        self.size - producer.load(Ordering::Relaxed).wrapping_sub(theirs)
    }

    /// The descriptor `index` behind the consumer; below [`Self::filled`].
    #[inline]
    fn entry(&self, index: u32) -> T {
        let at = self
            .positions()
            .1
            .load(Ordering::Relaxed)
            .wrapping_add(index);
        // SAFETY: masked, it lies in the ring; the kernel does not write there until it is released.
        unsafe { self.entries.add((at & (self.size - 1)) as usize).read() }
    }

    /// Writes the descriptor `index` behind the producer; below [`Self::room`].
    #[inline]
    fn put(&mut self, index: u32, entry: T) {
        let at = self
            .positions()
            .0
            .load(Ordering::Relaxed)
            .wrapping_add(index);
        // SAFETY: masked, it lies in the ring; the kernel does not read there until it is submitted.
        unsafe {
            self.entries
                .add((at & (self.size - 1)) as usize)
                .write(entry)
        };
    }

    #[inline]
    fn release(&mut self, count: u32) {
        let consumer = self.positions().1;
        consumer.store(
            consumer.load(Ordering::Relaxed).wrapping_add(count),
            Ordering::Release,
        );
    }

    #[inline]
    fn submit(&mut self, count: u32) {
        let producer = self.positions().0;
        producer.store(
            producer.load(Ordering::Relaxed).wrapping_add(count),
            Ordering::Release,
        );
    }

    #[inline]
    fn needs_wakeup(&self) -> bool {
        // SAFETY: an aligned word of the mapping, which lives as long as `self`.
        let flags = unsafe { self.flags.as_ref() };
        flags.load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }

    #[inline]
    fn positions(&self) -> (&AtomicU32, &AtomicU32) {
        // SAFETY: aligned words of the mapping, which lives as long as `self`; the kernel too accesses them atomically.
        unsafe { (self.producer.as_ref(), self.consumer.as_ref()) }
    }
}

/// A memory mapping; dropping it unmaps it.
struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping has a single owner in this process, which may move to another thread.
unsafe impl Send for Mapping {}

impl Mapping {
    /// New memory, or that of a descriptor at an offset.
    fn new(length: usize, of: Option<(i32, i64)>) -> Result<Self> {
        let (fd, offset, kind) = match of {
            Some((fd, offset)) => (fd, offset, libc::MAP_SHARED),
            None => (-1, 0, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS),
        };
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = kind | libc::MAP_POPULATE;
        // SAFETY: a new mapping at a place that the kernel chooses touches no memory of ours.
        let start = unsafe { libc::mmap(ptr::null_mut(), length, access, kind, fd, offset) };
        match NonNull::new(start.cast()) {
            Some(first) if start != libc::MAP_FAILED => Ok(Self {
                start: first,
                length,
            }),
            _ => Err(io::Error::last_os_error()).context("memory cannot be mapped"),
        }
    }

    /// The bytes of a frame, cut to the mapping.
    #[inline]
    fn bytes(&mut self, at: usize, length: usize) -> &mut [u8] {
        let at = at.min(self.length);
        // SAFETY: the range lies in the mapping; the kernel leaves a frame alone from the RX to the TX ring, and the
        // mapping is borrowed for as long as the slice.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.start.as_ptr().add(at),
                length.min(self.length - at),
            )
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: our own mapping, which nothing refers to any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

fn offsets(fd: i32) -> io::Result<libc::xdp_mmap_offsets> {
    // SAFETY: integers only.
    let mut offsets: libc::xdp_mmap_offsets = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::xdp_mmap_offsets>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `offsets`, which has so many, and the new length.
    check(unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_XDP,
            libc::XDP_MMAP_OFFSETS,
            ptr::from_mut(&mut offsets).cast(),
            &mut length,
        )
    })?;
    Ok(offsets)
}

fn set_socket_option<T>(fd: i32, option: i32, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes of `value`, which has so many.
    check(unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_XDP,
            option,
            ptr::from_ref(value).cast(),
            length,
        )
    })
}

fn check(result: i32) -> io::Result<()> {
    match result {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
