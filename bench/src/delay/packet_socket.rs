//! A packet socket on one interface: whole Ethernet frames in and out (packet(7)).

use std::ffi::c_int;
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::device::Device;

/// Longest frame: a merged one, if an offload is on.
pub(crate) const LONGEST: usize = 65536 + 14;
const RECEIVE_BUFFER: c_int = 32 << 20;
/// include/uapi/linux/if_packet.h; this socket does not receive what it sends.
const PACKET_IGNORE_OUTGOING: c_int = 23;

/// An open packet socket.
pub(crate) struct PacketSocket {
    socket: Socket,
}

impl PacketSocket {
    /// Opens a socket that receives every frame that arrives on the device, for any destination.
    ///
    /// # Errors
    /// No CAP_NET_RAW, or the device is gone.
    pub(super) fn open(device: &Device) -> io::Result<Self> {
        Self::listen(device, false)
    }

    /// The same, including the frames that this machine sends on the device.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn tap(device: &Device) -> io::Result<Self> {
        Self::listen(device, true)
    }

    /// Opens a socket that only sends.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn sender(device: &Device) -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        set_socket_option(&socket, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, 1)?;
        socket.bind(&address(device, 0)?)?;
        Ok(Self { socket })
    }

    fn listen(device: &Device, outgoing: bool) -> io::Result<Self> {
        // Protocol 0: nothing is received before the socket is bound to its device.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        let ignored = c_int::from(!outgoing);
        set_socket_option(&socket, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, ignored)?;
        set_socket_option(&socket, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, 1)?;
        set_socket_option(
            &socket,
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            RECEIVE_BUFFER,
        )?;
        socket.bind(&address(device, libc::ETH_P_ALL)?)?;
        Ok(Self { socket })
    }

    /// Appends the next frame to `frame`; it lands in `landing` first, which has room for [`LONGEST`].
    ///
    /// # Errors
    /// `WouldBlock` if there is none.
    pub(crate) fn receive(&self, landing: &mut [u8], frame: &mut Vec<u8>) -> io::Result<()> {
        let length = (&self.socket).read(landing)?;
        frame.extend_from_slice(&landing[..length]);
        Ok(())
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// The device is down, its queue is full, or the frame is longer than it takes.
    pub(crate) fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.socket.send(frame).map(drop)
    }
}

/// Waits until the socket has a frame, for `time` at most.
///
/// # Errors
/// `Interrupted` by a signal.
pub(crate) fn wait(port: &PacketSocket, time: Duration) -> io::Result<()> {
    let mut polled = libc::pollfd {
        fd: port.socket.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let time = libc::timespec {
        tv_sec: time.as_secs() as libc::time_t,
        tv_nsec: time.subsec_nanos().into(),
    };
    // SAFETY: `polled` is one pollfd and `time` a timespec; both outlive the call. No signal mask is given.
    match unsafe { libc::ppoll(&raw mut polled, 1, &raw const time, std::ptr::null()) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn set_socket_option(socket: &Socket, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    let size = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the option's value is a c_int that lives through the call, and `size` is its size.
    match unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size,
        )
    } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// One protocol of one device; with 0 nothing is received.
fn address(device: &Device, protocol: c_int) -> io::Result<SockAddr> {
    // SAFETY: the storage is at least as large and as strictly aligned as a sockaddr_ll, zero is valid for
    // the fields that are left, and the length given is that of the sockaddr_ll written.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            storage
                .cast::<libc::sockaddr_ll>()
                .write(libc::sockaddr_ll {
                    sll_family: libc::AF_PACKET as u16,
                    sll_protocol: (protocol as u16).to_be(),
                    sll_ifindex: device.index as c_int,
                    sll_hatype: 0,
                    sll_pkttype: 0,
                    sll_halen: 0,
                    sll_addr: [0; 8],
                });
            *length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            Ok(())
        })
    }?;
    Ok(address)
}
