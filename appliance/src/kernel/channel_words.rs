//! A number of channels in the words of `ethtool -L`.
//!
//! A driver has combined channels, which receive and transmit, or separate ones for each direction (veth, gve). It refuses the
//! words of the other kind.
#![forbid(unsafe_code)]

use std::fmt;

use super::ethtool::has_separate_channels;
use super::nic_settings::ChannelCounts;

/// What follows `ethtool -L IF`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelWords {
    /// So many channels that receive and transmit.
    Combined(u32),
    /// So many channels of each direction.
    Separate {
        /// Receive channels.
        rx: u32,
        /// Transmit channels.
        tx: u32,
    },
    /// So many receive channels; those that transmit stay.
    Receive(u32),
}

impl fmt::Display for ChannelWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Combined(count) => write!(f, "combined {count}"),
            Self::Separate { rx, tx } => write!(f, "rx {rx} tx {tx}"),
            Self::Receive(count) => write!(f, "rx {count}"),
        }
    }
}

impl ChannelCounts {
    /// The words that set the channels which are in use now.
    pub fn words_in_use(&self) -> ChannelWords {
        match self.combined.most {
            0 => ChannelWords::Separate {
                rx: self.rx.used,
                tx: self.tx.used,
            },
            _ => ChannelWords::Combined(self.combined.used),
        }
    }

    /// The words for `count` channels. Of separate ones, at most as many as the driver can.
    pub fn words_for(&self, count: u32) -> ChannelWords {
        match self.combined.most {
            0 => ChannelWords::Separate {
                rx: count.min(self.rx.most),
                tx: count.min(self.tx.most),
            },
            _ => ChannelWords::Combined(count),
        }
    }
}

/// The words that give an interface `count` receive queues.
pub fn receive_channel_words(interface: &str, count: u32) -> ChannelWords {
    if has_separate_channels(interface) {
        ChannelWords::Receive(count)
    } else {
        ChannelWords::Combined(count)
    }
}

#[cfg(test)]
mod tests {
    use super::super::nic_settings::Count;
    use super::*;

    #[test]
    fn the_words_are_those_of_the_channels_that_a_driver_has() {
        let separate = ChannelCounts {
            rx: Count { used: 1, most: 2 },
            tx: Count { used: 3, most: 8 },
            ..ChannelCounts::default()
        };
        let combined = ChannelCounts {
            combined: Count { used: 2, most: 8 },
            ..separate
        };
        assert_eq!(separate.words_in_use().to_string(), "rx 1 tx 3");
        assert_eq!(separate.words_for(4).to_string(), "rx 2 tx 4");
        assert_eq!(combined.words_in_use().to_string(), "combined 2");
        assert_eq!(combined.words_for(4).to_string(), "combined 4");
        assert_eq!(ChannelWords::Receive(4).to_string(), "rx 4");
    }
}
