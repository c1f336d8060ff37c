//! Segments whose opening another CPU has changed or owns.

use super::*;
use crate::engine::mailbox::PER_SOURCE;

/// Parses an IP packet with etherparse, and compares the TCP checksum with the one that etherparse computes.
fn parsed(packet: &[u8]) -> (etherparse::TcpHeader, Vec<u8>) {
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    let sliced = SlicedPacket::from_ip(packet).unwrap();
    let Some(TransportSlice::Tcp(tcp)) = sliced.transport else {
        panic!("not TCP");
    };
    let header = tcp.to_header();
    let payload = tcp.payload();
    let checksum = match sliced.net.unwrap() {
        NetSlice::Ipv4(ip) => {
            assert_eq!(usize::from(ip.header().total_len()), packet.len());
            let ip = ip.header();
            header.calc_checksum_ipv4_raw(ip.source(), ip.destination(), payload)
        }
        NetSlice::Ipv6(ip) => {
            let ip = ip.header();
            assert_eq!(40 + usize::from(ip.payload_length()), packet.len());
            header.calc_checksum_ipv6_raw(ip.source(), ip.destination(), payload)
        }
        NetSlice::Arp(_) => panic!("not IP"),
    };
    assert_eq!(header.checksum, checksum.unwrap());
    (header, payload.to_vec())
}

#[test]
fn a_late_segment_of_an_established_flow_is_translated() {
    use etherparse::TcpOptionElement::{SelectiveAcknowledgement, Timestamp};
    let timestamps = |header: &etherparse::TcpHeader| {
        header.options_iterator().find_map(|option| match option {
            Ok(Timestamp(tsval, tsecr)) => Some((tsval, tsecr)),
            _ => None,
        })
    };
    both(|mut lab| {
        lab.open(&ack());
        lab.server(&scaled_syn_ack(9));
        lab.sent();

        // From the client, with a SACK block at an odd offset, in a padded frame.
        let mut options = [8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 5, 10, 0, 0, 0, 0, 0, 0, 0, 0];
        let numbers = [CLIENT_CLOCK + 5, OUR_CLOCK + 7, K + 0x1000, K + 0x1100];
        for (at, number) in [2, 6, 12, 16].into_iter().zip(numbers) {
            options[at..at + 4].copy_from_slice(&number.to_be_bytes());
        }
        let (words, _) = options.as_chunks();
        let with_sack = TestSegment {
            options: (std::array::from_fn(|at| u32::from_ne_bytes(words[at])), 5),
            ..data(0, b"hi")
        };
        let (mut packet, l4) = lab.packet(true, &with_sack);
        packet.extend([0xee; 6]);
        lab.receive(&packet, l4);
        let (header, payload) = parsed(&lab.wire.by_kernel.pop().unwrap());
        assert_eq!(payload, b"hi");
        assert_eq!(
            (header.sequence_number, header.acknowledgment_number),
            (C + 1, S + 1)
        );
        assert_eq!(header.window_size, WINDOW);
        assert_eq!(
            timestamps(&header),
            Some((CLIENT_CLOCK + 5, SERVER_CLOCK.wrapping_add(7)))
        );
        let block = (S.wrapping_add(0x1000), S.wrapping_add(0x1100));
        let sack = SelectiveAcknowledgement(block, [None; 3]);
        assert!(
            header
                .options_iterator()
                .any(|option| option == Ok(sack.clone()))
        );

        // From the server.
        lab.server(&TestSegment {
            sequence: S + 1,
            flags: flags::ACK | flags::PSH,
            options: padded_timestamps(SERVER_CLOCK + 2, CLIENT_CLOCK),
            payload: b"welcome",
            ..syn_ack()
        });
        let (header, payload) = parsed(&lab.wire.by_kernel.pop().unwrap());
        assert_eq!(payload, b"welcome");
        assert_eq!(
            (header.sequence_number, header.acknowledgment_number),
            (K + 1, C + 1)
        );
        assert_eq!(header.window_size, WINDOW << 2);
        assert_eq!(timestamps(&header), Some((OUR_CLOCK + 2, CLIENT_CLOCK)));
        lab.assert_idle();
    });
}

#[test]
fn a_segment_for_another_workers_opening_goes_to_its_mailbox() {
    both(|mut lab| {
        lab.open(&ack());
        lab.only();
        let other = Arc::new([ServiceStats::default()]);
        let mut other_worker = Splicer::new(
            0,
            lab.shared.clone(),
            Arc::clone(&other) as Arc<[ServiceStats]>,
        );
        let entry = lab.entry().unwrap();
        let (packet, l4) = lab.packet(false, &syn_ack());
        other_worker.segment(lab.now, entry, &packet, l4, None, &mut lab.wire);
        // A second segment with the cookie arrives on the other worker's queue.
        let (more, _) = lab.packet(true, &data(0, b"hello"));
        other_worker.open(
            lab.now,
            &more,
            l4,
            &lab.valid_ack,
            Link::KERNEL,
            &mut lab.wire,
        );
        assert!(!other_worker.is_waiting() && lab.sent().is_empty());

        let mailbox = &lab.shared.mailboxes[1];
        let messages = [mailbox.take().unwrap(), mailbox.take().unwrap()];
        assert_eq!(
            (messages[0].entry, &messages[0].packet[..]),
            (entry, &packet[..])
        );
        assert_eq!(
            (messages[1].entry, &messages[1].packet[..]),
            (entry, &more[..])
        );
        for message in messages.iter().rev() {
            lab.splicer.segment(
                lab.now,
                message.entry,
                &message.packet,
                message.l4,
                None,
                &mut lab.wire,
            );
        }
        assert_eq!(lab.only().payload, b"hello");
        lab.assert_idle();

        // A mailbox that no worker empties.
        lab.shared.table.remove_entry(entry);
        lab.valid_ack.epoch += 4;
        lab.open(&ack());
        lab.only();
        let entry = lab.entry().unwrap();
        for _ in 0..=crate::engine::mailbox::MAX_MESSAGES {
            other_worker.segment(lab.now, entry, &packet, l4, None, &mut lab.wire);
        }
        assert_eq!(other[0].count_of(Outcome::MessageLost), 1);
    });
}

#[test]
fn one_clients_segments_leave_room_in_another_workers_mailbox() {
    both(|mut lab| {
        lab.open(&ack());
        lab.only();
        let other = Arc::new([ServiceStats::default()]);
        let stats = Arc::clone(&other) as Arc<[ServiceStats]>;
        let mut other_worker = Splicer::new(0, lab.shared.clone(), stats);
        let entry = lab.entry().unwrap();
        let (flood, l4) = lab.packet(true, &data(0, b"again and again"));
        let (answer, _) = lab.packet(false, &syn_ack());
        for packet in std::iter::repeat_n(&flood, 1000).chain([&answer]) {
            other_worker.segment(lab.now, entry, packet, l4, None, &mut lab.wire);
        }
        let lost = 1000 - PER_SOURCE as u64;
        assert_eq!(other[0].count_of(Outcome::MessageLost), lost);
        let messages: Vec<_> = std::iter::from_fn(|| lab.shared.mailboxes[1].take()).collect();
        assert_eq!(messages.len(), PER_SOURCE + 1);
        assert_eq!(&messages[PER_SOURCE].packet[..], &answer[..]);
        // The places are free again.
        other_worker.segment(lab.now, entry, &flood, l4, None, &mut lab.wire);
        assert_eq!(other[0].count_of(Outcome::MessageLost), lost);
    });
}
