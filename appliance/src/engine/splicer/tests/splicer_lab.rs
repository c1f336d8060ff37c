//! A client, a server and a wire that records what is sent.

use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;

use crossbeam::queue::ArrayQueue;
use synward_core::client_options::ClientOptions;
use synward_core::flow::FlowKey;
use synward_core::generated_segment::{
    HandshakeOptions, MAX_OPTION_WORDS, Segment, padded_timestamps,
};
use synward_core::layout::Profile;
use synward_core::wire::Address;
use synward_core::wire::tcp::Repr;
use synward_core::worker_request::Hop;

use super::super::*;
use crate::afxdp::{Polling, Waiter};
use crate::engine::mailbox::Mailbox;
use crate::maps::{FlowTable, ReplayCache};

/// The client's ISN, ours and the server's; each wraps in some test.
pub(super) const C: u32 = 0xffff_fff0;
pub(super) const K: u32 = 0x2000_0000;
pub(super) const S: u32 = 0xf000_0000;
/// The epoch, and that of the cookie with [`C`] and [`K`].
pub(super) const EPOCH: u64 = 100;
/// The timestamp clocks of client, synward and server.
pub(super) const CLIENT_CLOCK: u32 = 1000;
pub(super) const OUR_CLOCK: u32 = 0x8000_0000;
pub(super) const SERVER_CLOCK: u32 = 0xffff_ff00;
/// The window in every segment.
pub(super) const WINDOW: u16 = 501;
pub(super) const MILLISECOND: u64 = 1_000_000;

pub(super) const REQUESTED: ClientOptions = ClientOptions {
    mss: 1400,
    window_scale: Some(6),
    sack: true,
    ecn: false,
};
/// The options of the SYN that asks the server for them.
pub(super) const REQUESTED_OF_SERVER: HandshakeOptions = HandshakeOptions {
    mss: 1400,
    sack: true,
    times: Some((CLIENT_CLOCK, 0)),
    scale: Some(6),
};
pub(super) const POLICY: Policy = Policy {
    reset_when_down: true,
    true_rtt: false,
    hold_bytes: 14600,
    shares: ShareLimits {
        per_source: u32::MAX,
        per_server: u32::MAX,
    },
};

/// A segment that one side sends.
#[derive(Clone, Copy)]
pub(super) struct TestSegment<'a> {
    pub(super) sequence: u32,
    pub(super) acknowledgement: u32,
    pub(super) flags: u8,
    pub(super) options: ([u32; MAX_OPTION_WORDS], u8),
    pub(super) payload: &'a [u8],
}

/// A segment that the splicer sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) link: Link,
    pub(super) segment: Segment,
    pub(super) payload: Vec<u8>,
}

#[derive(Default)]
pub(super) struct Wire {
    pub(super) sent: Vec<Sent>,
    pub(super) by_kernel: Vec<Vec<u8>>,
}

impl Out for Wire {
    fn send(&mut self, link: &Link, segment: &Segment, payload: &[u8]) {
        self.sent.push(Sent {
            link: *link,
            segment: *segment,
            payload: payload.to_vec(),
        });
    }

    fn send_by_kernel(&mut self, packet: &[u8]) {
        self.by_kernel.push(packet.to_vec());
    }
}

/// Worker 1 of two, with service 0.
pub(super) struct Lab {
    pub(super) key: FlowKey,
    pub(super) splicer: Splicer,
    pub(super) stats: Arc<[ServiceStats]>,
    pub(super) shared: Shared,
    pub(super) valid_ack: ValidAck,
    pub(super) wire: Wire,
    pub(super) now: u64,
}

pub(super) fn both(test: impl Fn(Lab)) {
    both_with(POLICY, test);
}

pub(super) fn both_with(policy: Policy, test: impl Fn(Lab)) {
    for (client, server) in [
        ("192.0.2.1", "198.51.100.1"),
        ("2001:db8::1", "2001:db8:1::1"),
    ] {
        test(Lab::new(client, server, policy));
    }
}

pub(super) fn lab_address(text: &str) -> Address {
    Address::from(text.parse::<IpAddr>().unwrap())
}

