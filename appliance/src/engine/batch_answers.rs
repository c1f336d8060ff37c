//! SYNs → SYN-ACKs, a batch at a time: all are read, then all cookies are made, then all are written.
//!
//! The bytes are those that [`single_answer::answer_in_place`] makes from one SYN after the other; SYNs that are
//! unusual are left to it.

use synward_core::cookie::Key;
use synward_core::layout::Profile;
use synward_core::wire::{ethernet, ipv4, ipv6, tcp};

use super::cookie_message::{ports_and_sequence, read_word, sum_words, write_word};
use super::single_answer;
use super::template::{ANSWER, Area, FIXED, Kind, LONGEST, Template};
use crate::siphash_simd::{HashBackend, Messages};

/// SYNs of one batch at most.
pub const BATCH: usize = 64;

/// Answers the SYNs of one batch after the other.
#[derive(Debug)]
pub struct BatchAnswers {
    backend: HashBackend,
    epoch: u64,
    /// The epoch as it stands in our ISN.
    epoch_bits: u32,
    v4: Messages<3>,
    v6: Messages<6>,
    /// By a hash of the options, and behind them one for each SYN of the batch that found its place in use.
    templates: Box<[Template; 2 * BATCH]>,
    /// The batch that used a template last, and the current one.
    used: [u32; 2 * BATCH],
    batch: u32,
}

/// Where a SYN is in its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Bytes of the frame.
    pub length: usize,
    /// Offset of the IP header.
    pub l3: u8,
    /// Offset of the TCP header.
    pub l4: u8,
}

/// What becomes of a SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queued {
    /// It is answered when the cookies are made.
    Waiting(Ticket),
    /// It was answered at once, in so many bytes.
    Answered(u32),
    /// It is no sound segment.
    Refused,
}

/// What was understood of a SYN that waits, in one word, which passes through a register: lane, template and
/// the offset of the IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u32);

/// Set in the ticket of an IPv6 SYN.
const V6: u32 = 1 << 24;

impl BatchAnswers {
    /// No SYNs yet.
    pub fn new(backend: HashBackend) -> Self {
        Self {
            backend,
            epoch: 0,
            epoch_bits: 0,
            v4: Messages::default(),
            v6: Messages::default(),
            templates: Box::new([Template::none(); 2 * BATCH]),
            used: [0; 2 * BATCH],
            batch: 1,
        }
    }

    /// Begins a batch, whose cookies are of `epoch`.
    #[inline]
    pub fn begin(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.epoch_bits = (epoch as u32) << 30;
        self.batch = self.batch.wrapping_add(1);
        self.v4.clear();
        self.v6.clear();
    }

    /// Takes a SYN at the start of `room`, which reaches beyond it: an answer can be longer. `key` is its
    /// service's for the epoch. What comes after the 64th of a batch is answered at once.
    #[inline]
    pub fn push(&mut self, room: &mut [u8], at: Place, key: &Key, profile: &Profile) -> Queued {
        match self.push_common(room, at, key, profile) {
            Some(ticket) => Queued::Waiting(ticket),
            None => self.answer_single(room, at.length, at.l3, at.l4, key, profile),
        }
    }

    /// Where the SYN is comes in registers: the common path shall not write it to memory for this one.
    #[cold]
    #[inline(never)]
    fn answer_single(
        &self,
        room: &mut [u8],
        length: usize,
        l3: u8,
        l4: u8,
        key: &Key,
        profile: &Profile,
    ) -> Queued {
        let (l3, l4) = (l3.into(), l4.into());
        let length = single_answer::answer_in_place(room, length, l3, l4, key, self.epoch, profile);
        length.map_or(Queued::Refused, |length| Queued::Answered(length as u32))
    }

