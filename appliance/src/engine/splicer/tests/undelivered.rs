//! ICMP errors about the SYN to a server.

use etherparse::{Icmpv4Type, Icmpv6Type, PacketBuilder, icmpv4, icmpv6};

use super::*;

/// Of each family: "port unreachable", which stays, and "host unreachable", which may pass.
const HARD: (u8, u8) = (3, 4);
const SOFT: (u8, u8) = (1, 3);

/// An error of this code (IPv4, IPv6) about the SYN with this sequence number, and the offset of its ICMP header.
fn unreachable((v4, v6): (u8, u8), lab: &Lab, sequence: u32) -> (Vec<u8>, u8) {
    let about = TestSegment {
        sequence,
        acknowledgement: 0,
        flags: flags::SYN,
        ..ack()
    };
    let (quoted, l4) = lab.packet(true, &about);
    let quoted = &quoted[..usize::from(l4) + 8];
    let mut packet = Vec::new();
    if lab.key.client.is_v4() {
        let code = icmpv4::DestUnreachableHeader::from_values(v4, 0).unwrap();
        let kind = Icmpv4Type::DestinationUnreachable(code);
        let builder = PacketBuilder::ipv4([203, 0, 113, 1], [192, 0, 2, 1], 64).icmpv4(kind);
        builder.write(&mut packet, quoted).unwrap();
    } else {
        let code = icmpv6::DestUnreachableCode::from_u8(v6).unwrap();
        let kind = Icmpv6Type::DestinationUnreachable(code);
        let router = "2001:db8:ffff::1".parse::<std::net::Ipv6Addr>().unwrap();
        let client = "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap();
        let builder = PacketBuilder::ipv6(router.octets(), client.octets(), 64).icmpv6(kind);
        builder.write(&mut packet, quoted).unwrap();
    }
    (packet, l4)
}

fn report(lab: &mut Lab, (packet, l4): &(Vec<u8>, u8)) {
    let entry = lab.entry().unwrap();
    lab.splicer
        .undelivered(lab.now, entry, packet, *l4, &mut lab.wire);
}

#[test]
fn a_hard_error_ends_the_opening_at_once() {
    for reset_when_down in [true, false] {
        let policy = Policy {
            reset_when_down,
            ..POLICY
        };
        both_with(policy, |mut lab| {
            lab.open(&data(0, b"hello"));
            lab.only();
            let error = unreachable(HARD, &lab, C);
            let (mut damaged, l4) = error.clone();
            *damaged.last_mut().unwrap() ^= 1;
            let (mut cut, _) = error.clone();
            cut.pop();
            for other in [unreachable(HARD, &lab, C + 1), (damaged, l4), (cut, l4)] {
                report(&mut lab, &other);
                assert_eq!((lab.sent().len(), lab.flow().state), (0, state::OPENING));
            }
            report(&mut lab, &error);
            let sent: Vec<_> = lab.sent().iter().map(Sent::numbers).collect();
            let expected: &[_] = if reset_when_down {
                &[RST_TO_CLIENT]
            } else {
                &[]
            };
            assert_eq!(sent, expected);
            assert_eq!((lab.entry(), lab.counted(Outcome::Unreachable)), (None, 1));
            lab.assert_idle();
        });
    }
}

#[test]
fn a_soft_error_ends_the_opening_if_two_syns_had_one() {
    both(|mut lab| {
        lab.open(&ack());
        lab.only();
        let error = unreachable(SOFT, &lab, C);
        for _ in 0..3 {
            report(&mut lab, &error);
            assert_eq!(lab.sent().len(), 0, "all about the first SYN");
        }
        lab.wait(260);
        assert_eq!(lab.only().numbers(), SYN, "it is retransmitted");
        report(&mut lab, &error);
        assert_eq!(lab.only().numbers(), RST_TO_CLIENT);
        assert_eq!((lab.entry(), lab.counted(Outcome::Unreachable)), (None, 1));
        lab.assert_idle();
    });
}

#[test]
fn a_server_that_answers_after_a_soft_error_is_connected() {
    both(|mut lab| {
        lab.open(&ack());
        lab.only();
        let error = unreachable(SOFT, &lab, C);
        report(&mut lab, &error);
        lab.server(&syn_ack());
        assert_eq!(lab.only().numbers(), THIRD_ACK);
        assert_eq!(lab.flow().state, state::ESTABLISHED);
        lab.assert_idle();
    });
}

#[test]
fn an_error_goes_to_the_owner_of_the_opening() {
    both(|mut lab| {
        lab.open(&ack());
        lab.only();
        let stats: Arc<[ServiceStats]> = Arc::new([ServiceStats::default()]);
        let mut other_worker = Splicer::new(0, lab.shared.clone(), stats);
        let entry = lab.entry().unwrap();
        let (packet, l4) = unreachable(HARD, &lab, C);
        other_worker.undelivered(lab.now, entry, &packet, l4, &mut lab.wire);
        let message = lab.shared.mailboxes[1].take().unwrap();
        assert_eq!(
            (message.content, &message.packet[..]),
            (Content::Error, &packet[..])
        );
    });
}

#[test]
fn an_error_after_the_servers_answer_ends_nothing() {
    both(|mut lab| {
        lab.open(&ack());
        lab.server(&syn_ack());
        lab.sent();
        let error = unreachable(HARD, &lab, C);
        report(&mut lab, &error);
        assert_eq!(lab.flow().state, state::ESTABLISHED);
        lab.assert_idle();
    });
}
