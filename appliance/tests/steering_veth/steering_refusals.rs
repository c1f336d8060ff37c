//! Refusals: one line that names the cure, and nothing is changed.

use std::path::Path;
use std::process::Command;

use synward::steering::{nothing_is_pinned, unload, unload_incompatible};
use synward_core::layout::SCHEMA;

use super::steering_lab::{HERE, Lab, inside, ip_in, load, until};

/// The line with which a configuration is refused.
fn refused(lab: &Lab, edits: &[(&str, &str)]) -> String {
    let line = lab.steer(edits).unwrap_err().to_string();
    assert!(!line.contains('\n'), "{line}");
    lab.assert_clean(None);
    line
}

#[test]
fn refuses_missing_and_unsuitable_interfaces() {
    let lab = Lab::new();
    lab.ip(&["link", "add", "sw-br", "type", "bridge"]);
    lab.ip(&[
        "link", "add", "sw-port", "type", "veth", "peer", "name", "sw-end",
    ]);
    lab.ip(&["link", "set", "sw-port", "master", "sw-br"]);
    for (name, line) in [
        (
            "sw-none",
            "no interface sw-none here: `ip link` lists those that exist; correct the name in [[interface]]",
        ),
        (
            "lo",
            "lo is the loopback interface: name the interface at which packets arrive from other machines",
        ),
        (
            "sw-br",
            "sw-br is a bridge, which XDP cannot send from: name its ports instead (sw-port)",
        ),
    ] {
        assert_eq!(refused(&lab, &[(HERE, name)]), line);
    }
    let net = format!("--net=/run/netns/{}", lab.here());
    let macvlan = [
        &net, "ip", "link", "add", "sw-mac", "link", HERE, "type", "macvlan",
    ];
    let added = Command::new("nsenter").args(macvlan).status().unwrap();
    // Not every kernel has macvlan.
    if added.success() {
        assert_eq!(
            refused(&lab, &[(HERE, "sw-mac")]),
            "sw-mac is a macvlan device on top of sw-here, which XDP cannot send from: name sw-here instead"
        );
    }
}

#[test]
fn refuses_missing_queues() {
    let lab = Lab::new();
    assert_eq!(
        refused(
            &lab,
            &[("side = \"both\"", "side = \"both\"\nqueues = [1, 2]")]
        ),
        "sw-here has 2 receive queues, so there is no queue 2: correct `queues`, or make more with `ethtool -L sw-here \
         rx 3`"
    );
}

#[test]
fn steers_jumbo_frames_natively() {
    let lab = Lab::new();
    lab.ip(&["link", "set", HERE, "mtu", "9000"]);
    ip_in(&lab.there(), &["link", "set", "sw-there", "mtu", "9000"]);
    assert_eq!(
        refused(&lab, &[("xdp = \"auto\"", "zero_copy = \"on\"")]),
        "sw-here: a packet of its MTU (9000) exceeds a frame of a zero-copy socket, which takes up to 3818: `ip link set \
         sw-here mtu 3818`, or set zero_copy = \"auto\""
    );
    let steering = lab.steer(&[("\"auto\"", "\"native\"")]).unwrap();
    assert_eq!(lab.xdp(HERE).map(|(_, native)| native), Some(true));
    steering.stop(false).unwrap();
}

/// The program is for frames in one buffer then, and the peer's MTU counts.
#[test]
fn refuses_native_xdp_for_a_large_mtu_of_the_peer() {
    let lab = Lab::new();
    ip_in(&lab.there(), &["link", "set", "sw-there", "mtu", "9000"]);
    let cause = "sw-here refuses native XDP: its peer's MTU is too big for one page a frame, which is at most 3506; `ip link \
                 set sw-here mtu 1500` on both ends, or give this end the peer's MTU; or set";
    assert_eq!(
        refused(&lab, &[("\"auto\"", "\"native\"")]),
        format!("{cause} xdp = \"auto\" or \"generic\"")
    );
    assert_eq!(
        refused(&lab, &[("xdp = \"auto\"", "zero_copy = \"on\"")]),
        format!("{cause} zero_copy = \"auto\", which takes what the driver can")
    );
    let steering = lab.steer(&[]).unwrap();
    assert_eq!(lab.xdp(HERE).map(|(_, native)| native), Some(false));
    steering.stop(false).unwrap();
}

/// The driver is named, not the kind of the device.
#[test]
fn names_a_driver_without_xdp() {
    let lab = Lab::new();
    let net = format!("--net=/run/netns/{}", lab.here());
    let dummy = [&net, "ip", "link", "add", "sw-dummy", "type", "dummy"];
    let added = Command::new("nsenter").args(dummy).status().unwrap();
    // Not every kernel has dummy devices.
    if added.success() {
        assert_eq!(
            refused(&lab, &[(HERE, "sw-dummy"), ("\"auto\"", "\"native\"")]),
            "sw-dummy refuses native XDP: its driver (dummy) has no XDP; or set xdp = \"auto\" or \"generic\""
        );
    }
}

