//! What a listener of this machine promises in its own SYN-ACKs, from what it said when asked.
//!
//! It was asked over the loopback interface, whose segments are so large that MSS and window come out otherwise than
//! on a link. All else is the same: the kernel takes options from its sysctls, and the shift from the socket's buffer.

use std::net::IpAddr;

use synward_core::layout::Profile;

/// Bytes of IP and TCP header without options.
const HEADERS_V4: u32 = 40;
const HEADERS_V6: u32 = 60;

/// What timestamps take of each segment.
const TIMESTAMPS: u16 = 12;

/// The listener's profile towards a link of that MTU. The kernel rounds the window down to whole segments where it
/// holds more than one (`tcp_select_initial_window`, net/ipv4/tcp_output.c); their size depends on whether the client
/// does timestamps, and of the two windows the smaller one is promised.
pub fn profile_on_link(said: Profile, address: IpAddr, mtu: u32) -> Profile {
    let headers = if address.is_ipv4() {
        HEADERS_V4
    } else {
        HEADERS_V6
    };
    let link = u16::try_from(mtu.saturating_sub(headers)).unwrap_or(u16::MAX);
    let mss = said.mss.min(link).max(1);
    let whole = |segment: u16| {
        if said.window > segment {
            said.window - said.window % segment
        } else {
            said.window
        }
    };
    Profile {
        mss,
        window: whole(mss).min(whole(mss.saturating_sub(TIMESTAMPS).max(1))),
        ..said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(mss: u16, window: u16) -> Profile {
        Profile {
            mss,
            window,
            ..Profile::default()
        }
    }

    /// As the kernel's own SYN-ACKs say on Ethernet.
    #[test]
    fn windows_are_whole_segments() {
        let v4 = IpAddr::from([192, 0, 2, 1]);
        let v6 = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]);
        for (said, address, mtu, mss, window) in [
            (said(65495, 65483), v4, 1500, 1460, 64240),
            (said(65476, 65464), v6, 1500, 1440, 64260),
            (said(65495, 65483), v4, 9000, 8960, 62636),
            (said(1000, 65483), v4, 1500, 1000, 65000),
            (said(65495, 1152), v4, 1500, 1460, 1152),
            (said(65495, 2304), v4, 1500, 1460, 1448),
        ] {
            let seen = profile_on_link(said, address, mtu);
            assert_eq!((seen.mss, seen.window), (mss, window));
        }
    }
}
