//! Binds a socket, with retries, and explains each failure.
#![allow(unsafe_code)] // creates rings over memory that the kernel shares

use std::{
    ffi::CString,
    io,
    os::fd::AsRawFd,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use xsk_rs::{
    Socket,
    config::{BindFlags, Interface, LibxdpFlags, QueueSize, SocketConfig},
};

use super::{
    fill_ring::FillRing,
    ledger::Ledger,
    library_error::cause,
    port::{Parts, Port},
    port_options::{PortOptions, ZeroCopy},
    reception::Reception,
    socket_options,
    umem::Memory,
};
use crate::kernel::{self, ChannelWords};
use crate::steering::zero_copy_needs;

/// How long to wait for a busy queue: it stays busy for about 30 ms after its owner was killed, and longer on a busy machine.
const BUSY_PATIENCE: Duration = Duration::from_secs(3);
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// Why a port could not be opened, and how to fix it.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages describe the variants
pub enum OpenError {
    #[error("AF_XDP options for {interface}: {problem}")]
    Options {
        interface: String,
        problem: &'static str,
    },

    #[error("no interface {interface} here: `ip link` lists those that exist")]
    NoInterface { interface: String },

    #[error(
        "{interface} has no queue {queue}: `ethtool -l {interface}` shows its queues, `ethtool -L {interface} {channels}` \
         makes enough"
    )]
    NoQueue {
        interface: String,
        queue: u32,
        /// The words that make enough.
        channels: ChannelWords,
    },

    #[error(
        "queue {queue} of {interface} is in use by another AF_XDP socket: stop the program that holds it \
         (`ss --xdp -p` shows it)"
    )]
    Busy { interface: String, queue: u32 },

    #[error(
        "no permission for AF_XDP on {interface} queue {queue}: run as root, or with CAP_NET_RAW, CAP_NET_ADMIN and \
         CAP_BPF"
    )]
    Permission { interface: String, queue: u32 },

    #[error(
        "cannot lock {bytes} bytes of memory for {interface} queue {queue}: raise the memlock limit (systemd: \
         LimitMEMLOCK=infinity), or give CAP_IPC_LOCK"
    )]
    Memlock {
        interface: String,
        queue: u32,
        bytes: u64,
    },

    #[error(
        "this process may open no more files, and queue {queue} of {interface} needs about five: `ulimit -n 65536`, or \
         LimitNOFILE=65536 in its unit"
    )]
    OpenFiles { interface: String, queue: u32 },

    #[error(
        "no {bytes} bytes of huge pages for {interface} queue {queue}: raise `sysctl vm.nr_hugepages`, or set \
         huge pages off"
    )]
    HugePages {
        interface: String,
        queue: u32,
        bytes: u64,
    },

    #[error(
        "{driver}, the driver of {interface}, refuses zero-copy on queue {queue} ({cause}){needs}: set zero_copy of \
         {interface} to \"auto\" or \"off\""
    )]
    ZeroCopyRefused {
        interface: String,
        queue: u32,
        driver: String,
        /// What the driver needs for it, if that is known: a sentence that begins with its punctuation.
        needs: &'static str,
        cause: io::Error,
    },

    #[error(
        "this kernel has no AF_XDP (CONFIG_XDP_SOCKETS): use a kernel that has it, or the XDP responder"
    )]
    Unsupported,

    #[error("AF_XDP on {interface} queue {queue}: {cause}")]
    System {
        interface: String,
        queue: u32,
        cause: io::Error,
    },
}

impl Port {
    /// Opens an AF_XDP socket on one queue of an interface in the caller's network namespace, with
    /// a UMEM of its own.
    ///
    /// Loads and attaches no XDP program. Waits up to three seconds for a busy queue.
    pub fn open(interface: &str, queue: u32, options: &PortOptions) -> Result<Port, OpenError> {
        let deadline = Instant::now() + BUSY_PATIENCE;
        loop {
            match Self::open_now(interface, queue, options) {
                Err(OpenError::Busy { .. }) if Instant::now() < deadline => {
                    thread::sleep(BUSY_PAUSE)
                }
                result => return result,
            }
        }
    }

    /// The same, without waiting for a busy queue.
    pub fn open_now(interface: &str, queue: u32, options: &PortOptions) -> Result<Port, OpenError> {
        let attempt = Attempt {
            interface,
            queue,
            options,
        };
        attempt.open()
    }
}

struct Attempt<'a> {
    interface: &'a str,
    queue: u32,
    options: &'a PortOptions,
}

