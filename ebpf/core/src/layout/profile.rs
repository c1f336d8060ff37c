//! What a server supports, and so what a SYN-ACK in its name may offer.

use crate::client_options::{ClientOptions, NO_SCALE};

/// The TCP options that a server supports, and so what a SYN-ACK in its name may offer.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The server's MSS in bytes.
    pub mss: u16,
    /// Window of the SYN-ACK in bytes (never scaled, RFC 7323 §2.2): the data that synward buffers for a client whose server
    /// has not answered yet.
    pub window: u16,
    /// The server's window shift, 0–14, or [`NO_SCALE`].
    pub window_scale: u8,
    /// See [`profile_flags`].
    pub flags: u8,
    /// Padding, zero.
    pub reserved: [u8; 2],
}

/// Bits of [`Profile::flags`].
pub mod profile_flags {
    /// The server supports SACK.
    pub const SACK: u8 = 1;
    /// The server supports timestamps.
    pub const TIMESTAMPS: u8 = 2;
    /// The server supports ECN.
    pub const ECN: u8 = 4;
}

/// Ten segments of 1460 bytes: a client's initial window (RFC 6928), and so the most that it sends before the server has
/// answered.
pub const INITIAL_WINDOW: u16 = 14600;

impl Default for Profile {
    /// A stock Linux server on Ethernet, until the server's own options are known.
    fn default() -> Self {
        Self {
            mss: 1460,
            window: INITIAL_WINDOW,
            window_scale: 7,
            flags: profile_flags::SACK | profile_flags::TIMESTAMPS,
            reserved: [0; 2],
        }
    }
}

impl Profile {
    /// Whether the server supports timestamps.
    #[inline(always)]
    pub const fn timestamps(&self) -> bool {
        self.flags & profile_flags::TIMESTAMPS != 0
    }

    /// The client's options that this server supports too; MSS and window shift stay the client's.
    #[inline(always)]
    pub const fn negotiate(&self, client: &ClientOptions) -> ClientOptions {
        ClientOptions {
            mss: client.mss,
            window_scale: if self.window_scale == NO_SCALE {
                None
            } else {
                client.window_scale
            },
            sack: client.sack && self.flags & profile_flags::SACK != 0,
            ecn: client.ecn && self.flags & profile_flags::ECN != 0,
        }
    }
}
