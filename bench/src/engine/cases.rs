//! The cases: one batch of each kind of work.

use std::hint::black_box;

use synward::engine::batch_answers::{BatchAnswers, Place, Queued};
use synward::engine::single_answer;
use synward::siphash_simd::HashBackend;
use synward_core::cookie::Key;
use synward_core::layout::{Flow, Profile};
use synward_core::translate::{self, Direction, Translation};
use synward_core::wire::tcp;

use super::ack_batch::{AckBatch, AckCheck, Keys, check_single};
use super::frame_batch::{BATCH, Client, Frames, L3, l4};

const EPOCH: u64 = 100;
const KEYS: Keys = [[1, 2], [3, 4], [5, 6], [7, 8]];
const KEY: Key = KEYS[2];

/// Work on a batch of frames.
pub(super) struct Case {
    /// The operation, and the kind of frames.
    pub(super) name: String,
    /// The SIMD variant, or other code that does it.
    pub(super) by: &'static str,
    frames: Frames,
    work: Work,
}

enum Work {
    Nothing,
    Touch,
    Answer(Box<BatchAnswers>, usize),
    AnswerAlone,
    Verify(Box<AckBatch>, usize),
    VerifyAlone,
    Translate(Translation),
}

/// The code that answers without batches, which is that of the XDP program.
const ALONE: &str = "one by one";

impl Case {
    /// All cases that this machine can run.
    pub(super) fn all() -> Vec<Self> {
        let v4 = |clients: &[Client]| Frames::syns(true, clients);
        let syns = [
            ("IPv4, Linux", v4(&[Client::Linux])),
            ("IPv4, Windows", v4(&[Client::Windows])),
            (
                "IPv4, three systems mixed",
                v4(&[Client::Linux, Client::Windows, Client::Mac]),
            ),
            ("IPv4, no two alike", v4(&[Client::Odd])),
            ("IPv6, Linux", Frames::syns(false, &[Client::Linux])),
            ("IPv6, Windows", Frames::syns(false, &[Client::Windows])),
        ];
        let mut cases = Vec::new();
        let mut add = |name: String, by, frames: &Frames, work| {
            let frames = frames.clone();
            cases.push(Self {
                name,
                by,
                frames,
                work,
            });
        };
        add("nothing".into(), "the clock", &syns[0].1, Work::Nothing);
        for (what, frames) in [&syns[0], &syns[4]] {
            add(
                format!("{TOUCH} ({what})"),
                "the limit",
                frames,
                Work::Touch,
            );
        }
        for (what, frames) in &syns {
            let name = format!("SYN → SYN-ACK ({what})");
            for backend in HashBackend::available() {
                let work = Work::Answer(Box::new(BatchAnswers::new(backend)), BATCH);
                add(name.clone(), backend.name(), frames, work);
            }
            let work = Work::Answer(Box::new(BatchAnswers::new(HashBackend::best())), 1);
            add(name.clone(), "batches of one", frames, work);
            add(name, ALONE, frames, Work::AnswerAlone);
        }
        for (what, frames) in [&syns[0], &syns[1], &syns[4], &syns[5]] {
            let name = format!("ACK verified ({what})");
            let acks = frames.acks(|room, length| {
                answer_single(room, length, frames.v4);
            });
            for backend in HashBackend::available() {
                let work = Work::Verify(Box::new(AckBatch::new(backend)), BATCH);
                add(name.clone(), backend.name(), &acks, work);
            }
            let work = Work::Verify(Box::new(AckBatch::new(HashBackend::best())), 1);
            add(name.clone(), "batches of one", &acks, work);
            add(name, ALONE, &acks, Work::VerifyAlone);
        }
        let flow = Flow {
            sequence_delta: 0x9000_0001,
            timestamp_delta: 0xffff_0000,
            window_shift: -2,
            ..Flow::default()
        };
        for (what, v4) in [("IPv4", true), ("IPv6", false)] {
            let work = Work::Translate(Translation::of(&flow, Direction::ToClient));
            let frames = Frames::segments(v4);
            add(format!("segment translated ({what})"), ALONE, &frames, work);
        }
        cases
    }

    /// Whether this case measures the cost of reading the clock only.
    pub(super) fn is_clock(&self) -> bool {
        matches!(self.work, Work::Nothing)
    }

    /// Restores the frames.
    pub(super) fn restore(&mut self) {
        self.frames.restore();
    }

    /// Does the work on each frame once.
    pub(super) fn run(&mut self) {
        let v4 = self.frames.v4;
        match &mut self.work {
            Work::Nothing => {}
            Work::Touch => touch(&mut self.frames),
            Work::Answer(answers, BATCH) => answer_batch(answers, &mut self.frames),
            Work::Answer(answers, _) => answer_each(answers, &mut self.frames),
            Work::AnswerAlone => {
                for (length, room) in self.frames.each() {
                    black_box(answer_single(room, length, v4));
                }
            }
            Work::Verify(acks, BATCH) => verify_batch(acks, &mut self.frames),
            Work::Verify(acks, _) => verify_each(acks, &mut self.frames),
            Work::VerifyAlone => {
                for (length, room) in self.frames.each() {
                    black_box(check_single(&room[..length], L3, l4(v4), EPOCH, &KEYS));
                }
            }
            Work::Translate(translation) => translate_each(translation, &mut self.frames),
        }
    }

