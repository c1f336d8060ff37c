//! How the maps encode the configuration: policies, endpoints, keys of look-ups.

use std::net::IpAddr;

use ipnet::IpNet;
use synward_core::layout::{
    Endpoint, EndpointKey, INITIAL_WINDOW, PrefixKey, Profile, Service, cookies, handoff, listed,
    mode, plain_cookies, profile_flags, unknown_policy, when_absent,
};
use synward_core::wire::Address;

use crate::config::{
    self, Cookies, Fragments, Handoff, Mode, Offer, PlainCookies, Unknown, WhenAbsent,
};
use crate::lists::{self, Verdict};

/// The policy of a service. What is 0 here is set while the program runs.
pub(super) fn service(config: &config::Service) -> Service {
    Service {
        mode: mode_byte(config.mode),
        unknown_policy: match config.unknown {
            Unknown::Drop => unknown_policy::DROP,
            Unknown::Pass => unknown_policy::PASS,
            Unknown::Reset => unknown_policy::RESET,
        },
        pass_fragments: u8::from(config.fragments == Fragments::Pass),
        listed: u8::from(lists::configured(config).next().is_some()),
        keys: 0,
        plain_cookies: match config.plain_cookies {
            PlainCookies::Limit => plain_cookies::LIMIT,
            PlainCookies::Accept => plain_cookies::ACCEPT,
            PlainCookies::Refuse => plain_cookies::REFUSE,
        },
        handoff: match config.handoff {
            Handoff::Splice => handoff::SPLICE,
            Handoff::Local => handoff::LOCAL,
            Handoff::Forward => handoff::FORWARD,
        },
        cookies: match config.cookies {
            Cookies::Auto => 0,
            Cookies::Kernel => cookies::KERNEL,
        },
        adopt_until: 0,
        judge_until: 0,
        cookies_until: 0,
        when_absent: match (config.handoff, config.when_absent) {
            (Handoff::Splice, WhenAbsent::Drop) => when_absent::DROP,
            (Handoff::Splice, WhenAbsent::Pass) => when_absent::PASS,
            _ => when_absent::ANSWER,
        },
        draining: 0,
        issuer: 0,
        under_attack: 0,
        watched: 0,
        reserved: [0; 3],
        replies: config.replies_per_prefix,
        padding: 0,
    }
}

/// Encodes a mode for [`Service::mode`]. A service with `auto` challenges nobody at first.
pub(super) fn mode_byte(of: Mode) -> u8 {
    match of {
        Mode::Always => mode::ALWAYS,
        Mode::Monitor => mode::MONITOR,
        Mode::Auto | Mode::Off => mode::OFF,
    }
}

/// Encodes a verdict for the map of lists.
pub(super) fn verdict_word(of: Verdict) -> u32 {
    match of {
        Verdict::Neither => listed::NEITHER,
        Verdict::Allowed => listed::ALLOWED,
        Verdict::Denied => listed::DENIED,
    }
}

/// What the map of endpoints says about an address of a service at first.
pub(super) fn endpoint(
    index: u32,
    policy: u32,
    service: &config::Service,
    address: IpAddr,
) -> Endpoint {
    let profile = apply_offer(&service.offer, initial_profile(service, address));
    Endpoint {
        service: index,
        policy,
        since: 0,
        now: profile,
        before: profile,
    }
}

/// The MSS of that profile.
pub(super) fn initial_mss(address: IpAddr) -> u16 {
    match address {
        IpAddr::V4(_) => 1460,
        IpAddr::V6(_) => 1440,
    }
}

/// The profile that is offered until the server's options are learned: those of Linux on Ethernet, an MSS 20 bytes smaller
/// over IPv6, and a window of at most the bytes held for a client.
fn initial_profile(service: &config::Service, address: IpAddr) -> Profile {
    let default = Profile::default();
    Profile {
        mss: initial_mss(address),
        window: window(service.hold_bytes),
        ..default
    }
}

/// The window of SYN-ACKs for a service that holds `hold_bytes` per opening.
pub(super) fn window(hold_bytes: u32) -> u16 {
    u16::try_from(hold_bytes).map_or(INITIAL_WINDOW, |bytes| bytes.min(INITIAL_WINDOW))
}

/// Applies the options that the configuration fixes to a profile.
pub(super) fn apply_offer(offer: &Offer, profile: Profile) -> Profile {
    let flag = |wanted: Option<bool>, bit| match wanted {
        Some(true) => bit,
        Some(false) => 0,
        None => profile.flags & bit,
    };
    Profile {
        mss: offer.mss.unwrap_or(profile.mss),
        window_scale: offer.wscale.unwrap_or(profile.window_scale),
        flags: flag(offer.sack, profile_flags::SACK)
            | flag(offer.timestamps, profile_flags::TIMESTAMPS)
            | flag(offer.ecn, profile_flags::ECN),
        ..profile
    }
}

/// The key of an exact look-up.
pub(super) fn endpoint_key(address: IpAddr, port: u32) -> EndpointKey {
    EndpointKey {
        address: Address::from(address),
        port,
    }
}

/// The key of a prefix look-up, in the 128-bit form.
pub(super) fn prefix_key(net: IpNet) -> PrefixKey {
    let offset = match net {
        IpNet::V4(_) => 96,
        IpNet::V6(_) => 0,
    };
    PrefixKey {
        length: offset + u32::from(net.prefix_len()),
        address: Address::from(net.addr()),
    }
}
