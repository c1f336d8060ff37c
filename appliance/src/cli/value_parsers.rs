//! What values arguments may have, and what is said of others.

use std::net::IpAddr;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use ipnet::IpNet;

use crate::capture::Reason;
use crate::config::{Choice, Mode, parse_listed_prefix};
use crate::observe::FlowState;
use crate::secret::is_service_name;

/// An address or a prefix, as the lists write it.
pub(super) fn prefix(text: &str) -> Result<String, String> {
    parse_listed_prefix(text).map(|net| net.to_string())
}

/// An address or a prefix of clients.
pub(super) fn client(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    let prefix = text.parse::<IpNet>().map(|prefix| prefix.trunc());
    let prefix = prefix.or_else(|_| address()).map_err(|_| {
        "use an address (198.51.100.7, 2001:db8::7) or a prefix (198.51.100.0/24, 2001:db8::/32)"
    })?;
    match prefix {
        IpNet::V6(v6) if v6.prefix_len() >= 96 && v6.addr().to_ipv4_mapped().is_some() => {
            Err("it is an IPv4-mapped IPv6 address; write the IPv4 address or prefix".into())
        }
        _ => Ok(prefix),
    }
}

/// A state of a flow.
pub(super) fn states() -> impl TypedValueParser<Value = FlowState> {
    let words = FlowState::ALL.map(|state| PossibleValue::new(state.word()));
    PossibleValuesParser::new(words).try_map(|word| {
        let state = FlowState::ALL
            .into_iter()
            .find(|state| state.word() == word);
        state.ok_or("this is no state of a flow")
    })
}

/// A reason to capture a frame.
pub(super) fn reasons() -> impl TypedValueParser<Value = Reason> {
    let words = Reason::all()
        .into_iter()
        .map(|one| PossibleValue::new(one.word));
    PossibleValuesParser::new(words).try_map(|word| {
        let reason = Reason::all().into_iter().find(|one| one.word == word);
        reason.ok_or("this is no reason")
    })
}

/// A number of seconds between two samples.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let seconds = text
        .parse()
        .ok()
        .filter(|seconds| (0.1..=60.0).contains(seconds));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "use a number of seconds from 0.1 to 60".into())
}

/// A service's name.
pub(super) fn service_name(text: &str) -> Result<String, String> {
    if is_service_name(text) {
        Ok(text.to_owned())
    } else {
        Err("a service's name has 1 to 32 characters of a-z, 0-9, _ and -".into())
    }
}

/// A mode of a service.
pub(super) fn modes() -> impl TypedValueParser<Value = Mode> {
    let words = Mode::WORDS.iter().map(|(word, _)| PossibleValue::new(word));
    PossibleValuesParser::new(words).try_map(|word| Mode::parse("mode", &word))
}
