//! Rewrites a SYN into a SYN-ACK in place: swaps addresses and ports and keeps everything else.

/// From the Ethernet header to the end of a TCP header behind an IPv4 header without options.
const LENGTH: usize = 54;
const SYN: u8 = 0x02;
const SYN_ACK: u8 = 0x12;

/// Answers a SYN over IPv4 with the client's own sequence number as ISN; of other frames only the addresses change.
#[inline]
pub(crate) fn answer(frame: &mut [u8]) {
    let Some(frame) = frame.first_chunk_mut::<LENGTH>() else {
        return;
    };
    frame[..12].rotate_left(6);
    frame[26..34].rotate_left(4);
    frame[34..38].rotate_left(2);
    if frame[47] != SYN {
        return;
    }
    let sequence = u32::from_be_bytes([frame[38], frame[39], frame[40], frame[41]]);
    let acknowledgement = sequence.wrapping_add(1);
    frame[42..46].copy_from_slice(&acknowledgement.to_be_bytes());
    frame[47] = SYN_ACK;
    // RFC 1624: swapped words do not change the sum, so only the fields that were 0 are added.
    let checksum = u16::from_be_bytes([frame[50], frame[51]]);
    let sum = u32::from(!checksum)
        + u32::from(SYN_ACK - SYN)
        + (acknowledgement >> 16)
        + (acknowledgement & 0xffff);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    frame[50..52].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(words: &[u8]) -> u16 {
        let sum: u32 = words
            .chunks(2)
            .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
            .sum();
        let sum = (sum & 0xffff) + (sum >> 16);
        (sum & 0xffff) as u16 + (sum >> 16) as u16
    }

    /// Of the pseudo header's addresses, and everything of TCP.
    fn tcp_sum(frame: &[u8]) -> u16 {
        sum(&[&frame[26..34], &[0, 6, 0, 20], &frame[34..54]].concat())
    }

    #[test]
    fn a_syn_becomes_its_answer() {
        let mut frame: Vec<u8> = (0..54).collect();
        frame[12..15].copy_from_slice(&[8, 0, 0x45]);
        frame[38..54].copy_from_slice(&[
            0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 0, 0x50, 2, 9, 9, 0, 0, 0, 0,
        ]);
        let checksum = !tcp_sum(&frame);
        frame[50..52].copy_from_slice(&checksum.to_be_bytes());
        let before = frame.clone();

        answer(&mut frame);
        assert_eq!(frame[..6], before[6..12]);
        assert_eq!(frame[6..12], before[..6]);
        assert_eq!(frame[26..30], before[30..34]);
        assert_eq!(frame[34..38], [36, 37, 34, 35]);
        assert_eq!(frame[42..48], [0xff, 0xff, 0xff, 0xff, 0x50, SYN_ACK]);
        assert_eq!(tcp_sum(&frame), 0xffff, "the checksum is right");
    }

    #[test]
    fn what_is_too_short_stays() {
        let mut frame = [1; 53];
        answer(&mut frame);
        assert_eq!(frame, [1; 53]);
    }
}
