//! Another XDP program that occupies an interface, in words: what it is, who holds it, and what to do about it.
#![forbid(unsafe_code)]

use std::fmt;
use std::path::Path;

use crate::kernel::{AttachedProgram, ProgramHolders, program_holders};

/// Programs that belong to a system which chains or reloads programs, by the start of their name. Removing one breaks what
/// it chains, or its owner puts it back.
const OWNED: [(&str, &str); 6] = [
    ("xdp_dispatcher", "the dispatcher of libxdp"),
    ("cil_", "a program of Cilium"),
    ("bpf_xdp_entry", "a program of Cilium"),
    ("cali_", "a program of Calico"),
    ("balancer_ingress", "a program of katran"),
    ("xdp_root", "the root program of katran"),
];

/// The name of synward's own program.
const OURS: &str = "steer";

/// The name of its process.
const SYNWARD: &str = "synward";

/// An XDP program that occupies an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occupant {
    interface: String,
    id: u32,
    native: bool,
    holders: ProgramHolders,
}

impl Occupant {
    /// Asks the kernel about the program on `interface`. `None`: it is gone again.
    pub(crate) fn find(interface: &str, attached: Option<AttachedProgram>) -> Self {
        let id = attached.map_or(0, |attached| attached.id);
        Self {
            interface: interface.to_owned(),
            id,
            native: attached.is_none_or(|attached| attached.native),
            holders: program_holders(id),
        }
    }

    /// Whether it is the program of a synward that runs, or whose pins are those in `pin`.
    pub(crate) fn is_synward(&self, pin: Option<&Path>) -> bool {
        let holders = &self.holders;
        let is_pinned = |pin: &Path| holders.pins.iter().any(|file| file.starts_with(pin));
        let runs = || holders.processes.iter().any(|(_, name)| name == SYNWARD);
        holders.name == OURS && (pin.is_some_and(is_pinned) || runs())
    }

    /// Whether nothing is known of it but its number, because this process may not ask.
    pub(crate) fn is_hidden(&self) -> bool {
        self.holders == ProgramHolders::default()
    }

    /// The command that detaches it, if it works and harms nobody.
    pub(crate) fn harmless_command(&self) -> Option<String> {
        let (interface, holders) = (&self.interface, &self.holders);
        let is_held = self.owner().is_some()
            || !holders.pins.is_empty()
            || !holders.links.is_empty()
            || !holders.processes.is_empty();
        if is_held || holders.name.is_empty() {
            return None;
        }
        let off = if self.native { "xdp" } else { "xdpgeneric" };
        Some(format!("ip link set {interface} {off} off"))
    }

    /// The program, and who holds it.
    pub(crate) fn describe(&self) -> String {
        let (holders, id) = (&self.holders, self.id);
        let mut text = format!("{} runs XDP program ", self.interface);
        text += &match holders.name.as_str() {
            "" => id.to_string(),
            name => format!("{name} (id {id})"),
        };
        for link in &holders.links {
            text += &format!(", link {link}");
        }
        for pin in &holders.pins {
            text += &format!(", pinned as {}", pin.display());
        }
        for (pid, name) in &holders.processes {
            text += &format!(", held by process {pid} ({name})");
        }
        text
    }

