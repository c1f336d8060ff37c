//! Allow and deny lists: which sources a service never challenges, and which it drops.
//!
//! Of the prefixes that hold a source, the longest decides. The same prefix is never allowed and denied at a time.
//!
//! | file | idea |
//! |---|---|
//! | [`contents`] | what the map of lists holds, as pure data, and the changes from one state to another |
//! | [`run_time`] | the entries that `synward allow` and `synward deny` made |
//! | [`request`] | requests of these commands, and the answers |
//! | [`listing`] | the lists as people read them, with the origin of each entry |

#![forbid(unsafe_code)]

pub mod contents;
pub mod listing;
pub mod request;
pub mod run_time;

pub use contents::{Change, Contents, Verdict};
pub use listing::{ListedPrefix, Origin};
pub use request::{ListAnswer, ListRequest, ListVerb};
pub use run_time::{RunTimeLists, Scope};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::config;

/// One of the two lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum List {
    /// Sources that are never challenged.
    Allow,
    /// Sources whose segments are dropped.
    Deny,
}

impl List {
    /// The name of the command and of the key in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }

    /// What it makes of a prefix.
    pub fn participle(self) -> &'static str {
        match self {
            Self::Allow => "allowed",
            Self::Deny => "denied",
        }
    }

    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Allow => Self::Deny,
            Self::Deny => Self::Allow,
        }
    }
}

/// The prefixes that the configuration lists for a service, in its own file or in a file that it names.
pub fn configured(
    service: &config::Service,
) -> impl Iterator<Item = (List, Origin, &IpNet)> + Clone {
    let (allow, deny) = (service.allow.as_slice(), service.deny.as_slice());
    [
        (List::Allow, Origin::Configuration, allow),
        (List::Deny, Origin::Configuration, deny),
        (List::Allow, Origin::File, service.allow_file.prefixes()),
        (List::Deny, Origin::File, service.deny_file.prefixes()),
    ]
    .into_iter()
    .flat_map(|(list, origin, nets)| nets.iter().map(move |net| (list, origin, net)))
}
