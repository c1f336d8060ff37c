//! What a server's SYN-ACK says about it, and whether it keeps what was promised in its name.

use super::Received;
use synward_core::client_options::{ClientOptions, NO_SCALE};
use synward_core::layout::{Profile, profile_flags};
use synward_core::wire::tcp::flags;

/// What a SYN to the server requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requested {
    /// The client's options.
    pub options: ClientOptions,
    /// Timestamps.
    pub timestamps: bool,
}

/// The options of a server's SYN-ACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerSynAck {
    /// The server's ISN, S.
    pub isn: u32,
    /// Its TSval.
    pub tsval: Option<u32>,
    /// Its window shift.
    pub window_scale: Option<u8>,
    mss: Option<u16>,
    window: u16,
    sack: bool,
    ecn: bool,
}

impl ServerSynAck {
    /// Reads a SYN-ACK.
    pub fn read(segment: &Received<'_>) -> Self {
        let found = &segment.options.found;
        Self {
            isn: segment.sequence,
            tsval: segment.options.timestamps().map(|(tsval, _)| tsval),
            window_scale: found.window_scale(),
            mss: found.mss(),
            window: segment.window,
            sack: found.sack_permitted(),
            // RFC 3168 §6.1.1: ECE without CWR.
            ecn: segment.flags & (flags::ECE | flags::CWR) == flags::ECE,
        }
    }

    /// Whether the server agreed to everything that the client was promised.
    pub fn accepts(&self, requested: &Requested) -> bool {
        self.tsval.is_some() == requested.timestamps
            && self.window_scale.is_some() == requested.options.window_scale.is_some()
            && (self.sack || !requested.options.sack)
            && (self.ecn || !requested.options.ecn)
    }

    /// The profile after this SYN-ACK. Only what the SYN requested can be learned; the rest stays. At most `hold` bytes of
    /// window.
    pub fn refine(&self, known: &Profile, requested: &Requested, hold: u16) -> Profile {
        let mut profile = *known;
        if let Some(mss) = self.mss {
            profile.mss = mss;
        }
        profile.window = self.window.min(hold).max(1);
        if requested.options.window_scale.is_some() {
            profile.window_scale = self.window_scale.unwrap_or(NO_SCALE);
        }
        let mut flag = |asked: bool, bit: u8, agreed: bool| {
            if asked {
                profile.flags = if agreed {
                    profile.flags | bit
                } else {
                    profile.flags & !bit
                };
            }
        };
        flag(requested.options.sack, profile_flags::SACK, self.sack);
        flag(
            requested.timestamps,
            profile_flags::TIMESTAMPS,
            self.tsval.is_some(),
        );
        flag(requested.options.ecn, profile_flags::ECN, self.ecn);
        profile
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: ServerSynAck = ServerSynAck {
        isn: 1,
        tsval: Some(2),
        window_scale: Some(9),
        mss: Some(1400),
        window: 65535,
        sack: true,
        ecn: false,
    };
    const OFFERED: Requested = Requested {
        options: ClientOptions {
            mss: 1460,
            window_scale: Some(7),
            sack: true,
            ecn: false,
        },
        timestamps: true,
    };

    #[test]
    fn refusals_are_seen() {
        assert!(SERVER.accepts(&OFFERED));
        assert!(
            !ServerSynAck {
                tsval: None,
                ..SERVER
            }
            .accepts(&OFFERED)
        );
        assert!(
            !ServerSynAck {
                window_scale: None,
                ..SERVER
            }
            .accepts(&OFFERED)
        );
        assert!(
            !ServerSynAck {
                sack: false,
                ..SERVER
            }
            .accepts(&OFFERED)
        );
        let mut ecn = OFFERED;
        ecn.options.ecn = true;
        assert!(!SERVER.accepts(&ecn));
    }

    #[test]
    fn only_what_was_offered_is_learned() {
        let profile = SERVER.refine(&Profile::default(), &OFFERED, 5000);
        assert_eq!(
            (profile.mss, profile.window_scale, profile.window),
            (1400, 9, 5000)
        );
        let bare = Requested {
            options: ClientOptions::default(),
            timestamps: false,
        };
        let silent = ServerSynAck {
            tsval: None,
            window_scale: None,
            sack: false,
            ..SERVER
        };
        let same = silent.refine(&profile, &bare, 4000);
        assert_eq!(
            same,
            Profile {
                window: 4000,
                ..profile
            }
        );
    }
}
