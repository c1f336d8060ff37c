//! What the programs of `transmit_watch` count: frames that XDP could not transmit or redirect.

/// Where and why frames were lost.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FailureKey {
    /// Inode number of the network namespace: tracepoints see all of them, and interface indexes repeat.
    pub namespace: u32,
    /// Index of the interface that should have transmitted. For a redirect into an AF_XDP socket: the one that received.
    pub interface: u32,
    /// An errno, or a number of [`cause`].
    pub errno: u32,
    /// A number of [`way`].
    pub way: u32,
}

/// Causes without an errno.
pub mod cause {
    /// The driver took fewer frames than it was given, and says no more. Its queue is full, or it cannot transmit such frames.
    pub const DROPPED_BY_DRIVER: u32 = 0;
    /// The driver dropped the frame after the program's verdict (`xdp_exception`).
    pub const EXCEPTION: u32 = u32::MAX;
}

/// Ways that a frame takes out of the XDP program.
pub mod way {
    /// Redirected to an interface.
    pub const REDIRECT: u32 = 0;
    /// Sent back by XDP_TX.
    pub const TRANSMIT: u32 = 1;
    /// Redirected into an AF_XDP socket.
    pub const SOCKET: u32 = 2;
    /// Redirected to an interface by the self-test.
    pub const SELF_TEST: u32 = 3;
}

/// What the program `probe` does with each frame of the self-test.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    /// Index of the interface to redirect to.
    pub interface: u32,
    /// Bytes by which the frame grows towards the start of its buffer before.
    pub grow: u32,
    /// Frames that the program has redirected.
    pub redirected: u32,
}
