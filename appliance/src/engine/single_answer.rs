//! Answers one SYN in place: the worker's half of the responder.

use super::received::Received;
use synward_core::cookie::Key;
use synward_core::layout::Profile;
use synward_core::syn_ack::{Syn, syn_ack};
use synward_core::wire::ethernet::{self, Ethernet};

/// Overwrites the SYN at the start of `room` with its SYN-ACK. Returns the length of the SYN-ACK in bytes,
/// or `None` if the frame is not a well-formed segment. `length` is the length of the SYN. `room` extends
/// beyond it, because a SYN-ACK can be four bytes longer than a SYN without options.
pub fn answer_in_place(
    room: &mut [u8],
    length: usize,
    l3: usize,
    l4: usize,
    key: &Key,
    epoch: u64,
    profile: &Profile,
) -> Option<usize> {
    let syn = Received::read(room.get(..length)?, l3, l4)?;
    let flow = syn.sent_by_client();
    let tsval = syn.options.timestamps().map(|(tsval, _)| tsval);
    let question = Syn::new(&flow, syn.sequence, syn.flags, &syn.options.found, tsval);
    let segment = syn_ack(key, epoch, &question, profile);
    let frame = room.first_chunk_mut::<{ ethernet::LENGTH }>()?;
    Ethernet(frame).turn_around();
    Some(l3 + segment.emit(room.get_mut(l3..)?, &[])?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;
    use synward_core::cookie::AckFields;
    use synward_core::generated_segment::{HandshakeOptions, Segment};
    use synward_core::wire::Address;
    use synward_core::wire::tcp::{Repr, flags};

    #[test]
    fn the_syn_ack_carries_a_valid_cookie() {
        let (options, words) = HandshakeOptions {
            mss: 1460,
            sack: true,
            times: Some((5, 0)),
            scale: Some(7),
        }
        .words();
        let tcp = Repr {
            source: 4000,
            destination: 80,
            sequence: 99,
            acknowledgement: 0,
            flags: flags::SYN,
            window: 1000,
            options: words * 4,
        };
        let (source, destination) = (Address::v4(1), Address::v4(2));
        let mut room = [0u8; 256];
        room[12..14].copy_from_slice(&ethernet::IPV4.to_be_bytes());
        let syn = Segment {
            source,
            destination,
            tcp,
            options,
        };
        let length = 14 + syn.emit(&mut room[14..], &[]).unwrap();
        let end =
            answer_in_place(&mut room, length, 14, 34, &[3, 4], 7, &Profile::default()).unwrap();
        assert_eq!(
            end, length,
            "a Linux SYN and its SYN-ACK have the same length"
        );
        let answer = Received::read(&room[..end], 14, 34).unwrap();
        assert!(answer.is_intact() && answer.has(flags::SYN | flags::ACK));
        let (tsval, tsecr) = answer.options.timestamps().unwrap();
        assert_eq!((answer.acknowledgement, tsecr), (100, 5));
        let fields = AckFields {
            client_isn: 99,
            isn: answer.sequence,
            tsecr: Some(tsval),
        };
        assert!(fields.check(&[3, 4], &answer.sent_by_server()).is_some());
    }

    #[test]
    fn malformed_frames_are_rejected() {
        let mut room = [0xffu8; 128];
        for length in 0..128 {
            let answer =
                answer_in_place(&mut room, length, 14, 34, &[3, 4], 7, &Profile::default());
            assert_eq!(answer, None);
        }
    }
}
