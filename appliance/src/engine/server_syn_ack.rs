//! Reads a server's SYN-ACK, checks it against the options that we offered in its name, and learns its profile.

use super::received::Received;
use synward_core::client_options::{ClientOptions, NO_SCALE};
use synward_core::layout::{Profile, profile_flags};
use synward_core::wire::tcp::flags;

/// The options of our SYN to a server: those that the client requested and our SYN-ACK offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requested {
    /// The client's options.
    pub options: ClientOptions,
    /// Whether it has timestamps.
    pub timestamps: bool,
}

/// The options of a server's SYN-ACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerSynAck {
    /// The server's ISN, S.
    pub isn: u32,
    /// Its TSval.
    pub tsval: Option<u32>,
    /// Its window scale.
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

    /// Whether the server accepts every option negotiated with the client.
    pub fn accepts(&self, requested: &Requested) -> bool {
        self.tsval.is_some() == requested.timestamps
            && self.window_scale.is_some() == requested.options.window_scale.is_some()
            && (self.sack || !requested.options.sack)
            && (self.ecn || !requested.options.ecn)
    }

    /// The profile after this SYN-ACK. Only options in our SYN can be learned; the rest of `known` stays. The window is
    /// at most `hold` bytes.
    pub fn refine(&self, known: &Profile, requested: &Requested, hold: u16) -> Profile {
        let mut profile = *known;
        if let Some(mss) = self.mss {
            profile.mss = mss;
        }
        profile.window = self.window.min(hold).max(1);
        if requested.options.window_scale.is_some() {
            profile.window_scale = self.window_scale.unwrap_or(NO_SCALE);
        }
        let mut flag = |requested: bool, bit: u8, accepted: bool| {
            if requested {
                profile.flags = if accepted {
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
    const REQUESTED: Requested = Requested {
        options: ClientOptions {
            mss: 1460,
            window_scale: Some(7),
            sack: true,
            ecn: false,
        },
        timestamps: true,
    };

    #[test]
    fn each_declined_option_is_noticed() {
        assert!(SERVER.accepts(&REQUESTED));
        assert!(
            !ServerSynAck {
                tsval: None,
                ..SERVER
            }
            .accepts(&REQUESTED)
        );
        assert!(
            !ServerSynAck {
                window_scale: None,
                ..SERVER
            }
            .accepts(&REQUESTED)
        );
        assert!(
            !ServerSynAck {
                sack: false,
                ..SERVER
            }
            .accepts(&REQUESTED)
        );
        let mut ecn = REQUESTED;
        ecn.options.ecn = true;
        assert!(!SERVER.accepts(&ecn));
    }

    #[test]
    fn only_requested_options_are_learned() {
        let profile = SERVER.refine(&Profile::default(), &REQUESTED, 5000);
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
