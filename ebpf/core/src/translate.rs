//! The translation of a spliced flow's segments between the client's and the server's sequence spaces.
//!
//! The client has a connection with our ISN K and our timestamp clock, the server one with its own ISN S and its own clock.
//! The client's ISN is the same on both sides. So:
//!
//! | | client → server | server → client |
//! |---|---|---|
//! | sequence | unchanged | + (K − S) |
//! | acknowledgement, SACK blocks | − (K − S) | unchanged |
//! | TSval | unchanged | + clock difference |
//! | TSecr | − clock difference | unchanged |
//! | window | shifted if the server has refused window scaling | shifted if the server's shift is not the one that we offered |
//!
//! Checksums are updated for each change (RFC 1624); a wrong checksum stays wrong.

use crate::layout::{Flow, owner};
use crate::wire::checksum::Sum;
use crate::wire::tcp::{self, Tcp, flags};
use crate::wire::tcp_options::{self, Bytes, Options, read32, write32};

/// The direction of a segment of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// What is added to the fields of a segment, mod 2³².
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Translation {
    /// To SEG.SEQ.
    pub sequence: u32,
    /// To SEG.ACK and the edges of SACK blocks.
    pub acknowledgement: u32,
    /// To TSval.
    pub tsval: u32,
    /// To TSecr.
    pub tsecr: u32,
    /// Left shift of SEG.WND; negative: right shift.
    pub window_shift: i8,
}

impl Translation {
    /// The translation of `flow`'s segments in one direction.
    #[inline(always)]
    pub const fn of(flow: &Flow, direction: Direction) -> Self {
        let (sequence, clock) = (flow.sequence_delta, flow.timestamp_delta);
        match direction {
            Direction::ToServer => Self {
                sequence: 0,
                acknowledgement: sequence.wrapping_neg(),
                tsval: 0,
                tsecr: clock.wrapping_neg(),
                window_shift: (flow.owner & owner::SHIFT) as i8,
            },
            Direction::ToClient => Self {
                sequence,
                acknowledgement: 0,
                tsval: clock,
                tsecr: 0,
                window_shift: flow.window_shift,
            },
        }
    }

    /// Translates the fixed header, except for the checksum. Returns the changes for [`finish_checksum`].
    #[inline(always)]
    pub fn header(&self, header: &mut [u8; tcp::LENGTH]) -> Sum {
        let mut tcp = Tcp(header);
        let mut sum = Sum(0);
        let old = tcp.sequence();
        let new = old.wrapping_add(self.sequence);
        tcp.set_sequence(new);
        sum = sum.replace_u32(old, new);
        if tcp.has(flags::ACK) {
            let old = tcp.acknowledgement();
            let new = old.wrapping_add(self.acknowledgement);
            tcp.set_acknowledgement(new);
            sum = sum.replace_u32(old, new);
        }
        // The window of a SYN is never scaled (RFC 7323 §2.2).
        if self.window_shift != 0 && !tcp.has(flags::SYN) {
            let old = tcp.window();
            let new = shift_window(old, self.window_shift);
            tcp.set_window(new);
            sum = sum.replace_u16(old, new);
        }
        sum
    }

    /// Translates options that are exactly `NOP NOP TS`, and adds the changes to `sum`. `None` if they are others; then it
    /// changes nothing.
    #[inline(always)]
    pub fn padded_timestamps(&self, options: &mut [u8; 12], sum: Sum) -> Option<Sum> {
        let (tsval, tsecr) = tcp_options::padded_timestamps(options)?;
        let (new_tsval, new_tsecr) = (
            tsval.wrapping_add(self.tsval),
            tsecr.wrapping_add(self.tsecr),
        );
        options[4..8].copy_from_slice(&new_tsval.to_be_bytes());
        options[8..12].copy_from_slice(&new_tsecr.to_be_bytes());
        Some(
            sum.replace_u32(tsval, new_tsval)
                .replace_u32(tsecr, new_tsecr),
        )
    }

    /// Translates the timestamps and SACK blocks that a walk over the options found, and adds the changes to `sum`.
    #[inline(always)]
    pub fn options(&self, options: &mut Options, mut sum: Sum) -> Sum {
        let Options { bytes, found, .. } = options;
        if let Some(at) = found.timestamps_at() {
            sum = add_at(bytes, at, self.tsval, sum);
            sum = add_at(bytes, at + 4, self.tsecr, sum);
        }
        if self.acknowledgement != 0
            && let Some((at, blocks)) = found.sack_at()
        {
            // Four blocks of two edges at most (RFC 2018 §3).
            for edge in 0..8 {
                if edge < blocks * 2 {
                    sum = add_at(bytes, at + 4 * edge, self.acknowledgement, sum);
                }
            }
        }
        sum
    }
}

/// Updates the checksum of a header by the `changes` to the segment.
#[inline(always)]
pub fn finish_checksum(header: &mut [u8; tcp::LENGTH], changes: Sum) {
    let mut tcp = Tcp(header);
    let checksum = changes.update(tcp.checksum());
    tcp.set_checksum(checksum);
}

