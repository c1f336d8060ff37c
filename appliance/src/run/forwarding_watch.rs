//! Whether the kernel forwards at all: `bpf_fib_lookup` asks the interface at which a packet arrives (net/core/filter.c), and the
//! kernel drops what it does not forward. A start or an administrator may change that at any time.

use std::fs;

use crate::config::{Config, Handoff, Interface};

/// What the kernel calls a family, and the key that turns its forwarding on.
const FAMILIES: [(&str, &str, &str); 2] = [
    ("IPv4", "ipv4", "net.ipv4.ip_forward"),
    ("IPv6", "ipv6", "net.ipv6.conf.all.forwarding"),
];

/// Why nothing can pass from clients to servers or back, a sentence for each family.
pub(super) fn find_faults(config: &Config) -> Vec<String> {
    faults(config, |family, interface| {
        let file = format!("/proc/sys/net/{family}/conf/{interface}/forwarding");
        // What cannot be read is not known to be off.
        fs::read_to_string(file).map_or(true, |text| text.trim() != "0")
    })
}

fn faults(config: &Config, forwards: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let is_off = |family: &str, faces: fn(&Interface) -> bool| {
        let mut names = config.interfaces.iter().filter(|one| faces(one));
        let first = names.next()?;
        let all = std::iter::once(first).chain(names);
        let mut all = all.map(|one| forwards(family, &one.name));
        all.all(|forwards| !forwards).then_some(&first.name)
    };
    let mut found = Vec::new();
    for (name, family, key) in FAMILIES {
        let has = |handoff: Handoff| {
            let mut services = config.services.iter();
            services.any(|service| {
                let mut nets = service.addresses.iter();
                service.handoff == handoff
                    && service.is_configured()
                    && nets.any(|net| net.addr().is_ipv4() == (family == "ipv4"))
            })
        };
        let splices = has(Handoff::Splice);
        let from_clients = || is_off(family, |one| one.side.faces_clients());
        // The servers behind an edge may answer past it.
        let from_servers = || is_off(family, |one| one.side.faces_servers());
        let off = (splices || has(Handoff::Forward))
            .then(from_clients)
            .flatten()
            .or_else(|| splices.then(from_servers).flatten());
        if let Some(interface) = off {
            found.push(format!(
                "the kernel forwards no {name} from {interface}, so that no connection gets through: `sysctl -w {key}=1`"
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(handoff: &str) -> Config {
        Config::of_text(&format!(
            "[[interface]]\nname = \"out0\"\nside = \"outside\"\n[[interface]]\nname = \"out1\"\nside = \"outside\"\n\
             [[interface]]\nname = \"in0\"\nside = \"inside\"\n[[service]]\nname = \"web\"\n\
             addresses = [\"192.0.2.10\"]\nports = [80]\n{handoff}\n"
        ))
    }

    #[test]
    fn a_direction_in_which_no_interface_forwards_is_a_fault() {
        let splice = config("");
        let off = |names: &'static [&str]| move |_: &str, name: &str| !names.contains(&name);
        assert_eq!(faults(&splice, off(&[])), [""; 0]);
        assert_eq!(faults(&splice, off(&["out0"])), [""; 0]);
        assert_eq!(
            faults(&splice, off(&["out0", "out1"])),
            [
                "the kernel forwards no IPv4 from out0, so that no connection gets through: `sysctl -w net.ipv4.ip_forward=1`"
            ]
        );
        assert_eq!(faults(&splice, off(&["in0"])).len(), 1);
        // Nothing is to be forwarded over IPv6.
        let no_v6 = |family: &str, _: &str| family == "ipv4";
        assert_eq!(faults(&splice, no_v6), [""; 0]);
        assert_eq!(
            faults(&config("handoff = \"local\""), |_, _| false),
            [""; 0]
        );
    }
}
