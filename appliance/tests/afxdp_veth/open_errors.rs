//! Each failure to open a port has its own message.

use std::{process::Command, time::Duration};

use synward::afxdp::{OpenError, PortOptions, ZeroCopy};

use crate::{
    needs_root,
    numbered_frames::{self, wait_until},
    round_trip::receive_one,
    veth_lab::{End, Lab},
};

#[test]
fn errors_name_the_cause_and_the_cure() {
    needs_root!();
    let lab = Lab::new();
    let options = PortOptions::default();
    let refusal = |queue, options: &PortOptions| lab.open(End::Here, queue, options).unwrap_err();

    let absent = lab
        .inside(End::Here, || {
            synward::afxdp::Port::open("sw-ring-none", 0, &options)
        })
        .unwrap_err();
    assert!(matches!(absent, OpenError::NoInterface { .. }), "{absent}");
    assert_eq!(
        absent.to_string(),
        "no interface sw-ring-none here: `ip link` lists those that exist"
    );

    let queue = refusal(2, &options);
    assert!(matches!(queue, OpenError::NoQueue { .. }), "{queue}");
    assert_eq!(
        queue.to_string(),
        "sw-ring-here has no queue 2: `ethtool -l sw-ring-here` shows its queues, `ethtool -L sw-ring-here rx 3` \
         makes enough"
    );

    let forced = refusal(
        0,
        &PortOptions {
            zero_copy: ZeroCopy::On,
            ..options.clone()
        },
    );
    assert!(
        matches!(forced, OpenError::ZeroCopyRefused { .. }),
        "{forced}"
    );
    assert!(
        forced.to_string().starts_with("veth, the driver of sw-ring-here, refuses zero-copy on queue 0 (Operation not supported \
            (os error 95)), because it has none: "),
        "{forced}"
    );

    let rings = refusal(
        0,
        &PortOptions {
            ring: 100,
            ..options.clone()
        },
    );
    assert!(rings.to_string().contains("power of two"), "{rings}");

    let held = lab.open(End::Here, 0, &options).unwrap();
    assert!(!held.zero_copy(), "veth cannot");
    let busy = refusal(0, &options);
    assert!(matches!(busy, OpenError::Busy { .. }), "{busy}");
    assert_eq!(
        busy.to_string(),
        "queue 0 of sw-ring-here is in use by another AF_XDP socket: stop the program that holds it (`ss --xdp -p` \
         shows it)"
    );
    drop(held);
    lab.open(End::Here, 0, &options)
        .expect("free again within the retries");
}

#[test]
fn missing_capabilities_are_named() {
    needs_root!();
    let lab = Lab::new();
    let refused = lab.inside(End::Here, || {
        drop_capabilities();
        synward::afxdp::Port::open(End::Here.interface(), 0, &PortOptions::default())
    });
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("CAP_NET_RAW"), "{error}");
}

/// The limit applies to a process, so the test runs itself again in one of its own.
#[test]
fn a_small_memlock_limit_is_named() {
    needs_root!();
    const LIMITED: &str = "SYNWARD_TEST_MEMLOCK_LIMITED";
    if std::env::var_os(LIMITED).is_some() {
        keep_only(1 << CAP_NET_RAW);
        let result = synward::afxdp::Port::open(End::Here.interface(), 0, &PortOptions::default());
        assert!(
            matches!(result, Err(OpenError::Memlock { bytes, .. }) if bytes == 16 << 20),
            "{result:?}"
        );
        return;
    }
    let lab = Lab::new();
    let limited = lab.inside(End::Here, || {
        Command::new("prlimit")
            .arg("--memlock=1048576")
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "open_errors::a_small_memlock_limit_is_named"])
            .env(LIMITED, "1")
            .output()
            .unwrap()
    });
    let text = String::from_utf8_lossy(&limited.stdout);
    assert!(limited.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

/// Frames that wait while the interface is down are not lost. They are sent when it is up again.
#[test]
fn a_link_that_goes_down_loses_no_frame() {
    needs_root!();
    let lab = Lab::new();
    let options = PortOptions::default();
    let (mut here, mut there, _steering) = lab.open_steered_pair(&options);

    lab.set_up(End::There, false);
    let mut frame = there.allocate().unwrap();
    numbered_frames::write(&there, &mut frame, 1);
    there.transmit(frame);
    there.flush();
    assert!(there.unsent());
    assert!(there.counters().failed_wakeups > 0);
    numbered_frames::assert_conserved(&there, options.frames);

    lab.set_up(End::There, true);
    wait_until(Duration::from_secs(60), || {
        there.flush();
        !there.unsent()
    });
    let frame = receive_one(&mut here);
    assert_eq!(numbered_frames::number(here.bytes(&frame)), 1);
    here.release(frame);
    numbered_frames::assert_all_returned(&mut here, options.frames);
    numbered_frames::assert_all_returned(&mut there, options.frames);
}

const CAP_NET_RAW: u32 = 13;

fn drop_capabilities() {
    keep_only(0);
}

/// Reduces the capabilities of this thread to the given ones of the first 32.
fn keep_only(capabilities: u32) {
    const VERSION_3: u32 = 0x2008_0522;
    let header = [VERSION_3, 0];
    let sets = [capabilities, capabilities, 0, 0, 0, 0];
    // SAFETY: both arrays have the layout of include/uapi/linux/capability.h (version 3) and
    // outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) };
    assert_eq!(result, 0);
}