#[inline(always)]
fn add_at(options: &mut Bytes, at: usize, delta: u32, sum: Sum) -> Sum {
    let old = read32(options, at);
    let new = old.wrapping_add(delta);
    write32(options, at, new);
    if at & 1 == 0 {
        sum.replace_u32(old, new)
    } else {
        sum.replace_u32_odd(old, new)
    }
}

/// A window in units of another shift. It saturates at 65,535, and becomes zero only if it was.
#[inline(always)]
pub const fn shift_window(window: u16, shift: i8) -> u16 {
    if shift >= 0 {
        let wide = (window as u32) << (shift as u32 & 15);
        if wide > 0xffff { 0xffff } else { wide as u16 }
    } else {
        let narrow = window >> (shift.unsigned_abs() as u32 & 15);
        if narrow == 0 && window != 0 {
            1
        } else {
            narrow
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow_time::FlowTime;
    use crate::wire::Address;
    use crate::wire::checksum::{pseudo_header, segment_is_intact};

    const FLOW: Flow = Flow {
        key: crate::flow::FlowKey {
            client: Address([0, 0, 0, 1]),
            server: Address([0, 0, 0, 2]),
            ports: 0,
        },
        sequence_delta: 0x9000_0001,
        timestamp_delta: 0xffff_0000,
        client_sequence: 0,
        server_sequence: 0,
        last_seen: FlowTime::from_word(0),
        state: 0,
        window_shift: -2,
        flags: 0,
        owner: 0,
        service: 0,
        generation: 0,
        owner_high: 0,
    };

    /// A segment with these options and a correct checksum.
    fn segment(sequence: u32, acknowledgement: u32, options: &[u8]) -> ([u8; 20], Options) {
        let repr = tcp::Repr {
            source: 80,
            destination: 4000,
            sequence,
            acknowledgement,
            flags: flags::ACK,
            window: 7,
            options: options.len() as u8,
        };
        let mut header = [0; 20];
        repr.emit(&mut header);
        let area = Options::of(options);
        let sum = pseudo_header(
            &FLOW.key.server,
            &FLOW.key.client,
            20 + options.len() as u16,
        );
        let checksum = sum.bytes(&header).bytes(options).checksum();
        Tcp(&mut header).set_checksum(checksum);
        (header, area)
    }

    fn is_intact(header: &[u8; 20], area: &Options, length: usize) -> bool {
        let mut whole = [0; 60];
        whole[..20].copy_from_slice(header);
        whole[20..20 + length].copy_from_slice(&area.bytes[..length]);
        segment_is_intact(&FLOW.key.server, &FLOW.key.client, &whole[..20 + length])
    }

    #[test]
    fn both_directions_cancel_and_checksums_stay_correct_across_wraps() {
        let mut options = [1u8; 40];
        options[2..4].copy_from_slice(&[8, 10]);
        options[13..15].copy_from_slice(&[5, 18]); // an odd offset
        for n in (0..2000u32).map(|n| n.wrapping_mul(0x0123_4567)) {
            options[15..19].copy_from_slice(&n.to_be_bytes());
            let (mut header, mut area) = segment(n, n ^ 0xffff_ffff, &options);
            let (before, before_area) = (header, area);
            let there = Translation {
                window_shift: 0,
                ..Translation::of(&FLOW, Direction::ToClient)
            };
            let back = Translation {
                sequence: 0u32.wrapping_sub(there.sequence),
                tsval: 0u32.wrapping_sub(there.tsval),
                ..Translation::default()
            };
            for translation in [there, back] {
                let sum = translation.header(&mut header);
                let sum = translation.options(&mut area, sum);
                finish_checksum(&mut header, sum);
                assert!(is_intact(&header, &area, 40));
            }
            assert_eq!((header, area.bytes), (before, before_area.bytes));

            let to_server = Translation::of(&FLOW, Direction::ToServer);
            let sum = to_server.header(&mut header);
            let sum = to_server.options(&mut area, sum);
            finish_checksum(&mut header, sum);
            assert!(is_intact(&header, &area, 40));
            assert_eq!(read32(&area.bytes, 15), n.wrapping_sub(FLOW.sequence_delta));
            assert_eq!(Tcp(&header).sequence(), n);
        }
    }

    #[test]
    fn padded_timestamps_translate_like_walked_options() {
        let options = [1, 1, 8, 10, 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 3];
        let translation = Translation::of(&FLOW, Direction::ToClient);
        let (mut header, mut area) = segment(5, 6, &options);
        let sum = translation.header(&mut header);
        let mut short = options;
        let short_sum = translation
            .padded_timestamps(&mut short, sum)
            .expect("padded timestamps");
        let long_sum = translation.options(&mut area, sum);
        assert_eq!(
            (short_sum.fold(), &short[..]),
            (long_sum.fold(), &area.bytes[..12])
        );
        finish_checksum(&mut header, short_sum);
        assert!(is_intact(&header, &area, 12));
    }

    #[test]
    fn windows_saturate_and_are_not_rounded_to_zero() {
        assert_eq!(shift_window(40000, 2), 65535);
        assert_eq!(shift_window(3, -2), 1);
        assert_eq!(shift_window(0, -2), 0);
        assert_eq!(shift_window(400, -2), 100);
        assert_eq!(shift_window(400, 2), 1600);
    }
}