/// All or nothing: the first interface is detached if the second one cannot be steered.
#[test]
fn refuses_an_interface_with_another_program() {
    let lab = Lab::new();
    lab.ip(&[
        "link", "add", "sw-two", "type", "veth", "peer", "name", "sw-2nd",
    ]);
    let pin = format!("pin = {:?}", lab.pin());
    let other = lab
        .steer(&[(HERE, "sw-two"), (&pin, "pin = \"\"")])
        .unwrap();
    let before = lab.xdp("sw-two").unwrap();
    let two = format!("name = \"{HERE}\"\nside = \"outside\"\n[[interface]]\nname = \"sw-two\"");
    let here = format!("name = \"{HERE}\"");
    let line = refused(&lab, &[(&here, &two)]);
    let program = format!("sw-two runs XDP program steer (id {}), link ", before.0);
    assert!(line.starts_with(&program), "{line}");
    assert_eq!(lab.xdp("sw-two"), Some(before), "the other program stays");

    // The other program is attached after the check.
    other.stop(false).unwrap();
    let mut late = lab.load(&[(&here, &two)]).unwrap();
    let other = {
        // The other one uses another pin folder.
        let elsewhere = format!("pin = {:?}", lab.pin().with_file_name("elsewhere"));
        lab.steer(&[(HERE, "sw-two"), (&pin, &elsewhere)]).unwrap()
    };
    let line = inside(&lab.here(), || late.attach())
        .unwrap_err()
        .to_string();
    assert!(line.starts_with("sw-two runs XDP program "), "{line}");
    drop(late);
    lab.assert_clean(None);
    other.stop(false).unwrap();
}

#[test]
fn refuses_pin_folders_outside_bpffs_and_locked_ones() {
    let lab = Lab::new();
    let pin = format!("pin = {:?}", lab.pin());
    assert_eq!(
        refused(&lab, &[(&pin, "pin = \"/tmp/synward-nowhere\"")]),
        "/tmp/synward-nowhere is not on a BPF file system: name a directory below /sys/fs/bpf (a mount on /tmp would hide what is \
         there), or set pin = \"\" to pin nothing"
    );
    assert!(!Path::new("/tmp/synward-nowhere").exists());
    let nothing = nothing_is_pinned(Path::new("/tmp/synward-nowhere"), None);
    assert!(
        nothing
            .ends_with("it is not on a BPF file system; pins of another mount are not seen here"),
        "{nothing}"
    );

    let first = lab.steer(&[]).unwrap();
    let before = lab.xdp(HERE);
    let held = format!(
        "synward (process {}) steers with {}",
        std::process::id(),
        lab.pin().display()
    );
    let line = lab.steer(&[]).unwrap_err().to_string();
    assert!(line.starts_with(&format!("another {held}")), "{line}");
    let line = unload(&lab.pin(), None).unwrap_err().to_string();
    assert!(line.starts_with(&held.replace("steers", "runs")), "{line}");
    assert_eq!(lab.xdp(HERE), before);
    first.stop(false).unwrap();
    lab.assert_clean(None);
}

#[test]
fn names_missing_capabilities() {
    let lab = Lab::new();
    let path = lab.write_config(&[]);
    let line = inside(&lab.here(), || {
        drop_effective(&[39, 38, 21]);
        load(&path).unwrap_err().to_string()
    });
    assert_eq!(
        line,
        "no permission to steer, missing CAP_BPF, CAP_PERFMON: run as root, or give the process these capabilities \
         (systemd: AmbientCapabilities=, container: --cap-add)"
    );
    lab.assert_clean(None);
}

/// Drops capabilities of the calling thread.
fn drop_effective(which: &[u32]) {
    #[repr(C)]
    struct Header(u32, i32);
    let header = Header(0x2008_0522, 0);
    let mut sets = [[0u32; 3]; 2];
    // SAFETY: both pointers are to live memory with the layout that version 3 of the call reads and writes.
    let got = unsafe { libc::syscall(libc::SYS_capget, &header, &mut sets) };
    assert_eq!(got, 0);
    for capability in which {
        sets[*capability as usize / 32][0] &= !(1 << (capability % 32));
    }
    // SAFETY: as above.
    let set = unsafe { libc::syscall(libc::SYS_capset, &header, &sets) };
    assert_eq!(set, 0);
}

#[test]
fn refuses_a_table_of_another_size_or_schema() {
    let lab = Lab::new();
    let steering = lab.steer(&[]).unwrap();
    steering.stop(true).unwrap();
    let (id, _) = lab.xdp(HERE).expect("still steered");
    let files = lab.pinned();

    let line = lab.steer(&[("4096", "100000")]).unwrap_err().to_string();
    assert!(
        line.contains("holds a flow table of another size") && line.contains("`synward unload`"),
        "{line}"
    );

    assert_eq!(
        unload_incompatible(&lab.pin()).unwrap(),
        [""; 0],
        "the version is the same"
    );

    // A schema of another version: an array like ours with another number.
    let record = lab.pin().join("schema");
    std::fs::remove_file(&record).unwrap();
    let mut other = aya::maps::Array::<aya::maps::MapData, u32>::create(1, 0).unwrap();
    other.set(0, 4711, 0).unwrap();
    other.pin(&record).unwrap();
    let line = lab.steer(&[]).unwrap_err().to_string();
    assert!(
        line.contains(&format!(
            "of another version (schema 4711, this one's is {SCHEMA})"
        )),
        "{line}"
    );
    assert_eq!(
        (lab.xdp(HERE), lab.pinned()),
        (Some((id, true)), files),
        "nothing was changed"
    );

    let removed = unload_incompatible(&lab.pin()).unwrap();
    assert_eq!(
        removed,
        [
            "the XDP program of sw-here".to_owned(),
            format!("11 maps in {}", lab.pin().display())
        ]
    );
    lab.assert_clean(Some(id));
    assert_eq!(unload(&lab.pin(), None).unwrap(), [""; 0]);
    until("nothing is pinned", || lab.pinned().is_empty());
}
