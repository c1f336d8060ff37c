//! Reads a server's SYN-ACK, checks it against the options that we offered in its name, and learns its profile.

use std::fmt;

use super::received::Received;
use synward_core::client_options::{ClientOptions, NO_SCALE};
use synward_core::layout::Profile;
use synward_core::wire::tcp::flags;

/// The options of our SYN to a server: those that the client requested and our SYN-ACK offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requested {
    /// The client's options.
    pub options: ClientOptions,
    /// Whether it has timestamps.
    pub timestamps: bool,
}

/// A set of TCP options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OptionSet {
    /// SACK.
    pub sack: bool,
    /// Timestamps.
    pub timestamps: bool,
    /// ECN.
    pub ecn: bool,
    /// Window scaling.
    pub window_scale: bool,
}

impl OptionSet {
    /// The options of this set that are not in `other`.
    pub const fn without(self, other: Self) -> Self {
        Self {
            sack: self.sack && !other.sack,
            timestamps: self.timestamps && !other.timestamps,
            ecn: self.ecn && !other.ecn,
            window_scale: self.window_scale && !other.window_scale,
        }
    }

    /// SACK, timestamps, ECN and window scaling, in this order.
    pub const fn to_array(self) -> [bool; 4] {
        [self.sack, self.timestamps, self.ecn, self.window_scale]
    }

    /// The inverse of [`Self::to_array`].
    pub const fn from_array([sack, timestamps, ecn, window_scale]: [bool; 4]) -> Self {
        Self {
            sack,
            timestamps,
            ecn,
            window_scale,
        }
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        !(self.sack || self.timestamps || self.ecn || self.window_scale)
    }
}

impl fmt::Display for OptionSet {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ["SACK", "timestamps", "ECN", "window scaling"];
        let there = names.into_iter().zip(self.to_array());
        let there = there.filter_map(|(name, there)| there.then_some(name));
        for (place, name) in there.enumerate() {
            write!(to, "{}{name}", if place > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

impl Requested {
    /// The options as a set.
    pub const fn set(&self) -> OptionSet {
        OptionSet {
            sack: self.options.sack,
            timestamps: self.timestamps,
            ecn: self.options.ecn,
            window_scale: self.options.window_scale.is_some(),
        }
    }
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

    /// The requested options that the server refuses.
    pub fn refused(&self, requested: &Requested) -> OptionSet {
        let accepted = OptionSet {
            sack: self.sack,
            timestamps: self.tsval.is_some(),
            ecn: self.ecn,
            window_scale: self.window_scale.is_some(),
        };
        requested.set().without(accepted)
    }

    /// Whether the connection works with an option missing or added. A server may refuse SACK (it then ignores SACK blocks),
    /// ECN, and window scaling (windows are shifted instead). Timestamps must be the same on both sides: a client may drop
    /// segments without them (RFC 7323 §3.2).
    pub fn is_usable(&self, requested: &Requested) -> bool {
        let scales = requested.options.window_scale.is_some();
        self.tsval.is_some() == requested.timestamps && (scales || self.window_scale.is_none())
    }

    /// `known` with the values of this SYN-ACK. The window is at most `hold` bytes. Which options the server supports stays as
    /// it was.
    pub fn refine(&self, known: &Profile, hold: u16) -> Profile {
        let scale = self
            .window_scale
            .filter(|_| known.window_scale != NO_SCALE)
            .unwrap_or(known.window_scale);
        Profile {
            mss: self.mss.unwrap_or(known.mss),
            window: self.window.min(hold).max(1),
            window_scale: scale,
            ..*known
        }
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
    fn each_refused_option_is_noticed() {
        let mut requested = REQUESTED;
        assert!(SERVER.refused(&requested).is_empty());
        requested.options.ecn = true;
        let silent = ServerSynAck {
            tsval: None,
            window_scale: None,
            sack: false,
            ..SERVER
        };
        assert_eq!(silent.refused(&requested), requested.set());
        assert_eq!(silent.refused(&Requested::default()), OptionSet::default());
    }

    #[test]
    fn only_timestamps_must_be_the_same_on_both_sides() {
        let poor = ServerSynAck {
            window_scale: None,
            sack: false,
            ..SERVER
        };
        assert!(poor.is_usable(&REQUESTED));
        let without_times = ServerSynAck {
            tsval: None,
            ..SERVER
        };
        assert!(!without_times.is_usable(&REQUESTED));
        // What was not requested must not be added.
        assert!(!SERVER.is_usable(&Requested::default()));
    }

    #[test]
    fn values_are_learned_and_options_stay() {
        let known = Profile::default();
        let profile = SERVER.refine(&known, 5000);
        assert_eq!(
            (profile.mss, profile.window_scale, profile.window),
            (1400, 9, 5000)
        );
        let poor = ServerSynAck {
            tsval: None,
            window_scale: None,
            mss: None,
            sack: false,
            ..SERVER
        };
        let window = 4000;
        assert_eq!(poor.refine(&profile, window), Profile { window, ..profile });
        // An option that is not offered stays so until it was asked for again.
        let unscaled = Profile {
            window_scale: NO_SCALE,
            ..known
        };
        assert_eq!(SERVER.refine(&unscaled, 1).window_scale, NO_SCALE);
    }
}
