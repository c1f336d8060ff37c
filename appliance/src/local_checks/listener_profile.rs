//! Derives the options that a listener of this machine offers on a link from the SYN-ACK that it sends over loopback.
//!
//! The MTU of the loopback interface is so large that MSS and window differ from those on a link. All else is the same: the
//! kernel takes the options from its sysctls, and the window scale from the socket's buffer.

use std::net::IpAddr;

use synward_core::layout::Profile;

/// Length of the IP and TCP headers without options, bytes.
const HEADERS_V4: u32 = 40;
const HEADERS_V6: u32 = 60;

/// Bytes that the timestamp option takes from each segment.
const TIMESTAMPS: u16 = 12;

/// The profile of the listener on a link with MTU `mtu`. If the window holds more than one segment, the kernel rounds it
/// down to whole segments (`tcp_select_initial_window`, net/ipv4/tcp_output.c). Their size depends on whether the client
/// uses timestamps; the profile offers the smaller of the two windows.
pub fn profile_on_link(probed: Profile, address: IpAddr, mtu: u32) -> Profile {
    let headers = if address.is_ipv4() {
        HEADERS_V4
    } else {
        HEADERS_V6
    };
    let link = u16::try_from(mtu.saturating_sub(headers)).unwrap_or(u16::MAX);
    let mss = probed.mss.min(link).max(1);
    let whole = |segment: u16| {
        if probed.window > segment {
            probed.window - probed.window % segment
        } else {
            probed.window
        }
    };
    Profile {
        mss,
        window: whole(mss).min(whole(mss.saturating_sub(TIMESTAMPS).max(1))),
        ..probed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probed(mss: u16, window: u16) -> Profile {
        Profile {
            mss,
            window,
            ..Profile::default()
        }
    }

    /// The expected values are those of the kernel's own SYN-ACKs on Ethernet.
    #[test]
    fn windows_are_whole_segments() {
        let v4 = IpAddr::from([192, 0, 2, 1]);
        let v6 = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]);
        for (profile, address, mtu, mss, window) in [
            (probed(65495, 65483), v4, 1500, 1460, 64240),
            (probed(65476, 65464), v6, 1500, 1440, 64260),
            (probed(65495, 65483), v4, 9000, 8960, 62636),
            (probed(1000, 65483), v4, 1500, 1000, 65000),
            (probed(65495, 1152), v4, 1500, 1460, 1152),
            (probed(65495, 2304), v4, 1500, 1460, 1448),
        ] {
            let seen = profile_on_link(profile, address, mtu);
            assert_eq!((seen.mss, seen.window), (mss, window));
        }
    }
}
