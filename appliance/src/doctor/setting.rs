//! The settings that `tune` changes, and the command that sets each. The text of a command is what runs.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Something that has a value, as text, and a command that sets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Setting {
    /// A feature of an interface: `on` or `off`.
    Offload {
        /// The interface.
        interface: String,
        /// The kernel's name of the feature.
        feature: String,
    },
    /// The channels of an interface: `combined 4` or `rx 2 tx 2`.
    Channels {
        /// The interface.
        interface: String,
    },
    /// The descriptors of a receive ring: `rx 1024`.
    Ring {
        /// The interface.
        interface: String,
    },
    /// The MTU of an interface, bytes.
    Mtu {
        /// The interface.
        interface: String,
    },
    /// The RSS table of an interface, in the words of `ethtool -X`: `equal 4`.
    Rss {
        /// The interface.
        interface: String,
    },
    /// The CPUs of an interrupt, as a list: `0-3`.
    Irq {
        /// The interface.
        interface: String,
        /// The number of the interrupt.
        number: u32,
    },
    /// A sysctl of this network namespace.
    Sysctl {
        /// Its name, with dots.
        key: String,
    },
    /// What is mounted at a directory: `bpf` or `nothing`.
    Mount {
        /// The directory.
        at: String,
    },
}

/// A setting and the value that it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The setting.
    pub setting: Setting,
    /// The value.
    pub to: String,
}

/// How a setting is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetCommand {
    /// Runs a program.
    Run(Vec<String>),
    /// Writes a file, as `echo TEXT > FILE` does.
    Write {
        /// The text.
        text: String,
        /// The file.
        file: String,
    },
}

impl Setting {
    /// The interface that it belongs to.
    pub fn interface(&self) -> Option<&str> {
        match self {
            Self::Offload { interface, .. }
            | Self::Channels { interface }
            | Self::Ring { interface }
            | Self::Mtu { interface }
            | Self::Rss { interface }
            | Self::Irq { interface, .. } => Some(interface),
            Self::Sysctl { .. } | Self::Mount { .. } => None,
        }
    }

    /// The command that gives it this value.
    pub fn command(&self, to: &str) -> SetCommand {
        let run = |words: &[&str], value: &str| {
            let words = words.iter().copied().chain(value.split(' '));
            SetCommand::Run(words.map(str::to_owned).collect())
        };
        match self {
            Self::Offload { interface, feature } => {
                run(&["ethtool", "-K", interface, short_name(feature)], to)
            }
            Self::Channels { interface } => run(&["ethtool", "-L", interface], to),
            Self::Ring { interface } => run(&["ethtool", "-G", interface], to),
            Self::Rss { interface } => run(&["ethtool", "-X", interface], to),
            Self::Mtu { interface } => run(&["ip", "link", "set", interface, "mtu"], to),
            Self::Irq { number, .. } => SetCommand::Write {
                text: to.to_owned(),
                file: format!("/proc/irq/{number}/smp_affinity_list"),
            },
            Self::Sysctl { key } => run(&["sysctl", "-w"], &format!("{key}={to}")),
            Self::Mount { at } if to == "bpf" => run(&["mount", "-t", "bpf", "bpf", at], ""),
            Self::Mount { at } => run(&["umount", at], ""),
        }
        .without_empty_words()
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.setting.command(&self.to).fmt(f)
    }
}

impl SetCommand {
    fn without_empty_words(mut self) -> Self {
        if let Self::Run(words) = &mut self {
            words.retain(|word| !word.is_empty());
        }
        self
    }
}

/// The command as a shell reads it.
impl fmt::Display for SetCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(words) => {
                let words: Vec<_> = words.iter().map(|word| quoted(word)).collect();
                f.write_str(&words.join(" "))
            }
            Self::Write { text, file } => write!(f, "echo {} > {file}", quoted(text)),
        }
    }
}

/// A word as a shell reads it: in quotes if it has characters that mean something to a shell.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The short name that ethtool(8) has for some features.
fn short_name(feature: &str) -> &str {
    match feature {
        "rx-vlan-hw-parse" => "rxvlan",
        "rx-lro" => "lro",
        "rx-gro" => "gro",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_has_its_command() {
        let interface = "eth0".to_owned();
        let feature = "rx-vlan-hw-parse".to_owned();
        let at = "/sys/fs/bpf".to_owned();
        let key = "net.ipv4.tcp_syncookies".to_owned();
        for (setting, to, command) in [
            (
                Setting::Offload {
                    interface: interface.clone(),
                    feature,
                },
                "off",
                "ethtool -K eth0 rxvlan off",
            ),
            (
                Setting::Channels {
                    interface: interface.clone(),
                },
                "rx 2 tx 2",
                "ethtool -L eth0 rx 2 tx 2",
            ),
            (
                Setting::Ring {
                    interface: interface.clone(),
                },
                "rx 1024",
                "ethtool -G eth0 rx 1024",
            ),
            (
                Setting::Mtu {
                    interface: interface.clone(),
                },
                "1500",
                "ip link set eth0 mtu 1500",
            ),
            (
                Setting::Rss {
                    interface: interface.clone(),
                },
                "equal 4",
                "ethtool -X eth0 equal 4",
            ),
            (
                Setting::Irq {
                    interface,
                    number: 25,
                },
                "2",
                "echo 2 > /proc/irq/25/smp_affinity_list",
            ),
            (
                Setting::Sysctl { key },
                "1",
                "sysctl -w net.ipv4.tcp_syncookies=1",
            ),
            (
                Setting::Mount { at: at.clone() },
                "bpf",
                "mount -t bpf bpf /sys/fs/bpf",
            ),
            (Setting::Mount { at }, "nothing", "umount /sys/fs/bpf"),
        ] {
            assert_eq!(setting.command(to).to_string(), command);
        }
    }

    #[test]
    fn a_strange_name_is_quoted() {
        assert_eq!(quoted("eth0.5"), "eth0.5");
        assert_eq!(quoted("a;reboot"), "'a;reboot'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