    fn owner(&self) -> Option<&'static str> {
        let name = &self.holders.name;
        OWNED
            .iter()
            .find(|(start, _)| name.starts_with(start))
            .map(|(_, owner)| *owner)
    }

    /// What the operator should do. `ip link set … xdp off` is advised only if it works and harms nobody: the kernel
    /// refuses it for a program on a link (`dev_xdp_attach`, net/core/dev.c), and a program that is pinned, held by a process
    /// or part of a larger system is still in use.
    pub(crate) fn cure(&self) -> String {
        let holders = &self.holders;
        if let Some(owner) = self.owner() {
            return format!(
                "it is {owner}: do not detach it; remove it by the means of its owner, or steer another interface"
            );
        }
        if holders.name == OURS && !holders.pins.is_empty() {
            return "another synward left or uses it: stop that one, or run `synward unload` with its pin folder".into();
        }
        if let Some((pid, name)) = holders.processes.first() {
            return format!("stop process {pid} ({name}), which holds it");
        }
        match (holders.pins.first(), holders.links.is_empty()) {
            (Some(pin), false) => format!(
                "ask whose it is; removing the pinned link detaches it: `rm {}`",
                pin.display()
            ),
            (Some(_), true) => {
                "it is pinned, so somebody uses it: ask whose it is before you detach it".into()
            }
            (None, false) => {
                "a link holds it, so `ip link set … xdp off` cannot remove it: stop the process that has the link \
                 (`bpftool link show`)"
                    .into()
            }
            (None, true) if holders.name.is_empty() => {
                "stop what attached it (`bpftool prog show` as root names it)".into()
            }
            (None, true) => {
                let off = self.harmless_command().unwrap_or_default();
                format!("nothing holds it any more; take it off with `{off}`")
            }
        }
    }
}

impl fmt::Display for Occupant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.describe(), self.cure())?;
        if self.holders.name == OURS {
            return Ok(());
        }
        f.write_str(
            "; or keep it and chain the two: attach = \"none\" or `next` (docs/chaining.md)",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, change: impl FnOnce(&mut ProgramHolders)) -> String {
        let mut holders = ProgramHolders {
            name: name.into(),
            ..ProgramHolders::default()
        };
        change(&mut holders);
        let occupant = Occupant {
            interface: "eth0".into(),
            id: 12,
            native: true,
            holders,
        };
        occupant.to_string()
    }

    #[test]
    fn advises_to_detach_only_what_nobody_holds() {
        assert_eq!(
            line("drop_all", |_| {}),
            "eth0 runs XDP program drop_all (id 12): nothing holds it any more; take it off with `ip link set eth0 xdp off`; or \
             keep it and chain the two: attach = \"none\" or `next` (docs/chaining.md)"
        );
        let cases = [
            line("xdp_dispatcher", |_| {}),
            line("cil_xdp_entry", |_| {}),
            line("balancer_ingress", |holders| holders.links = vec![4]),
            line("drop_all", |holders| holders.links = vec![4]),
            line("drop_all", |holders| {
                holders.pins = vec!["/sys/fs/bpf/x".into()];
            }),
            line("drop_all", |holders| {
                holders.processes = vec![(7, "guard".into())];
            }),
            line("", |_| {}),
        ];
        for line in cases {
            assert!(!line.contains("take it off"), "{line}");
        }
    }

    #[test]
    fn names_program_link_pin_and_process() {
        assert_eq!(
            line("guard", |holders| {
                holders.links = vec![4];
                holders.pins = vec!["/sys/fs/bpf/guard".into()];
                holders.processes = vec![(7, "guardd".into())];
            }),
            "eth0 runs XDP program guard (id 12), link 4, pinned as /sys/fs/bpf/guard, held by process 7 (guardd): stop \
             process 7 (guardd), which holds it; or keep it and chain the two: attach = \"none\" or `next` (docs/chaining.md)"
        );
        assert_eq!(
            line("guard", |holders| {
                holders.links = vec![4];
                holders.pins = vec!["/sys/fs/bpf/guard".into()];
            }),
            "eth0 runs XDP program guard (id 12), link 4, pinned as /sys/fs/bpf/guard: ask whose it is; removing the pinned \
             link detaches it: `rm /sys/fs/bpf/guard`; or keep it and chain the two: attach = \"none\" or `next` \
             (docs/chaining.md)"
        );
        assert_eq!(
            line("xdp_dispatcher", |_| {}),
            "eth0 runs XDP program xdp_dispatcher (id 12): it is the dispatcher of libxdp: do not detach it; remove it by the \
             means of its owner, or steer another interface; or keep it and chain the two: attach = \"none\" or `next` \
             (docs/chaining.md)"
        );
    }
}
