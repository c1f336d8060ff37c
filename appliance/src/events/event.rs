//! An event. The field names are those of `status --json` and of what `on_event` programs read; they are stable.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A service came under attack.
    AttackBegin,
    /// The attack is over.
    AttackEnd,
    /// `synward drain`: no new connections are accepted.
    Drain,
    /// `synward undrain`: they are accepted again.
    Undrain,
    /// The drain has ended, and the process ends.
    Drained,
}

/// Something that happened at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When, seconds of Unix time.
    pub time: f64,
    /// What.
    pub event: EventKind,
    /// The service that it happened to; `None` = the whole appliance.
    pub service: Option<String>,
    /// The address or prefix of the service that it happened to; `None` = all of them.
    #[serde(default)]
    pub address: Option<String>,
    /// The same for people, without time, service and address.
    pub message: String,
    /// The numbers of an attack.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub attack: Option<AttackNumbers>,
}

/// The numbers of an attack so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AttackNumbers {
    /// SYNs a second with which it began.
    pub rate: u64,
    /// SYNs a second from which on it counted as one.
    pub threshold: u64,
    /// The highest rate, SYNs a second.
    pub peak_rate: u64,
    /// Seconds from its begin until its rate was low.
    pub duration_seconds: f64,
    /// SYNs.
    pub syns: u64,
    /// Clients that completed their handshake, as far as it is known.
    pub proven_clients: u64,
    /// Whether clients were challenged meanwhile; with mode `monitor` they are not.
    pub challenged: bool,
}

impl Event {
    /// An event of now.
    pub fn new(event: EventKind, service: Option<&str>, message: impl Into<String>) -> Self {
        Self {
            time: unix_seconds(),
            event,
            service: service.map(str::to_owned),
            address: None,
            message: message.into(),
            attack: None,
        }
    }
}

/// The time, seconds of Unix time to the millisecond.
pub fn unix_seconds() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    (since.unwrap_or_default().as_secs_f64() * 1e3).round() / 1e3
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn json_is_flat_and_comes_back() {
        let plain = Event {
            time: 1.5,
            ..Event::new(EventKind::AttackBegin, Some("web"), "what")
        };
        let text = serde_json::to_string(&plain).unwrap();
        assert_eq!(
            text,
            r#"{"time":1.5,"event":"attack_begin","service":"web","address":null,"message":"what"}"#
        );
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), plain);
        let attack = Event {
            attack: Some(AttackNumbers {
                peak_rate: 7,
                ..AttackNumbers::default()
            }),
            ..plain
        };
        let value = serde_json::to_value(&attack).unwrap();
        assert_eq!(
            (&value["peak_rate"], &value["syns"]),
            (&7.into(), &0.into())
        );
        assert_eq!(serde_json::from_value::<Event>(value).unwrap(), attack);
    }
}