    /// Whether the result is right: wrong work must not be measured.
    pub(super) fn is_right(&mut self) -> bool {
        self.restore();
        let v4 = self.frames.v4;
        match &mut self.work {
            Work::Answer(..) | Work::AnswerAlone => {
                self.run();
                // A SYN-ACK to the sender.
                self.frames
                    .each()
                    .all(|(_, room)| room[l4(v4) + 13] & 0x12 == 0x12 && room[5] == 2)
            }
            Work::Verify(acks, _) => {
                acks.begin(EPOCH);
                let tickets: Vec<_> = self
                    .frames
                    .each()
                    .map(|(length, room)| acks.push(&room[..length], L3 as u8, l4(v4) as u8, &KEYS))
                    .collect();
                acks.hash_all();
                tickets.iter().all(|ticket| {
                    ticket.is_some_and(|ticket| matches!(acks.check(ticket), AckCheck::Valid(_)))
                })
            }
            _ => true,
        }
    }
}

/// The work of the lower limit.
const TOUCH: &str = "the same bytes read and written";

/// Reads and writes as many bytes as an answer does, in words of eight bytes.
#[inline(never)]
fn touch(frames: &mut Frames) {
    let v4 = frames.v4;
    for (length, room) in frames.each() {
        let words = if v4 { 10 } else { 12 };
        debug_assert!(length.div_ceil(8) == words);
        let mut sum = 0u64;
        let Some(bytes) = room.get_mut(..words * 8) else {
            continue;
        };
        for word in bytes.as_chunks::<8>().0 {
            sum ^= u64::from_ne_bytes(*word);
        }
        for word in bytes.as_chunks_mut::<8>().0 {
            *word = sum.to_ne_bytes();
        }
    }
}

#[inline(never)]
fn answer_batch(answers: &mut BatchAnswers, frames: &mut Frames) {
    let profile = Profile::default();
    let l4 = l4(frames.v4) as u8;
    answers.begin(EPOCH);
    let mut waiting = [Queued::Refused; BATCH];
    for ((length, room), waiting) in frames.each().zip(&mut waiting) {
        *waiting = ask(answers, room, length, l4, &profile);
    }
    answers.make_cookies();
    let mut bytes = 0;
    for ((_, room), waiting) in frames.each().zip(&waiting) {
        if let Queued::Waiting(ticket) = waiting {
            bytes += answers.write(*ticket, room).unwrap_or_default();
        }
    }
    black_box(bytes);
}

#[inline(never)]
fn answer_each(answers: &mut BatchAnswers, frames: &mut Frames) {
    let profile = Profile::default();
    let l4 = l4(frames.v4) as u8;
    for (length, room) in frames.each() {
        answers.begin(EPOCH);
        let asked = ask(answers, room, length, l4, &profile);
        answers.make_cookies();
        if let Queued::Waiting(ticket) = asked {
            black_box(answers.write(ticket, room));
        }
    }
}

#[inline(always)]
fn ask(
    answers: &mut BatchAnswers,
    room: &mut [u8],
    length: usize,
    l4: u8,
    profile: &Profile,
) -> Queued {
    let l3 = L3 as u8;
    answers.push(room, Place { length, l3, l4 }, &KEY, profile)
}

#[inline(never)]
fn answer_single(room: &mut [u8], length: usize, v4: bool) -> Option<usize> {
    single_answer::answer_in_place(room, length, L3, l4(v4), &KEY, EPOCH, &Profile::default())
}

#[inline(never)]
fn verify_batch(acks: &mut AckBatch, frames: &mut Frames) {
    let l4 = l4(frames.v4) as u8;
    acks.begin(EPOCH);
    let mut tickets = [None; BATCH];
    for ((length, room), ticket) in frames.each().zip(&mut tickets) {
        *ticket = acks.push(&room[..length], L3 as u8, l4, &KEYS);
    }
    acks.hash_all();
    for ticket in tickets.into_iter().flatten() {
        black_box(acks.check(ticket));
    }
}

#[inline(never)]
fn verify_each(acks: &mut AckBatch, frames: &mut Frames) {
    let l4 = l4(frames.v4) as u8;
    for (length, room) in frames.each() {
        acks.begin(EPOCH);
        let ticket = acks.push(&room[..length], L3 as u8, l4, &KEYS);
        acks.hash_all();
        if let Some(ticket) = ticket {
            black_box(acks.check(ticket));
        }
    }
}

/// As `ebpf/xdp/src/splice.rs` does: header, padded timestamps, checksum.
#[inline(never)]
fn translate_each(translation: &Translation, frames: &mut Frames) {
    let l4 = l4(frames.v4);
    for (_, room) in frames.each() {
        let Some((header, rest)) = room
            .get_mut(l4..)
            .and_then(|segment| segment.split_first_chunk_mut::<{ tcp::LENGTH }>())
        else {
            continue;
        };
        let mut sum = translation.header(header);
        if let Some(options) = rest.first_chunk_mut::<12>()
            && let Some(changed) = translation.padded_timestamps(options, sum)
        {
            sum = changed;
        }
        translate::finish_checksum(header, sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_does_its_work() {
        for mut case in Case::all() {
            assert!(case.is_right(), "{} ({})", case.name, case.by);
        }
    }
}
