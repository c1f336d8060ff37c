//! What the configuration says about lists, and where an entry of a list stands.

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

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// `allow` or `deny` in the configuration file.
    Configuration,
    /// The file that `allow_file` or `deny_file` names.
    File,
    /// `synward allow add` or `synward deny add`.
    RunTime,
}

impl Origin {
    /// As `list` prints it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::File => "file",
            Self::RunTime => "run time",
        }
    }

    /// The key of the configuration under which an entry stands.
    pub fn place(self, list: List) -> String {
        match self {
            Self::File => format!("the file of `{}_file`", list.word()),
            _ => format!("`{}`", list.word()),
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
