//! Findings about the kernel, the process and the machine as a whole.

use std::path::Path;

use super::facts::{Facts, Read};
use super::finding::{Finding, Status};
use super::setting::{Change, Setting, quoted};
use crate::afxdp::PortOptions;
use crate::kernel;
use crate::steering::MissingBpffs;

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut found = vec![
        version(facts),
        btf(facts),
        jit(facts),
        syncookies(facts),
        bpffs(facts),
        memlock(facts),
        capabilities(facts),
        huge_pages(facts),
        clock(facts),
    ];
    let (plan, machine) = (&facts.plan, &facts.machine);
    if plan.forwards_v4 {
        found.push(forwarding("net.ipv4.ip_forward", &machine.forwarding_v4));
    }
    if plan.forwards_v6 {
        let key = "net.ipv6.conf.all.forwarding";
        found.push(forwarding(key, &machine.forwarding_v6));
    }
    found
}

fn sysctl(key: &str, to: &str) -> Change {
    Change {
        setting: Setting::Sysctl { key: key.into() },
        to: to.into(),
    }
}

fn version(facts: &Facts) -> Finding {
    const ID: &str = "kernel.version";
    const WHY: &str = "the programs use helpers of Linux 5.11; handoff = \"local\" without the kernel's own cookies needs 6.9";
    let release = match &facts.machine.release {
        Ok(release) => release,
        Err(error) => return Finding::unread(ID, "the kernel's release", error, WHY),
    };
    let (major, minor) = kernel::oldest_linux();
    match numbers(release) {
        None => Finding::new(
            ID,
            Status::Warn,
            format!("Linux {release}: the version cannot be read from that"),
            WHY,
        ),
        Some(version) if version < (u32::from(major), u32::from(minor)) => Finding::new(
            ID,
            Status::Fail,
            format!("Linux {release} is older than {major}.{minor}: install a newer kernel"),
            WHY,
        ),
        Some(_) => Finding::new(ID, Status::Ok, format!("Linux {release}"), WHY),
    }
}

