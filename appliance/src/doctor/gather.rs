//! Gathers the facts about this machine. Changes nothing. What root alone may read is missing without root, and the facts
//! say so.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::facts::{Facts, Local, Machine, Plan, Read, Unread};
use super::file_facts::{number, text};
use super::gather_interface;
use crate::config::{Config, Cores, Handoff, Responder};
use crate::{kernel, local_checks, steering};

/// Where appliances without a configuration at hand are taken to be pinned.
const DEFAULT_PIN: &str = "/sys/fs/bpf/synward";

/// Gathers everything, for a configuration or for every interface of this machine.
pub(super) fn gather(config: Option<&Config>) -> Facts {
    let plan = plan(config);
    let (interfaces, links_error) = match kernel::links() {
        Ok(links) => (
            gather_interface::gather(config, &links, plan.pin.as_deref()),
            None,
        ),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    let local = config.filter(|_| plan.local);
    Facts {
        machine: machine(&plan),
        local: local.map(gather_local).unwrap_or_default(),
        plan,
        interfaces,
        links_error,
    }
}

fn plan(config: Option<&Config>) -> Plan {
    let Some(config) = config else {
        return Plan {
            configured: false,
            local: false,
            forwards_v4: false,
            forwards_v6: false,
            cores: Cores::Auto,
            responder: Responder::Auto,
            pin: Some(DEFAULT_PIN.into()),
        };
    };
    let forwards = |v4: bool| {
        let mut services = config.services.iter();
        services.any(|service| {
            let mut addresses = service.addresses.iter();
            service.handoff != Handoff::Local
                && addresses.any(|address| address.addr().is_ipv4() == v4)
        })
    };
    Plan {
        configured: true,
        local: config
            .services
            .iter()
            .any(|service| service.handoff == Handoff::Local),
        forwards_v4: forwards(true),
        forwards_v6: forwards(false),
        cores: config.appliance.cores.clone(),
        responder: config.appliance.responder,
        pin: config.appliance.pin.clone(),
    }
}

fn machine(plan: &Plan) -> Machine {
    Machine {
        cpus: std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u32),
        nodes: nodes(),
        release: text("/proc/sys/kernel/osrelease"),
        has_btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
        jit: number("/proc/sys/net/core/bpf_jit_enable"),
        syncookies: number("/proc/sys/net/ipv4/tcp_syncookies"),
        forwarding_v4: number("/proc/sys/net/ipv4/ip_forward"),
        forwarding_v6: number("/proc/sys/net/ipv6/conf/all/forwarding"),
        missing_bpffs: plan.pin.as_deref().and_then(steering::missing_bpffs),
        memlock: Ok(rustix::process::getrlimit(rustix::process::Resource::Memlock).current),
        capabilities: kernel::effective_capabilities().map_err(Unread::from),
        is_root: rustix::process::geteuid().is_root(),
        huge_pages: huge_pages(),
        clock: kernel::clock_state().map_err(Unread::from),
    }
}

fn nodes() -> usize {
    let entries = fs::read_dir("/sys/devices/system/node").into_iter();
    let names = entries.flatten().flatten().map(|entry| entry.file_name());
    names
        .filter(|name| {
            let digits = name.to_str().and_then(|name| name.strip_prefix("node"));
            digits.is_some_and(|digits| digits.parse::<u32>().is_ok())
        })
        .count()
        .max(1)
}

fn huge_pages() -> Read<(u64, u64)> {
    let text = text("/proc/meminfo")?;
    let value = |name: &str| {
        let mut lines = text.lines();
        let line = lines.find_map(|line| line.strip_prefix(name))?;
        line.trim().parse().ok()
    };
    match (value("HugePages_Total:"), value("HugePages_Free:")) {
        (Some(all), Some(free)) => Ok((all, free)),
        _ => Err(Unread::Absent),
    }
}

fn gather_local(config: &Config) -> Local {
    let service_at = |line: usize| {
        let mut services = config.services.iter();
        services
            .find(|service| service.line == line)
            .map(|service| service.name.clone())
            .unwrap_or_default()
    };
    let listeners = local_checks::listener_notes(config).into_iter();
    Local {
        kernel: local_checks::check_kernel(config)
            .err()
            .map(|error| error.to_string()),
        listeners: listeners
            .map(|(line, what)| (service_at(line), what))
            .collect(),
        conntrack_loose: number("/proc/sys/net/netfilter/nf_conntrack_tcp_loose").ok(),
        rules: Some(firewall_rules()),
    }
}

/// The rules of nftables that concern segments without a connection.
fn firewall_rules() -> Read<Vec<String>> {
    let output = Command::new("nft")
        .args(["list", "ruleset"])
        .output()
        .map_err(|error| Unread::Failed(format!("nft: {error}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().next().unwrap_or_default();
        return Err(Unread::Failed(format!("nft: {said}")));
    }
    Ok(suspicious_rules(&String::from_utf8_lossy(&output.stdout)))
}

/// The rules of a ruleset that drop what belongs to no connection, or what begins one without a SYN.
fn suspicious_rules(ruleset: &str) -> Vec<String> {
    let drops = |rule: &str| rule.contains("drop") || rule.contains("reject");
    let rules = ruleset.lines().map(str::trim);
    rules
        .filter(|rule| rule.contains("ct state") && drops(rule))
        .filter(|rule| rule.contains("invalid") || rule.contains("new"))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_ask_for_a_known_connection_are_found() {
        let ruleset = "table inet filter {\n\tchain input {\n\t\tct state established,related accept\n\
                       \t\tct state invalid counter packets 0 bytes 0 drop\n\
                       \t\ttcp flags & (fin | syn | rst | ack) != syn ct state new drop\n\t\ttcp dport 25 drop\n\t}\n}\n";
        let found = suspicious_rules(ruleset);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("ct state invalid"));
    }

    #[test]
    fn this_machine_can_be_looked_at() {
        let facts = gather(None);
        assert!(facts.links_error.is_none());
        assert!(facts.machine.release.is_ok() && facts.machine.cpus > 0);
        assert!(facts.machine.nodes > 0);
    }
}
