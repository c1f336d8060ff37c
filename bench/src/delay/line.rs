//! One direction of a delay line: a queue of frames, each with its due time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use serde::Serialize;

/// Greatest extra delay of a late frame.
const LATE: Duration = Duration::from_millis(2);
/// Bytes in flight in one direction: 5 Gbit/s over 100 ms.
const CAPACITY: usize = 64 << 20;
const ETHERNET_HEADER: usize = 14;

/// Impairments of a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Impairments {
    pub(super) delay: Duration,
    /// Share of frames that are lost.
    pub(super) loss: f64,
    /// Share of frames that are late.
    pub(super) reorder: f64,
    /// Bytes after the Ethernet header.
    pub(super) mtu: usize,
    pub(super) seed: u64,
}

/// Counts of frames by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Counts {
    delivered: u64,
    lost: u64,
    late: u64,
    too_long: u64,
    /// Dropped because the line was full or the interface refused them.
    refused: u64,
}

/// The queue, ordered by due time and then by arrival.
pub(super) struct Line {
    impairments: Impairments,
    random: u64,
    arrivals: u64,
    bytes: usize,
    queue: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>,
    spare: Vec<Vec<u8>>,
    counts: Counts,
}

impl Line {
    pub(super) fn new(impairments: Impairments) -> Self {
        Self {
            impairments,
            random: impairments.seed,
            arrivals: 0,
            bytes: 0,
            queue: BinaryHeap::new(),
            spare: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Queues a frame, or loses it.
    pub(super) fn push(&mut self, frame: Vec<u8>, now: Instant) {
        // Both numbers are drawn for every frame, so that one share does not change the other's choices.
        let (lost, late) = (
            self.chance(self.impairments.loss),
            self.chance(self.impairments.reorder),
        );
        let lateness = LATE.mul_f64(self.draw());
        let drop = if frame.len() > self.impairments.mtu + ETHERNET_HEADER {
            &mut self.counts.too_long
        } else if lost {
            &mut self.counts.lost
        } else if self.bytes + frame.len() > CAPACITY {
            &mut self.counts.refused
        } else {
            let mut due = now + self.impairments.delay;
            if late {
                self.counts.late += 1;
                due += lateness;
            }
            self.arrivals += 1;
            self.bytes += frame.len();
            self.queue.push(Reverse((due, self.arrivals, frame)));
            return;
        };
        *drop += 1;
        self.recycle(frame);
    }

    /// The next frame that is due.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.due()? > now {
            return None;
        }
        let Reverse((_, _, frame)) = self.queue.pop()?;
        self.bytes -= frame.len();
        self.counts.delivered += 1;
        Some(frame)
    }

    /// When the next frame is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.queue.peek().map(|Reverse((due, _, _))| *due)
    }

    /// Counts the last frame as refused by the interface instead of delivered.
    pub(super) fn refused(&mut self) {
        self.counts.delivered -= 1;
        self.counts.refused += 1;
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// An empty buffer, recycled if possible.
    pub(super) fn blank(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Returns a buffer for reuse.
    pub(super) fn recycle(&mut self, mut frame: Vec<u8>) {
        frame.clear();
        self.spare.push(frame);
    }

    fn chance(&mut self, share: f64) -> bool {
        self.draw() < share
    }

    /// A random number from 0 to 1 (without 1), by SplitMix64.
    fn draw(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAR: Impairments = Impairments {
        delay: Duration::from_millis(50),
        loss: 0.0,
        reorder: 0.0,
        mtu: 1500,
        seed: 7,
    };

    /// Sends frames one microsecond apart; returns (number, time in flight) of those that arrive, in order.
    fn travel(impairments: Impairments, frames: u32) -> (Vec<(u32, Duration)>, Counts) {
        let mut line = Line::new(impairments);
        let start = Instant::now();
        let sent = |number: u32| start + Duration::from_micros(number.into());
        for number in 0..frames {
            line.push(number.to_ne_bytes().to_vec(), sent(number));
        }
        let mut arrived = Vec::new();
        while let Some(due) = line.due() {
            assert_eq!(line.pop(due - Duration::from_nanos(1)), None);
            if let Some(&[a, b, c, d]) = line.pop(due).as_deref() {
                let number = u32::from_ne_bytes([a, b, c, d]);
                arrived.push((number, due - sent(number)));
            }
        }
        assert_eq!(line.bytes, 0);
        (arrived, line.counts())
    }

    #[test]
    fn a_clear_line_delays_everything_alike() {
        let (arrived, counts) = travel(CLEAR, 1000);
        let expected: Vec<_> = (0..1000).map(|number| (number, CLEAR.delay)).collect();
        assert_eq!(arrived, expected);
        assert_eq!(
            counts,
            Counts {
                delivered: 1000,
                ..Counts::default()
            }
        );
    }

    #[test]
    fn loss_takes_its_share_and_the_same_frames_again() {
        let impairments = Impairments { loss: 0.1, ..CLEAR };
        let (arrived, counts) = travel(impairments, 10_000);
        assert!((900..1100).contains(&counts.lost), "{counts:?}");
        assert_eq!(arrived.len() as u64 + counts.lost, 10_000);
        assert_eq!(travel(impairments, 10_000).0, arrived);
        assert_ne!(
            travel(
                Impairments {
                    seed: 8,
                    ..impairments
                },
                10_000
            )
            .0,
            arrived
        );
    }

    #[test]
    fn late_frames_are_overtaken_and_none_is_lost() {
        let (arrived, counts) = travel(
            Impairments {
                reorder: 0.01,
                ..CLEAR
            },
            10_000,
        );
        assert_eq!(arrived.len(), 10_000);
        assert!((50..200).contains(&counts.late), "{counts:?}");
        assert!(!arrived.is_sorted());
        assert!(
            arrived
                .iter()
                .all(|(_, time)| (CLEAR.delay..CLEAR.delay + LATE).contains(time))
        );
    }

    #[test]
    fn a_frame_longer_than_the_mtu_vanishes() {
        let mut line = Line::new(CLEAR);
        line.push(vec![0; 1514], Instant::now());
        line.push(vec![0; 1515], Instant::now());
        assert_eq!((line.queue.len(), line.counts.too_long), (1, 1));
    }

    #[test]
    fn a_full_line_refuses() {
        let mut line = Line::new(Impairments {
            mtu: 65535,
            ..CLEAR
        });
        for _ in 0..CAPACITY / 65536 + 5 {
            line.push(vec![0; 65536 - 100], Instant::now());
        }
        assert!(line.bytes <= CAPACITY && line.counts.refused > 0);
    }
}
