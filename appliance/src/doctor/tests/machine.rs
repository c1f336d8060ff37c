//! The machine, and what `local` services need of it.

use super::*;

#[test]
fn the_kernel_and_its_settings() {
    let old = |release: &'static str| one(|facts| facts.machine.release = Ok(release.into()));
    assert_eq!(old("5.10.0"), ("kernel.version", Status::Fail, None));
    assert_eq!(old("what").1, Status::Warn);
    let (id, status, _) = one(|facts| facts.machine.has_btf = false);
    assert_eq!((id, status), ("kernel.btf", Status::Fail));
    assert_eq!(
        one(|facts| facts.machine.jit = Ok(0)),
        (
            "kernel.jit",
            Status::Warn,
            command("sysctl -w net.core.bpf_jit_enable=1")
        )
    );
    assert_eq!(
        one(|facts| facts.machine.syncookies = Ok(0)),
        (
            "kernel.syncookies",
            Status::Fail,
            command("sysctl -w net.ipv4.tcp_syncookies=1")
        )
    );
    let spliced = one(|facts| {
        facts.plan.local = false;
        facts.machine.syncookies = Ok(0);
    });
    assert_eq!(spliced.1, Status::Warn);
}

#[test]
fn forwarding_is_demanded_by_family_and_left_to_people() {
    let found = found(|facts| {
        facts.machine.forwarding_v4 = Ok(0);
        facts.machine.forwarding_v6 = Ok(0);
        facts.plan.forwards_v6 = false;
    });
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].id, "kernel.forwarding");
    assert_eq!(found[0].command, command("sysctl -w net.ipv4.ip_forward=1"));
    assert!(!found[0].by_tune);
}

#[test]
fn the_bpf_file_system_is_mounted_where_the_pins_are() {
    let missing = |missing| one(|facts| facts.machine.missing_bpffs = Some(missing));
    let at = || "/run/bpf".into();
    let mount = "mount -t bpf bpf /run/bpf";
    assert_eq!(
        missing(MissingBpffs::MountAt(at())),
        ("bpffs.mount", Status::Fail, command(mount))
    );
    assert_eq!(
        missing(MissingBpffs::CreateAndMountAt(at())).2,
        command(&format!("mkdir -p /run/bpf && {mount}"))
    );
    assert_eq!(
        missing(MissingBpffs::WouldHide(at())),
        ("bpffs.mount", Status::Fail, None),
        "nothing is mounted over files"
    );
    let unpinned = found(|facts| facts.plan.pin = None);
    assert_eq!(unpinned, []);
}

#[test]
fn limits_of_the_process() {
    const IPC_LOCK: u64 = 1 << 14;
    let limited = |bytes| {
        found(|facts| {
            facts.machine.capabilities = Ok(!IPC_LOCK);
            facts.machine.memlock = Ok(Some(bytes));
        })
    };
    assert_eq!(limited(64 << 20), []);
    assert_eq!(limited(8 << 20)[0].id, "memlock");
    let user = found(|facts| {
        facts.machine.capabilities = Ok(0);
        facts.machine.is_root = false;
    });
    assert_eq!((user[0].id, user[0].status), ("capabilities", Status::Warn));
    let root = one(|facts| facts.machine.capabilities = Ok(IPC_LOCK));
    assert_eq!((root.0, root.1), ("capabilities", Status::Fail));
    let clock = one(|facts| {
        facts.machine.clock = Ok(ClockState {
            synchronized: false,
            max_error: Duration::ZERO,
        });
    });
    assert_eq!((clock.0, clock.1), ("clock.sync", Status::Warn));
}

#[test]
fn local_services_and_their_firewall() {
    let (id, status, _) = one(|facts| facts.local.kernel = Some("too old".into()));
    assert_eq!((id, status), ("local.kernel", Status::Fail));
    let listener = found(|facts| {
        facts.local.listeners = vec![("web".into(), "uses Multipath TCP".into())];
    });
    assert_eq!(
        (listener[0].id, listener[0].service.as_deref()),
        ("local.listener", Some("web"))
    );
    let firewall = |loose, rules: &[&str]| {
        let rules = rules.iter().map(|rule| (*rule).to_owned()).collect();
        found(|facts| {
            facts.local.conntrack_loose = Some(loose);
            facts.local.rules = Some(Ok(rules));
        })
    };
    assert_eq!(firewall(1, &["ct state invalid drop"]), []);
    assert_eq!(firewall(0, &[]), []);
    let strict = firewall(0, &["ct state invalid drop"]);
    assert_eq!(
        (strict[0].id, strict[0].status, strict[0].command.clone()),
        (
            "local.firewall",
            Status::Fail,
            command("sysctl -w net.netfilter.nf_conntrack_tcp_loose=1")
        )
    );
    assert_eq!(
        firewall(1, &["ct state new tcp flags != syn drop"]).len(),
        1
    );
}
