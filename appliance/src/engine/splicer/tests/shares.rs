//! Room for openings and their data when a server is silent.

use super::*;

/// Has `clients` clients, of a prefix each, open a connection to a port. Each sends these segments.
fn crowd(lab: &mut Lab, clients: u32, port: u16, segments: &[TestSegment<'_>]) {
    let own = lab.key;
    for n in 0..clients {
        let client = if own.client.is_v4() {
            format!("10.{}.{}.1", n >> 8, n & 255)
        } else {
            format!("2001:db8:{:x}::1", n + 0x100)
        };
        lab.key = FlowKey::new(lab_address(&client), 40000, own.server, port);
        for segment in segments {
            lab.open(segment);
        }
    }
    lab.key = own;
}

#[test]
fn a_silent_server_leaves_room_for_the_clients_of_another() {
    both(|mut lab| {
        lab.shared.table = Arc::new(FlowTable::in_memory(20_000).unwrap());
        lab.splicer = Splicer::new(1, lab.shared.clone(), Arc::clone(&lab.stats));
        crowd(&mut lab, OPENINGS as u32 + 1000, 443, &[ack()]);
        assert_eq!(lab.counted(Outcome::OpeningsFull), 1000);
        assert_eq!(lab.stats[0].openings.load(Relaxed), OPENINGS as u64);
        // Their SYNs are not sent all at once.
        assert!(lab.wire.sent.len() < 100, "{}", lab.wire.sent.len());
        lab.wire.sent.clear();

        lab.open(&ack());
        assert_eq!(lab.counted(Outcome::Displaced), 1);
        let sent = std::mem::take(&mut lab.wire.sent);
        let numbers: Vec<_> = sent.iter().map(Sent::numbers).collect();
        // The server has seen no SYN of the one that is displaced.
        assert_eq!(numbers, [RST_TO_CLIENT, SYN]);
        assert_eq!(sent[0].segment.tcp.source, 443);
        assert_eq!(sent[1].segment.tcp.destination, 80);
        lab.server(&syn_ack());
        assert_eq!(lab.only().numbers(), THIRD_ACK);
        assert_eq!(lab.stats[0].openings.load(Relaxed), OPENINGS as u64 - 1);
        // Another segment with the same cookie displaces nobody.
        lab.open(&ack());
        assert_eq!(lab.counted(Outcome::Displaced), 1);
    });
}

#[test]
fn a_burst_waits_in_the_openings_for_a_second_at_most() {
    both(|mut lab| {
        lab.shared.table = Arc::new(FlowTable::in_memory(20_000).unwrap());
        lab.splicer = Splicer::new(1, lab.shared.clone(), Arc::clone(&lab.stats));
        let own = lab.key;
        for port in 0..500 {
            lab.key = FlowKey::new(own.client, 30_000 + port, own.server, 80);
            lab.open(&ack());
        }
        let first = lab.sent_by_port();
        assert!(
            first
                .iter()
                .copied()
                .eq(30_000..30_000 + first.len() as u16)
        );
        assert!(first.len() < 100);
        // An answer lets others go.
        lab.key = FlowKey::new(own.client, 30_000, own.server, 80);
        lab.server(&syn_ack());
        let next = 30_000 + first.len() as u16;
        assert!(lab.sent_by_port()[..2] == [30_000, next]);
        // One whose client gives up is not sent.
        lab.key = FlowKey::new(own.client, 30_499, own.server, 80);
        lab.client(&TestSegment {
            flags: flags::RST,
            ..data(0, b"")
        });
        assert!(lab.sent_by_port().is_empty());
        lab.wait(1100);
        let mut all = lab.sent_by_port();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.last(), Some(&30_498));
    });
}

#[test]
fn data_for_a_silent_server_leaves_room_for_that_for_another() {
    both(|mut lab| {
        lab.shared.table = Arc::new(FlowTable::in_memory(20_000).unwrap());
        lab.splicer = Splicer::new(1, lab.shared.clone(), Arc::clone(&lab.stats));
        let pieces: Vec<_> = (0..32).map(|n| data(n, b"x")).collect();
        crowd(&mut lab, 300, 443, &pieces);
        let held = lab.stats[0].held_bytes.load(Relaxed);
        assert_eq!(held, u64::from(PENDING_SEGMENTS));
        lab.wire.sent.clear();

        // Those clients shared the room among themselves.
        let before = lab.counted(Outcome::HoldDisplaced);
        lab.open(&data(0, b"hello"));
        assert_eq!(lab.counted(Outcome::HoldDisplaced), before + 1);
        assert_eq!(lab.stats[0].held_bytes.load(Relaxed), held - 1 + 5);
        lab.only();
        lab.server(&syn_ack());
        assert_eq!(lab.only().payload, b"hello");
    });
}

#[test]
fn a_source_and_a_server_have_their_limits() {
    let policy = Policy {
        shares: ShareLimits {
            per_source: 1,
            per_server: 3,
        },
        ..POLICY
    };
    both_with(policy, |mut lab| {
        lab.open(&ack());
        let own = lab.key;
        lab.key = FlowKey::new(own.client, 40001, own.server, 80);
        lab.open(&ack());
        assert_eq!(lab.counted(Outcome::SourceLimit), 1);
        assert_eq!(lab.entry(), None);
        lab.key = own;
        crowd(&mut lab, 4, 80, &[ack()]);
        assert_eq!(lab.counted(Outcome::ServerLimit), 2);
        assert_eq!(lab.stats[0].openings.load(Relaxed), 3);
    });
}