impl Lab {
    pub(super) fn new(client: &str, server: &str, policy: Policy) -> Self {
        let mailbox = || Mailbox::new(Waiter::new(Polling::default()).unwrap().waker());
        let shared = Shared {
            table: Arc::new(FlowTable::in_memory(100).unwrap()),
            replays: Arc::new(ReplayCache::in_memory().unwrap()),
            policies: Arc::new([policy]),
            observations: Arc::new(ArrayQueue::new(4)),
            mailboxes: Arc::new([mailbox(), mailbox()]),
        };
        let stats: Arc<[ServiceStats]> = Arc::new([ServiceStats::default()]);
        Self {
            key: FlowKey::new(lab_address(client), 40000, lab_address(server), 80),
            splicer: Splicer::new(1, shared.clone(), Arc::clone(&stats)),
            stats,
            shared,
            valid_ack: ValidAck {
                service: 0,
                options: REQUESTED,
                offered: Profile::default(),
                hop: Hop {
                    interface: 2,
                    to: [2; 6],
                    from: [3; 6],
                },
                epoch: EPOCH,
            },
            wire: Wire::default(),
            now: 5_000_000_000,
        }
    }

    pub(super) fn packet(&self, from_client: bool, says: &TestSegment<'_>) -> (Vec<u8>, u8) {
        let key = &self.key;
        let (client, server) = (
            (key.client, key.client_port()),
            (key.server, key.server_port()),
        );
        let (from, to) = if from_client {
            (client, server)
        } else {
            (server, client)
        };
        let segment = Segment {
            source: from.0,
            destination: to.0,
            tcp: Repr {
                source: from.1,
                destination: to.1,
                sequence: says.sequence,
                acknowledgement: says.acknowledgement,
                flags: says.flags,
                window: WINDOW,
                options: says.options.1 * 4,
            },
            options: says.options.0,
        };
        let mut packet = vec![0; 4096];
        let length = segment.emit(&mut packet, says.payload).unwrap();
        packet.truncate(length);
        (packet, if key.client.is_v4() { 20 } else { 40 })
    }

    /// The XDP program redirects a segment with a valid cookie.
    pub(super) fn open(&mut self, says: &TestSegment<'_>) {
        let (packet, l4) = self.packet(true, says);
        self.open_with(&packet, l4);
    }

    pub(super) fn open_with(&mut self, packet: &[u8], l4: u8) {
        let path = Link::reverse(1, &[1; 14]);
        self.splicer
            .open(self.now, packet, l4, &self.valid_ack, path, &mut self.wire);
    }

    /// The XDP program redirects a segment that came right behind its ACK.
    pub(super) fn behind_ack(&mut self, says: &TestSegment<'_>) {
        let (packet, l4) = self.packet(true, says);
        let path = Link::reverse(1, &[1; 14]);
        self.splicer
            .behind_ack(self.now, &packet, l4, path, &mut self.wire);
    }

    /// The XDP program redirects a segment of an opening.
    pub(super) fn client(&mut self, says: &TestSegment<'_>) {
        let (packet, l4) = self.packet(true, says);
        self.receive(&packet, l4);
    }

    pub(super) fn server(&mut self, says: &TestSegment<'_>) {
        let (packet, l4) = self.packet(false, says);
        self.receive(&packet, l4);
    }

    pub(super) fn receive(&mut self, packet: &[u8], l4: u8) {
        let entry = self.entry().unwrap();
        let back = Some(Link::reverse(9, &[9; 14]));
        self.splicer
            .segment(self.now, entry, packet, l4, back, &mut self.wire);
    }

    /// Lets time pass, and runs the timers every 10 ms.
    pub(super) fn wait(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds / 10 {
            self.now += 10 * MILLISECOND;
            self.splicer.run_timers(self.now, &mut self.wire);
        }
    }

    /// The XDP program sees the end of the connection.
    pub(super) fn close(&self, entry: u32) {
        self.shared.table.set_state(entry, state::CLOSING);
    }

    /// Another worker's opening of the same flow.
    pub(super) fn stolen(&self) -> Flow {
        Flow {
            key: self.key,
            last_seen: FlowTime::from_ns(self.now).wrapping_add(u32::MAX / 4),
            state: state::OPENING,
            owner: 0,
            ..Flow::default()
        }
    }

    pub(super) fn entry(&self) -> Option<u32> {
        self.shared.table.find(&self.key)
    }

    pub(super) fn flow(&self) -> Flow {
        self.shared.table.read(self.entry().unwrap())
    }

    pub(super) fn counted(&self, outcome: Outcome) -> u64 {
        self.stats[0].count_of(outcome)
    }

