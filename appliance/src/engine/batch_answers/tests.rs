//! Compares batches with the code that answers SYNs one by one.

use super::*;
use synward_core::client_options::NO_SCALE;
use synward_core::layout::profile_flags;

/// Number of frames to compare with the scalar code.
const FRAMES: u32 = if cfg!(debug_assertions) {
    200_000
} else {
    4_000_000
};
const ROOM: usize = 192;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 8) as usize % end
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

const LAYOUTS: [&[u8]; 8] = [
    &[],
    &[2, 4, 5, 0xb4],
    &[2, 4, 5, 0xb4, 1, 3, 3, 8, 1, 1, 4, 2],
    &[
        2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7,
    ],
    &[
        2, 4, 5, 0xa0, 4, 2, 8, 10, 5, 6, 7, 8, 0, 0, 0, 0, 1, 3, 3, 99,
    ],
    &[
        2, 4, 5, 0xb4, 1, 3, 3, 6, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0,
    ],
    &[
        2, 4, 5, 0xb4, 1, 3, 3, 6, 1, 1, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 4, 2, 0, 0,
    ],
    &[
        1, 1, 8, 10, 9, 9, 9, 9, 8, 8, 8, 8, 8, 10, 1, 1, 1, 1, 2, 2, 2, 2, 1, 1, 2, 4, 1, 1,
    ],
];

/// Writes a random frame, well-formed or not. Returns `l3`, `l4` and the length of the frame.
fn frame(random: &mut Random, room: &mut [u8; ROOM]) -> (u8, u8, usize) {
    for bytes in room.chunks_exact_mut(8) {
        bytes.copy_from_slice(&random.next().to_le_bytes());
    }
    let mut options = [0; 40];
    let layout = random.pick(&LAYOUTS);
    let mut length = layout.len();
    options[..length].copy_from_slice(layout);
    if random.below(8) == 0 {
        length = 4 * random.below(11);
        for byte in &mut options[..length] {
            *byte = random.pick(&[0, 1, 2, 3, 4, 5, 8, 10, 14, 18, 255]);
        }
    }
    if let Some(at) = options.len().checked_sub(random.below(400)) {
        options[at % 40] = random.next() as u8;
    }
    let l3 = random.pick(&[14, 14, 14, 18, 22]);
    let v4 = random.below(2) == 0;
    let more = random.pick(&[0, 0, 0, 0, 0, 4, 8]);
    let l4 = l3 + more + if v4 { 20 } else { 40 };
    let payload = random.pick(&[0, 0, 0, 7]);
    let segment = 20 + length + payload;
    let ip = &mut room[l3..];
    if v4 {
        ip[0] = 0x45;
        ip[2..4].copy_from_slice(&((20 + more + segment) as u16).to_be_bytes());
    } else {
        ip[0] = 0x60;
        ip[4..6].copy_from_slice(&((more + segment) as u16).to_be_bytes());
        // Mapped IPv4 addresses are invalid here.
        for address in [8, 24] {
            if random.below(50) == 0 {
                ip[address..address + 10].fill(0);
                ip[address + 10..address + 12].fill(random.pick(&[0, 0xff]));
            }
        }
    }
    let tcp = &mut room[l4..];
    tcp[12] = ((20 + length) << 2) as u8;
    tcp[13] = random.pick(&[2, 2, 2, 0xc2, 0x42, 0xff]);
    tcp[20..20 + length].copy_from_slice(&options[..length]);
    let mut end = l4 + segment;
    if random.below(20) == 0 {
        let at = random.below(end);
        room[at] = random.next() as u8;
    }
    if random.below(50) == 0 {
        end = random.below(ROOM + 1);
    }
    (l3 as u8, l4 as u8, end)
}

fn profile(random: &mut Random) -> Profile {
    Profile {
        mss: random.pick(&[1460, 1460, 536]),
        window_scale: random.pick(&[7, 7, 0, NO_SCALE]),
        flags: random.pick(&[
            profile_flags::SACK | profile_flags::TIMESTAMPS,
            profile_flags::SACK | profile_flags::TIMESTAMPS | profile_flags::ECN,
            profile_flags::SACK,
            profile_flags::TIMESTAMPS,
            0,
        ]),
        ..Profile::default()
    }
}

/// Every variant answers every frame, well-formed or not, with the bytes that XDP would send.
#[test]
fn a_batch_answers_like_the_scalar_code() {
    for backend in HashBackend::available() {
        let mut random = Random(0x5eed);
        let mut answers = BatchAnswers::new(backend);
        let (mut compared, mut alone) = (0, 0);
        for round in 0..FRAMES / BATCH as u32 {
            let epoch = u64::from(round);
            // With few kinds of SYNs templates are reused; with many they are evicted.
            let profiles = [profile(&mut random), profile(&mut random)];
            let count = random.pick(&[1, 7, 64, 64]);
            let mut rooms = [[0; ROOM]; BATCH];
            let mut expected = Vec::new();
            let mut asked = Vec::new();
            answers.begin(epoch);
            for room in &mut rooms[..count] {
                let (l3, l4, length) = frame(&mut random, room);
                let profile = random.pick(&profiles);
                let key = [random.next(), random.next()];
                // The SYN-ACK may be longer than the frame, and the room may end with the frame.
                let room = match random.below(30) {
                    0 => &mut room[..length],
                    _ => &mut room[..],
                };
                let mut other = room.to_vec();
                let (at, tcp) = (usize::from(l3), usize::from(l4));
                let scalar = single_answer::answer_in_place(
                    &mut other, length, at, tcp, &key, epoch, &profile,
                );
                expected.push(scalar.map(|end| other[..end].to_vec()));
                let room_length = room.len();
                let at = Place { length, l3, l4 };
                asked.push((answers.push(room, at, &key, &profile), room_length));
            }
            answers.make_cookies();
            for ((room, (asked, end)), expected) in rooms.iter_mut().zip(asked).zip(expected) {
                let length = match asked {
                    Queued::Waiting(ticket) => answers.write(ticket, &mut room[..end]),
                    Queued::Answered(length) => {
                        alone += 1;
                        Some(length as usize)
                    }
                    Queued::Refused => None,
                };
                compared += usize::from(length.is_some());
                let answer = length.map(|length| room[..length].to_vec());
                assert_eq!(answer, expected, "{} {room:?}", backend.name());
            }
        }
        // The test proves little if nearly all frames were rejected or answered by the scalar code.
        assert!(compared > FRAMES as usize / 3 && alone < compared / 2);
    }
}
