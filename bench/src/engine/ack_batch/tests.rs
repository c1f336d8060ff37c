use super::*;
use synward::engine::single_answer;
use synward_core::generated_segment::{HandshakeOptions, Segment, padded_timestamps};
use synward_core::layout::Profile;
use synward_core::wire::Address;
use synward_core::wire::tcp::{Repr, flags};

const KEYS: Keys = [[1, 2], [3, 4], [5, 6], [7, 8]];

fn put(room: &mut [u8; 128], v4: bool, tcp: Repr, options: [u32; 5]) -> usize {
    let address = |last| match v4 {
        true => Address::v4(last),
        false => Address([9, last, 9, last]),
    };
    let segment = Segment {
        source: address(u32::from(tcp.source)),
        destination: address(7),
        tcp,
        options,
    };
    14 + segment.emit(&mut room[14..], &[]).unwrap()
}

/// Writes the ACK for a SYN-ACK of `epoch`.
fn ack(room: &mut [u8; 128], v4: bool, times: bool, source: u16, epoch: u64) -> usize {
    let (options, words) = HandshakeOptions {
        mss: 1460,
        sack: true,
        times: times.then_some((5, 0)),
        scale: Some(8),
    }
    .words();
    let mut tcp = Repr {
        source,
        destination: 443,
        sequence: u32::from(source) * 70_000,
        acknowledgement: 0,
        flags: flags::SYN,
        window: 1000,
        options: words * 4,
    };
    let length = put(room, v4, tcp, options);
    let l4 = if v4 { 34 } else { 54 };
    let key = &KEYS[(epoch - 98) as usize];
    let profile = Profile::default();
    let end = single_answer::answer_in_place(room, length, 14, l4, key, epoch, &profile).unwrap();
    let answer = Received::read(&room[..end], 14, l4).unwrap();
    let tsval = answer.options.timestamps().map(|(tsval, _)| tsval);
    tcp.sequence = tcp.sequence.wrapping_add(1);
    tcp.acknowledgement = answer.sequence.wrapping_add(1);
    tcp.flags = flags::ACK;
    let (options, words) = match tsval {
        Some(tsval) => padded_timestamps(6, tsval),
        None => ([0; 5], 0),
    };
    tcp.options = words * 4;
    put(room, v4, tcp, options)
}

/// Every variant verifies valid, expired and damaged ACKs like the scalar code.
#[test]
fn a_batch_is_verified_like_the_scalar_code() {
    let rounds = if cfg!(debug_assertions) { 300 } else { 20_000 };
    for backend in HashBackend::available() {
        let mut batch = AckBatch::new(backend);
        let mut seen = [0; 4];
        for round in 0..rounds {
            batch.begin(100);
            let mut expected = Vec::new();
            for number in 0..BATCH {
                let mut room = [0u8; 128];
                let at = round * BATCH + number;
                let epoch = 98 + at as u64 / 3 % 4;
                let v4 = at & 1 == 0;
                let length = ack(&mut room, v4, at & 2 == 0, at as u16, epoch);
                if at.is_multiple_of(5) {
                    room[14 + at / 5 % (length - 14)] ^= 1 << (at % 8);
                }
                let l4 = if v4 { 34 } else { 54 };
                let alone = check_single(&room[..length], 14, l4, 100, &KEYS);
                let ticket = batch.push(&room[..length], 14, l4 as u8, &KEYS);
                assert_eq!(ticket.is_some(), alone.is_some());
                seen[match alone {
                    Some(AckCheck::Valid(_)) => 0,
                    Some(AckCheck::Expired) => 1,
                    Some(AckCheck::Invalid) => 2,
                    None => 3,
                }] += 1;
                expected.extend(ticket.zip(alone));
            }
            batch.hash_all();
            for (ticket, alone) in expected {
                assert_eq!(batch.check(ticket), alone, "{}", backend.name());
            }
        }
        assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
    }
}