    #[inline(always)]
    fn push_common(
        &mut self,
        room: &[u8],
        at: Place,
        key: &Key,
        profile: &Profile,
    ) -> Option<Ticket> {
        let l3 = usize::from(at.l3);
        let packet = room.get(l3..)?;
        let (start, rest) = packet.split_first_chunk::<{ ipv4::LENGTH }>()?;
        let (first, ip_length) = (start[0] >> 4, at.l4.wrapping_sub(at.l3));
        if first == 4 && usize::from(ip_length) == ipv4::LENGTH {
            let segment: &[u8; SEGMENT] = rest.first_chunk()?;
            let total = usize::from(u16::from_be_bytes([start[2], start[3]]));
            let kind = Kind::new(profile, true, [segment[12], segment[13]]);
            if !is_sound(kind, ipv4::LENGTH, total, l3, at.length) {
                return None;
            }
            let (template, tail) = self.template(kind, segment, profile)?;
            let message = [read_word(start, 12), ports_and_sequence(segment), tail];
            let lane = self.v4.push(key, &message)?;
            return Some(Ticket(lane as u32 | template << 8 | u32::from(at.l3) << 16));
        }
        if first == 6 && usize::from(ip_length) == ipv6::LENGTH {
            let (ip, rest) = packet.split_first_chunk::<{ ipv6::LENGTH }>()?;
            let segment: &[u8; SEGMENT] = rest.first_chunk()?;
            let total = ipv6::LENGTH + usize::from(u16::from_be_bytes([ip[4], ip[5]]));
            let kind = Kind::new(profile, false, [segment[12], segment[13]]);
            let [a, b, c, d] = [8, 16, 24, 32].map(|at| read_word(ip, at));
            // ::/64 holds the mapped IPv4 addresses, which mean another message.
            if !is_sound(kind, ipv6::LENGTH, total, l3, at.length) | (a == 0) | (c == 0) {
                return None;
            }
            let (template, tail) = self.template(kind, segment, profile)?;
            let lane = self
                .v6
                .push(key, &[a, b, c, d, ports_and_sequence(segment), tail])?;
            return Some(Ticket(
                lane as u32 | template << 8 | u32::from(at.l3) << 16 | V6,
            ));
        }
        None
    }

    /// Finds the template for a segment, or makes one: its place, and the message's tail.
    #[inline(always)]
    fn template(
        &mut self,
        kind: Kind,
        segment: &[u8; SEGMENT],
        profile: &Profile,
    ) -> Option<(u32, u64)> {
        let area = area(segment);
        let last = raw(segment, kind.header() - 4)?;
        let mut place = kind.place(area[0] as u32, last) % BATCH;
        if !self.templates[place].is_for(&kind, &area) {
            place = self.new_template(place, segment, profile, kind) % (2 * BATCH);
        }
        self.used[place] = self.batch;
        Some((place as u32, self.templates[place].tail))
    }

    /// Makes a template, at a place of its own if another SYN of this batch needs the one that is there.
    #[cold]
    #[inline(never)]
    fn new_template(
        &mut self,
        place: usize,
        segment: &[u8; SEGMENT],
        profile: &Profile,
        kind: Kind,
    ) -> usize {
        let place = if self.used[place % BATCH] == self.batch {
            BATCH + (self.v4.count() + self.v6.count()) % BATCH
        } else {
            place % BATCH
        };
        self.templates[place] = Template::new(kind, &area(segment), profile);
        place
    }

    /// Makes the cookies of all SYNs that wait.
    #[inline]
    pub fn make_cookies(&mut self) {
        self.backend.hash_all(&mut self.v4);
        self.backend.hash_all(&mut self.v6);
    }

    /// Writes the SYN-ACK over the SYN that waited, at the start of its room: the answer's length in bytes,
    /// or nothing if the room is too small.
    #[inline(always)]
    pub fn write(&self, ticket: Ticket, room: &mut [u8]) -> Option<usize> {
        let lane = (ticket.0 & 0xff) as usize;
        let template = &self.templates[(ticket.0 >> 8) as usize % (2 * BATCH)];
        let l3 = (ticket.0 >> 16 & 0xff) as usize;
        let l4 = l3 + usize::from(template.ip_length);
        // Both ends are looked at before the first byte is written.
        let segment: &[u8; SEGMENT] = room.get(l4..)?.first_chunk()?;
        let tsval = raw(segment, tcp::LENGTH + usize::from(template.tsval_at))?;
        turn_around(room.first_chunk_mut()?);
        let packet = room.get_mut(l3..)?;
        let (hash, numbers, addresses) = if ticket.0 & V6 == 0 {
            let ip: &mut [u8; ipv4::LENGTH] = packet.first_chunk_mut()?;
            let [addresses, numbers, _] = self.v4.words(lane);
            let checksum = u16::from_le_bytes(sum_words(template.ip_sum.0, [addresses]).checksum());
            write_word(ip, 0, template.ip[0]);
            // The addresses change places.
            write_word(ip, 8, template.ip[1] | u64::from(checksum) << 16);
            write_word(ip, 12, addresses.rotate_left(32));
            (self.v4.hash(lane), numbers, addresses)
        } else {
            let ip: &mut [u8; ipv6::LENGTH] = packet.first_chunk_mut()?;
            let [a, b, c, d, numbers, _] = self.v6.words(lane);
            for (at, word) in [(0, template.ip[0]), (8, c), (16, d), (24, a), (32, b)] {
                write_word(ip, at, word);
            }
            (
                self.v6.hash(lane),
                numbers,
                sum_words(0, [a, b, c, d]).0.to_le(),
            )
        };
        let segment: &mut [u8; SEGMENT] = room.get_mut(l4..)?.first_chunk_mut()?;
        self.segment(segment, template, hash, numbers, addresses, tsval);
        Some(l3 + usize::from(template.answer_length))
    }