impl Attempt<'_> {
    fn open(&self) -> Result<Port, OpenError> {
        if let Some(problem) = self.options.problem() {
            let interface = self.interface.to_owned();
            return Err(OpenError::Options { interface, problem });
        }
        let name = CString::new(self.interface).map_err(|_| self.no_interface())?;
        let (memory, ledger, reception) = self.fill()?;

        // SAFETY: the UMEM was created just above and is shared with no other socket, and libxdp
        // loads no program, so there is nothing that a second owner could free twice.
        let opened = unsafe {
            Socket::new(
                self.config(),
                memory.umem(),
                &Interface::new(name),
                self.queue,
            )
        };
        let (tx, rx, rings) = opened.map_err(|error| self.bind_refused(cause(&error)))?;
        // `reception` has the fill ring.
        let Some((_, completion)) = rings else {
            return Err(self.system(io::Error::other(
                "libxdp returned no fill and completion ring",
            )));
        };

        let fd = rx.fd().as_raw_fd();
        if fd != memory.socket() {
            return Err(self.system(io::Error::other(
                "libxdp bound another socket than that of the UMEM",
            )));
        }
        socket_options::close_on_exec(fd).map_err(|cause| self.system(cause))?;
        let zero_copy = socket_options::zero_copy(fd).map_err(|cause| self.system(cause))?;
        if !zero_copy {
            self.tune_copy_mode(fd);
        }
        // Without busy polling, softirqs receive as usual.
        let busy_poll = self.options.busy_poll && socket_options::prefer_busy_poll(fd).is_ok();
        Ok(Port::assemble(Parts {
            queue: self.queue,
            rx,
            tx,
            completion,
            memory,
            ledger,
            reception,
            zero_copy,
            busy_poll,
            transmits: self.options.transmits,
            ring: self.options.ring,
        }))
    }

    /// Creates a UMEM and fills its fill ring. This comes before the socket is bound, because drivers take their first
    /// frames then.
    fn fill(&self) -> Result<(Memory, Ledger, Reception), OpenError> {
        let mut memory = Memory::new(self.options).map_err(|cause| self.memory_refused(cause))?;
        let ring = FillRing::map(memory.socket(), self.options.ring)
            .map_err(|cause| self.system(cause))?;
        let mut ledger = Ledger::new(self.options.frames);
        let mut reception = Reception::new(ring, self.options.frames / 2);
        reception.refill(&mut memory, &mut ledger);
        Ok((memory, ledger, reception))
    }

    fn config(&self) -> SocketConfig {
        let ring =
            QueueSize::new(self.options.ring).expect("PortOptions::problem was checked before");
        let copy = match self.options.zero_copy {
            ZeroCopy::Auto => BindFlags::empty(),
            ZeroCopy::On => BindFlags::XDP_ZEROCOPY,
            ZeroCopy::Off => BindFlags::XDP_COPY,
        };
        SocketConfig::builder()
            .rx_queue_size(ring)
            .tx_queue_size(ring)
            .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
            .bind_flags(BindFlags::XDP_USE_NEED_WAKEUP | copy)
            .build()
    }

    /// Both settings only make copy mode faster. If the kernel refuses them, [`Port::flush`] makes more wakeup
    /// calls.
    fn tune_copy_mode(&self, fd: i32) {
        let _ = socket_options::raise_transmit_budget(fd, self.options.ring);
        let bytes = self.options.umem_bytes().min(1 << 30) as i32;
        let _ = socket_options::raise_send_buffer(fd, bytes);
    }

    fn memory_refused(&self, cause: io::Error) -> OpenError {
        let (interface, queue, bytes) = (
            self.interface.to_owned(),
            self.queue,
            self.options.umem_bytes(),
        );
        match cause.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => OpenError::Permission { interface, queue },
            Some(libc::EMFILE) => OpenError::OpenFiles { interface, queue },
            Some(libc::ENOBUFS) => OpenError::Memlock {
                interface,
                queue,
                bytes,
            },
            Some(libc::ENOMEM) if self.options.huge_pages => OpenError::HugePages {
                interface,
                queue,
                bytes,
            },
            Some(libc::EAFNOSUPPORT) => OpenError::Unsupported,
            _ => self.system(cause),
        }
    }

    fn bind_refused(&self, cause: io::Error) -> OpenError {
        let (interface, queue) = (self.interface.to_owned(), self.queue);
        let forced = self.options.zero_copy == ZeroCopy::On;
        match cause.raw_os_error() {
            Some(libc::ENODEV) => self.no_interface(),
            Some(libc::EBUSY) => OpenError::Busy { interface, queue },
            Some(libc::EPERM | libc::EACCES) => OpenError::Permission { interface, queue },
            Some(libc::EMFILE) => OpenError::OpenFiles { interface, queue },
            // Drivers refuse with EINVAL too.
            Some(libc::EINVAL) if !self.has_queue() => OpenError::NoQueue {
                channels: kernel::receive_channel_words(&interface, queue + 1),
                interface,
                queue,
            },
            _ if forced => {
                let driver = kernel::driver(&interface).unwrap_or_else(|_| "?".to_owned());
                OpenError::ZeroCopyRefused {
                    needs: zero_copy_needs(&driver),
                    interface,
                    queue,
                    driver,
                    cause,
                }
            }
            _ => self.system(cause),
        }
    }

    /// Whether the interface uses this queue. Some drivers do not report channels; sysfs lists those in use.
    fn has_queue(&self) -> bool {
        let listed = || {
            let (interface, queue) = (self.interface, self.queue);
            Path::new(&format!("/sys/class/net/{interface}/queues/rx-{queue}")).exists()
        };
        kernel::receive_queues(self.interface)
            .map_or_else(|_| listed(), |queues| self.queue < queues)
    }

    fn no_interface(&self) -> OpenError {
        let interface = self.interface.to_owned();
        OpenError::NoInterface { interface }
    }

    fn system(&self, cause: io::Error) -> OpenError {
        let (interface, queue) = (self.interface.to_owned(), self.queue);
        OpenError::System {
            interface,
            queue,
            cause,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A second mapping of the ring shows what a driver finds when the socket is bound.
    #[test]
    fn the_fill_ring_is_full_before_the_socket_is_bound() {
        let options = PortOptions::default();
        let attempt = Attempt {
            interface: "unbound",
            queue: 0,
            options: &options,
        };
        let filled = attempt.fill();
        if let Err(OpenError::Permission { .. }) = filled
            && std::env::var_os("SYNWARD_SKIP_ROOT_TESTS").is_some()
        {
            return;
        }
        let (memory, ledger, reception) = filled.unwrap();
        let ring = FillRing::map(memory.socket(), options.ring).unwrap();
        assert_eq!(ring.published(), options.ring);
        assert_eq!(reception.given(), options.ring);
        assert_eq!(ledger.account().fill, options.ring);
    }
}
