//! SYNs that are left to the kernel of a service of this machine (`kernel_handshake`): how much of the listener's SYN queue they
//! fill. Frames arrive on the wire here, so that the kernel keeps state for those that pass.
//!
//! A listener whose queue is full answers with cookies of the kernel, and the program does not take the ACKs that carry them.

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use synward_core::counters::Counter;

use crate::frame_builder::{SYN, Segment, stack};
use crate::local_services::{close, listener, locally};
use crate::needs_root;
use crate::steer::{Side, Steer};
use crate::test_network::index_of;

/// Of the listener (listen(2)): the kernel has as many half-open connections at most.
const BACKLOG: usize = 32;
/// SYNs at a time: fewer than a jiffy leaves to the kernel of any kind.
const BATCH: u16 = 4;
const BATCHES: u16 = 40;

/// A packet socket at the other end of the outside interface.
fn wire() -> OwnedFd {
    // SAFETY: socket takes numbers.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0) };
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the descriptor is new and ours.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: 0,
        sll_ifindex: index_of("sw-out-peer") as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the address is live and of the size given.
    let bound = unsafe {
        libc::bind(
            fd,
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as u32,
        )
    };
    assert_eq!(bound, 0, "{}", std::io::Error::last_os_error());
    socket
}

fn send(wire: &OwnedFd, frame: &[u8]) {
    // SAFETY: the frame is live and as long as said.
    let sent = unsafe { libc::send(wire.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
    assert_eq!(sent, frame.len() as isize);
}

/// Half-open connections of this namespace.
fn half_open(family: usize) -> usize {
    let path = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"][family];
    let text = std::fs::read_to_string(path).unwrap();
    let is_half_open = |line: &&str| line.split_whitespace().nth(3) == Some("03");
    text.lines().filter(is_half_open).count()
}

/// Sends many such SYNs, from ports of their own.
fn flood(steer: &Steer, syn: &Segment) {
    let wire = wire();
    let counted = |steer: &Steer| steer.counters()[Counter::Syn as usize];
    let (before, mut sent) = (counted(steer), 0);
    for batch in 0..BATCHES {
        for number in 0..BATCH {
            let mut one = syn.clone();
            one.source.set_port(10_000 + batch * BATCH + number);
            send(&wire, &one.bytes());
            sent += 1;
        }
        let patience = Instant::now() + Duration::from_secs(20);
        while counted(steer) < before + sent {
            assert!(Instant::now() < patience, "the frames do not arrive");
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(11));
    }
}

/// Sends SYNs that are left to the kernel until it holds one: it takes the kernel a moment until a new interface's routes work.
fn wait_for_routes(family: usize) {
    let listening = listener(family, |_| {});
    listening.listen(BACKLOG as i32).unwrap();
    let (wire, mut syn) = (wire(), small(family));
    let patience = Instant::now() + Duration::from_secs(20);
    for port in 2_000.. {
        syn.source.set_port(port);
        send(&wire, &syn.bytes());
        std::thread::sleep(Duration::from_millis(10));
        if half_open(family) > 0 {
            break;
        }
        assert!(Instant::now() < patience, "the kernel answers no SYN");
    }
    close(listening);
}

fn small(family: usize) -> Segment {
    let mut options = stack::linux();
    options[2..4].copy_from_slice(&64u16.to_be_bytes());
    Segment::syn(family, options)
}

/// TCP-AO, which a kernel without it ignores.
fn signed(family: usize) -> Segment {
    let options = [&[2, 4, 5, 180, 29, 16, 1, 1][..], &[7; 12]].concat();
    Segment::syn(family, options)
}

#[test]
fn half_of_the_queue_is_left_to_others() {
    needs_root!();
    locally(|steer, family| {
        wait_for_routes(family);
        // A kernel with TCP-AO drops what is signed with a key that the listener has not.
        let kinds = [
            ("small MSS", small(family), BACKLOG / 4),
            ("signed", signed(family), 0),
        ];
        for (what, syn, least) in kinds {
            for tags in [vec![], vec![(0x8100, 7)]] {
                let listening = listener(family, |_| {});
                listening.listen(BACKLOG as i32).unwrap();
                // Tagged frames have no device here: they show what the program decides.
                let syn = Segment {
                    tags,
                    ..syn.clone()
                };
                flood(
                    steer,
                    &Segment {
                        tags: vec![],
                        ..syn.clone()
                    },
                );
                // TCP gets a batch after XDP has judged all of it.
                let held = half_open(family);
                assert!(
                    held <= BACKLOG / 2 + usize::from(BATCH),
                    "{what}: {held} half-open connections"
                );
                assert!(held >= least, "{what}: {held} half-open connections");
                let before = steer.counters();
                let seen = steer.run(Side::Outside, &syn.bytes());
                let passed = Counter::Passed as usize;
                let after = steer.counters()[passed];
                assert_eq!(after, before[passed], "{what}: {seen:?}");
                close(listening);
            }
        }
    });
}

/// As long as there is room the kernel answers, so that these clients have their MSS.
#[test]
fn with_room_the_kernel_answers() {
    needs_root!();
    locally(|steer, family| {
        wait_for_routes(family);
        let listening = listener(family, |_| {});
        listening.listen(BACKLOG as i32).unwrap();
        let wire = wire();
        let syn = small(family);
        assert_eq!(syn.flags, SYN);
        send(&wire, &syn.bytes());
        let patience = Instant::now() + Duration::from_secs(20);
        while half_open(family) == 0 {
            assert!(Instant::now() < patience, "the kernel has got no SYN");
            std::thread::sleep(Duration::from_millis(1));
        }
        let before = steer.counters();
        steer.run(Side::Outside, &syn.bytes());
        let counted = &[Counter::Syn, Counter::Passed];
        steer.assert_counted(&before, counted, "room");
    });
}