/// Major and minor version.
fn numbers(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn btf(facts: &Facts) -> Finding {
    const WHY: &str = "synward finds the offsets of the kernel's structures and its functions in the type information";
    let (status, what) = match facts.machine.has_btf {
        true => (Status::Ok, "/sys/kernel/btf/vmlinux is there"),
        false => (
            Status::Fail,
            "/sys/kernel/btf/vmlinux is missing: mount /sys, or use a kernel with CONFIG_DEBUG_INFO_BTF=y",
        ),
    };
    Finding::new("kernel.btf", status, what, WHY)
}

fn jit(facts: &Facts) -> Finding {
    const ID: &str = "kernel.jit";
    const KEY: &str = "net.core.bpf_jit_enable";
    const WHY: &str = "an interpreted program is several times slower";
    match &facts.machine.jit {
        Err(error) => Finding::unread(ID, KEY, error, WHY),
        Ok(0) => Finding::new(ID, Status::Warn, format!("{KEY} is 0"), WHY).mend(sysctl(KEY, "1")),
        Ok(value) => Finding::new(ID, Status::Ok, format!("{KEY} is {value}"), WHY),
    }
}

fn syncookies(facts: &Facts) -> Finding {
    const ID: &str = "kernel.syncookies";
    const KEY: &str = "net.ipv4.tcp_syncookies";
    const WHY: &str = "with 0 the kernel resets the connections of validated clients of a local service, and has no defence of \
                       its own where synward does not challenge";
    let status = if facts.plan.local {
        Status::Fail
    } else {
        Status::Warn
    };
    match &facts.machine.syncookies {
        Err(error) => Finding::unread(ID, KEY, error, WHY),
        Ok(0) => Finding::new(ID, status, format!("{KEY} is 0"), WHY).mend(sysctl(KEY, "1")),
        Ok(value) => Finding::new(ID, Status::Ok, format!("{KEY} is {value}"), WHY),
    }
}

/// `tune` leaves it alone: writing it resets other settings of every interface, which nothing restores
/// (Documentation/networking/ip-sysctl.rst).
fn forwarding(key: &str, value: &Read<u64>) -> Finding {
    const ID: &str = "kernel.forwarding";
    const WHY: &str = "segments of spliced and forwarded services are routed as the kernel does it, which refuses to forward; \
                       for IPv6, turning it on also ends the acceptance of router advertisements";
    match value {
        Err(error) => Finding::unread(ID, key, error, WHY),
        Ok(0) => Finding::new(ID, Status::Fail, format!("{key} is 0"), WHY)
            .advise(sysctl(key, "1").to_string()),
        Ok(value) => Finding::new(ID, Status::Ok, format!("{key} is {value}"), WHY),
    }
}

fn bpffs(facts: &Facts) -> Finding {
    const ID: &str = "bpffs.mount";
    const WHY: &str =
        "links and maps are pinned in a BPF file system, so that connections outlive the process";
    let Some(pin) = &facts.plan.pin else {
        return Finding::new(ID, Status::Ok, "nothing is pinned (pin = \"\")", WHY);
    };
    let pin = pin.display();
    let Some(missing) = &facts.machine.missing_bpffs else {
        let what = format!("{pin} is on a BPF file system");
        return Finding::new(ID, Status::Ok, what, WHY);
    };
    let fail = |and: &str| {
        let what = format!("{pin} is not on a BPF file system: synward does not start{and}");
        Finding::new(ID, Status::Fail, what, WHY)
    };
    let change = |at: &Path| Change {
        setting: Setting::Mount {
            at: at.display().to_string(),
        },
        to: "bpf".into(),
    };
    match missing {
        MissingBpffs::MountAt(at) => fail("").mend(change(at)),
        MissingBpffs::CreateAndMountAt(at) => {
            let folder = quoted(&at.display().to_string());
            fail("").advise(format!("mkdir -p {folder} && {}", change(at)))
        }
        MissingBpffs::WouldHide(_) => fail(&format!("; `pin`: {missing}")),
    }
}

fn memlock(facts: &Facts) -> Finding {
    const ID: &str = "memlock";
    const IPC_LOCK: u32 = 14;
    const WHY: &str = "the kernel counts the frames of AF_XDP sockets as locked memory, unless the process has CAP_IPC_LOCK";
    let queues: u64 = facts
        .interfaces
        .iter()
        .filter_map(|interface| interface.state.as_ref())
        .map(|state| u64::from(state.queues))
        .sum();
    let needed = queues * PortOptions::default().umem_bytes();
    let (limit, capabilities) = match (&facts.machine.memlock, &facts.machine.capabilities) {
        (Ok(limit), Ok(capabilities)) => (limit, capabilities),
        (Err(error), _) | (_, Err(error)) => {
            return Finding::unread(ID, "the limit of locked memory", error, WHY);
        }
    };
    let megabytes = |bytes: u64| bytes >> 20;
    match limit {
        _ if capabilities >> IPC_LOCK & 1 != 0 => {
            Finding::new(ID, Status::Ok, "this process has CAP_IPC_LOCK", WHY)
        }
        None => Finding::new(ID, Status::Ok, "no limit", WHY),
        Some(limit) if *limit >= needed => Finding::new(
            ID,
            Status::Ok,
            format!("{} MiB; synward needs {}", megabytes(*limit), megabytes(needed)),
            WHY,
        ),
        Some(limit) => Finding::new(
            ID,
            Status::Warn,
            format!(
                "{} MiB, and the sockets need {} (systemd: LimitMEMLOCK=infinity, or the capability)",
                megabytes(*limit),
                megabytes(needed)
            ),
            WHY,
        )
        .advise("ulimit -l unlimited"),
    }
}

fn capabilities(facts: &Facts) -> Finding {
    const ID: &str = "capabilities";
    const WHY: &str = "synward loads and attaches programs and opens AF_XDP sockets; whose an XDP program is, only root can see";
    let effective = match &facts.machine.capabilities {
        Ok(effective) => *effective,
        Err(error) => return Finding::unread(ID, "the capabilities", error, WHY),
    };
    let missing = kernel::missing_capabilities(effective).join(", ");
    if missing.is_empty() {
        return Finding::new(ID, Status::Ok, "this process has those that it needs", WHY);
    }
    if facts.machine.is_root {
        let what = format!("root without {missing}: give them to the container or the unit");
        return Finding::new(ID, Status::Fail, what, WHY);
    }
    let what = format!(
        "this user lacks {missing}, so `synward run` fails here, and this report may be incomplete"
    );
    Finding::new(ID, Status::Warn, what, WHY).advise("sudo synward doctor")
}

fn huge_pages(facts: &Facts) -> Finding {
    const ID: &str = "hugepages";
    const WHY: &str = "synward uses none: the frames of a queue are 16 MiB of ordinary pages, which the kernel maps for the NIC \
        once";
    match &facts.machine.huge_pages {
        Ok((all, free)) => {
            let what = format!("{all} reserved, {free} of them free; none are needed");
            Finding::new(ID, Status::Ok, what, WHY)
        }
        Err(error) => Finding::unread(ID, "huge pages", error, WHY),
    }
}

fn clock(facts: &Facts) -> Finding {
    const ID: &str = "clock.sync";
    const WHY: &str = "machines that share a secret must agree on the time within 32 s, or they refuse each other's cookies";
    match &facts.machine.clock {
        Err(error) => Finding::unread(ID, "the state of the clock", error, WHY),
        Ok(clock) if clock.synchronized => Finding::new(
            ID,
            Status::Ok,
            format!("synchronized, within {} ms", clock.max_error.as_millis()),
            WHY,
        ),
        Ok(_) => Finding::new(ID, Status::Warn, "nothing synchronizes the clock", WHY)
            .advise("timedatectl set-ntp true"),
    }
}