    /// Writes TCP header and options of an answer, each byte once. `addresses` stands for both in the checksum.
    #[inline(always)]
    fn segment(
        &self,
        segment: &mut [u8; SEGMENT],
        template: &Template,
        hash: u64,
        numbers: u64,
        addresses: u64,
        tsval: u32,
    ) {
        let client_isn = (numbers >> 32) as u32;
        let layout = self.epoch_bits | template.isn_terms | hash as u32 & template.isn_mask;
        let isn = client_isn.wrapping_add(layout);
        let ports = (numbers as u32).rotate_left(16);
        let sequence = (u64::from(isn) << 32 | u64::from(client_isn.wrapping_add(1))).swap_bytes();
        let ours = ((hash >> 30) as u32).swap_bytes();
        let times = (u64::from(ours) | u64::from(tsval) << 32) & template.times_mask;

        let few = template.tcp_sum.0 + u64::from(ports.to_le());
        let checksum = sum_words(few, [addresses, sequence, times]).checksum();
        let checksum = u16::from_le_bytes(checksum);
        segment[..4].copy_from_slice(&ports.to_le_bytes());
        write_word(segment, 4, sequence);
        write_word(segment, FIXED, template.tcp[0] | u64::from(checksum) << 32);
        write_word(segment, 20, template.tcp[1]);
        write_word(segment, 28, template.tcp[2] | times);
        segment[36..ANSWER].copy_from_slice(&template.rest.to_le_bytes());
    }
}

/// TCP header and the options that a template looks at.
const SEGMENT: usize = tcp::LENGTH + LONGEST;

/// Whether a SYN's TCP header is one, lies inside its packet of `total` bytes and has not too many options,
/// and the packet lies inside its frame.
#[inline(always)]
fn is_sound(kind: Kind, ip: usize, total: usize, l3: usize, length: usize) -> bool {
    let header = kind.header();
    let options = header.wrapping_sub(tcp::LENGTH);
    (options <= LONGEST) & (ip + header <= total) & (l3 + total <= length)
}

/// Sends a frame back where it came from: its first six bytes and the next six change places.
#[inline(always)]
fn turn_around(header: &mut [u8; ethernet::LENGTH]) {
    const STATION: u64 = 0xffff_ffff_ffff;
    let (to, from) = (read_word(header, 0), read_word(header, 6));
    write_word(header, 0, from);
    write_word(header, 6, to & STATION | from & !STATION);
}

/// The options area of a segment.
#[inline(always)]
fn area(segment: &[u8; SEGMENT]) -> Area {
    [20, 28, 36].map(|at| read_word(segment, at))
}

/// Four bytes of a segment, little-endian.
#[inline(always)]
fn raw(segment: &[u8; SEGMENT], at: usize) -> Option<u32> {
    let bytes = segment.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;
    use synward_core::client_options::NO_SCALE;
    use synward_core::layout::profile_flags;

    /// Frames that are compared with those of the scalar code.
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

    /// A frame as it may come from XDP, or may not: what is at `l3` and `l4`, and the frame's length.
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
            // Mapped IPv4 addresses have no business there.
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

    /// Every variant, every frame, sound or not: the bytes that XDP would send.
    #[test]
    fn a_batch_answers_like_the_scalar_code() {
        for backend in HashBackend::available() {
            let mut random = Random(0x5eed);
            let mut answers = BatchAnswers::new(backend);
            let (mut compared, mut alone) = (0, 0);
            for round in 0..FRAMES / BATCH as u32 {
                let epoch = u64::from(round);
                // Few kinds of SYNs, or many: templates are found again, or driven out.
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
                    // The answer may be longer than the frame, and the room may end with it.
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
            // The test is of little use if nearly all frames were refused, or answered by the other code.
            assert!(compared > FRAMES as usize / 3 && alone < compared / 2);
        }
    }
}
