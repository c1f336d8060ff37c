//! `synward capture`: which frames the program puts into its ring, and when it ends that by itself.

use aya::maps::{Array, RingBuf};
use synward_core::capture::{Capture, Record, SNAP};
use synward_core::counters::Counter;

use crate::frame_builder::{ACK, Segment, hex, syns_of_both_paths};
use crate::steer::{SERVICE, Shared, Side, Steer, in_namespace};
use crate::{DROP, TX, needs_root};

/// Frames that move one of these counters, until the end of all times.
fn wanted(counters: &[Counter], limit: u64) -> Capture {
    Capture {
        limit,
        counters: counters.iter().fold(0, |all, one| all | 1 << *one as u8),
        until: u64::MAX,
        service: SERVICE,
        ..Capture::default()
    }
}

impl Steer {
    fn capture(&mut self, capture: Capture) {
        self.set("CAPTURE", 0, Shared(capture));
    }

    /// What the program has made of it.
    fn capturing(&mut self) -> Capture {
        let map = Array::<_, Shared<Capture>>::try_from(self.map("CAPTURE")).unwrap();
        map.get(&0, 0).unwrap().0
    }

    fn captured(&mut self) -> Vec<Record> {
        let mut ring = RingBuf::try_from(self.map("CAPTURED")).unwrap();
        let mut records = Vec::new();
        while let Some(bytes) = ring.next() {
            records.push(Record::parse(&bytes).unwrap());
        }
        records
    }
}

#[test]
fn a_frame_is_shown_as_it_arrived_with_what_it_counted() {
    needs_root!();
    in_namespace(|steer| {
        for syn in syns_of_both_paths() {
            let frame = syn.bytes();
            steer.run(Side::Outside, &frame);
            assert_eq!(steer.captured(), [], "nobody captures");

            steer.capture(wanted(&[Counter::AnsweredXdp], 10));
            let seen = steer.run(Side::Outside, &frame);
            assert_eq!(seen.verdict, TX);
            let records = steer.captured();
            assert_eq!(records.len(), 1);
            let record = &records[0];
            assert_ne!(hex(&seen.frame), hex(&frame), "the answer is another frame");
            assert_eq!(hex(record.frame()), hex(&frame));
            let counted = 1 << Counter::Syn as u8 | 1 << Counter::AnsweredXdp as u8;
            assert_eq!((record.counted, record.verdict), (counted, TX));
            assert_eq!(record.length as usize, frame.len());
            assert_eq!(
                (record.interface, record.queue),
                (steer.interface(Side::Outside), 0)
            );
            assert!(record.time > 0);
            steer.capture(Capture::default());
        }
    });
}

#[test]
fn only_what_is_wanted_is_shown_and_only_its_beginning() {
    needs_root!();
    in_namespace(|steer| {
        steer.capture(wanted(&[Counter::DropInvalidCookie], 10));
        for syn in syns_of_both_paths() {
            steer.run(Side::Outside, &syn.bytes());
        }
        let mut ack = Segment::from_client(0, ACK);
        ack.payload = vec![7; 1000];
        let frame = ack.bytes();
        assert_eq!(steer.run(Side::Outside, &frame).verdict, DROP);
        let records = steer.captured();
        assert_eq!(records.len(), 1, "the SYNs are not wanted");
        assert_eq!(records[0].length as usize, frame.len());
        assert_eq!(hex(records[0].frame()), hex(&frame[..SNAP]));
        steer.capture(Capture {
            service: SERVICE + 1,
            ..wanted(&[Counter::DropInvalidCookie], 10)
        });
        steer.run(Side::Outside, &frame);
        assert_eq!(steer.captured(), [], "it is of another service");
    });
}

#[test]
fn the_program_ends_a_capture_after_its_frames_or_its_time() {
    needs_root!();
    in_namespace(|steer| {
        let syn = syns_of_both_paths()[0].bytes();
        steer.capture(wanted(&[Counter::Syn], 2));
        for _ in 0..4 {
            steer.run(Side::Outside, &syn);
        }
        assert_eq!(steer.captured().len(), 2);
        let ended = steer.capturing();
        assert_eq!((ended.limit, ended.taken, ended.lost), (0, 2, 0));

        steer.capture(Capture {
            until: 1,
            ..wanted(&[Counter::Syn], 2)
        });
        steer.run(Side::Outside, &syn);
        assert_eq!(steer.captured(), [], "its time is over");
        assert_eq!(steer.capturing().limit, 0);
    });
}
