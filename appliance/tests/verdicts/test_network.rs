//! The interfaces that the program is attached to, made with iproute2 in the thread's namespace.

use std::process::Command;

use crate::frame_builder;

/// An outside and an inside interface with a neighbour each, and one that is not steered.
pub(crate) fn build() -> [u32; 3] {
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
    for (name, mac, v4, v6, neighbours) in [
        (
            "sw-out",
            frame_builder::OUT_MAC,
            "198.51.100.1/24",
            "2001:db8:c::1/64",
            Some((frame_builder::CLIENT_MAC, frame_builder::CLIENTS)),
        ),
        (
            "sw-in",
            frame_builder::IN_MAC,
            "192.0.2.1/24",
            "2001:db8:5::1/64",
            Some((frame_builder::SERVER_MAC, frame_builder::SERVERS)),
        ),
        (
            "sw-else",
            [2, 0, 0, 0, 0, 9],
            "203.0.113.1/24",
            "2001:db8:e::1/64",
            None,
        ),
    ] {
        ip(&format!(
            "link add {name} address {} type veth peer name {name}-peer",
            frame_builder::mac_text(mac)
        ));
        ip(&format!("link set {name} mtu 1500 up"));
        ip(&format!("link set {name}-peer up"));
        ip(&format!("address add {v4} dev {name}"));
        ip(&format!("address add {v6} dev {name} nodad"));
        for (mac, address) in neighbours
            .into_iter()
            .flat_map(|(mac, all)| all.map(|one| (mac, one.ip())))
        {
            ip(&format!(
                "neighbour replace {address} lladdr {} dev {name} nud permanent",
                frame_builder::mac_text(mac)
            ));
        }
    }
    ["sw-out", "sw-in", "sw-else"].map(index_of)
}

/// An interface with so many receive queues; returns its index.
pub(crate) fn add_wide(name: &str, queues: u32) -> u32 {
    let both = format!("numrxqueues {queues} numtxqueues {queues}");
    ip(&format!(
        "link add {name} {both} type veth peer name {name}-peer {both}"
    ));
    ip(&format!("link set {name} up"));
    ip(&format!("link set {name}-peer up"));
    index_of(name)
}

pub(crate) fn index_of(name: &str) -> u32 {
    let name = std::ffi::CString::new(name).unwrap();
    // SAFETY: the name is a C string that lives through the call.
    unsafe { libc::if_nametoindex(name.as_ptr()) }
}

/// iproute2 in this thread's namespace.
pub(crate) fn ip(command: &str) {
    let done = Command::new("ip")
        .args(command.split(' '))
        .output()
        .expect("ip (iproute2)");
    assert!(
        done.status.success(),
        "ip {command}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}