    /// The segments sent since the last call. Checks that each went to the right side over the right link, with the
    /// right ports.
    pub(super) fn sent(&mut self) -> Vec<Sent> {
        let sent = std::mem::take(&mut self.wire.sent);
        for Sent { link, segment, .. } in &sent {
            let ends = (segment.source, segment.destination);
            let ports = (segment.tcp.source, segment.tcp.destination);
            if ends == (self.key.client, self.key.server) {
                assert_eq!((link.interface, ports), (2, (40000, 80)));
                assert_eq!(link.header()[..12], [2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3]);
            } else {
                assert_eq!(ends, (self.key.server, self.key.client));
                assert_eq!((link.interface, ports), (1, (80, 40000)));
            }
        }
        sent
    }

    /// The client's ports of the segments sent to the server since the last call.
    pub(super) fn sent_by_port(&mut self) -> Vec<u16> {
        let sent = std::mem::take(&mut self.wire.sent);
        let to_server = sent.iter().filter(|sent| sent.is_to_server());
        to_server.map(|sent| sent.segment.tcp.source).collect()
    }

    pub(super) fn only(&mut self) -> Sent {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0)
    }

    /// Asserts that no opening and no unchecked segment is left.
    pub(super) fn assert_idle(&mut self) {
        assert_eq!(self.sent().len(), 0);
        assert!(!self.splicer.is_waiting());
        assert!(self.splicer.openings.iter().all(Option::is_none));
        let mut free = self.splicer.free.clone();
        free.sort_unstable();
        assert!(
            free.into_iter().eq(0..PLACES as u32),
            "each slot is free once"
        );
        assert_eq!(self.splicer.pool.used(), 0);
        assert_eq!(self.stats[0].openings.load(Relaxed), 0);
        assert_eq!(self.stats[0].held_bytes.load(Relaxed), 0);
    }
}

impl Sent {
    pub(super) fn is_to_server(&self) -> bool {
        self.link.interface == 2
    }

    /// SEG.SEQ, SEG.ACK, flags.
    pub(super) fn numbers(&self) -> (u32, u32, u8) {
        let tcp = &self.segment.tcp;
        (tcp.sequence, tcp.acknowledgement, tcp.flags)
    }

    pub(super) fn options(&self) -> ([u32; MAX_OPTION_WORDS], u8) {
        (
            self.segment.options,
            self.segment.option_words().try_into().unwrap(),
        )
    }
}

pub(super) const NO_OPTIONS: ([u32; MAX_OPTION_WORDS], u8) = ([0; MAX_OPTION_WORDS], 0);

/// The client's segment `ahead` bytes after its SYN, when it has received nothing but our SYN-ACK.
pub(super) fn data(ahead: u32, payload: &[u8]) -> TestSegment<'_> {
    TestSegment {
        sequence: C.wrapping_add(1).wrapping_add(ahead),
        acknowledgement: K + 1,
        flags: flags::ACK,
        options: padded_timestamps(CLIENT_CLOCK, OUR_CLOCK),
        payload,
    }
}

pub(super) fn ack() -> TestSegment<'static> {
    data(0, b"")
}

pub(super) fn syn_ack() -> TestSegment<'static> {
    scaled_syn_ack(7)
}

pub(super) fn scaled_syn_ack(scale: u8) -> TestSegment<'static> {
    let options = HandshakeOptions {
        mss: 1460,
        sack: true,
        times: Some((SERVER_CLOCK, CLIENT_CLOCK)),
        scale: Some(scale),
    };
    TestSegment {
        sequence: S,
        acknowledgement: C.wrapping_add(1),
        flags: flags::SYN | flags::ACK,
        options: options.words(),
        payload: b"",
    }
}

pub(super) fn refusal() -> TestSegment<'static> {
    TestSegment {
        sequence: 0,
        flags: flags::RST | flags::ACK,
        options: NO_OPTIONS,
        ..syn_ack()
    }
}

pub(super) const SYN: (u32, u32, u8) = (C, 0, flags::SYN);
pub(super) const RST_TO_CLIENT: (u32, u32, u8) = (K + 1, C + 1, flags::RST | flags::ACK);
pub(super) const RST_TO_SERVER: (u32, u32, u8) = (C + 1, 0, flags::RST);
pub(super) const THIRD_ACK: (u32, u32, u8) = (C + 1, S + 1, flags::ACK);
