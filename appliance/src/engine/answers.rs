//! SYNs → SYN-ACKs, a batch at a time: all are read, then all cookies are made, then all are written.
//!
//! The bytes are those that [`answer::in_place`] makes from one SYN after the other; SYNs that are
//! unusual are left to it.

use synward_ebpf::cookie::{Cookie, Key};
use synward_ebpf::layout::Profile;
use synward_ebpf::wire::checksum::Sum;
use synward_ebpf::wire::{ipv4, ipv6, tcp};

use super::answer;
use super::recipe::{Area, Kind, LONGEST, Recipe};
use super::words::{numbers, pair, set, word};
use crate::lanes::{Lanes, Messages};

/// SYNs of one batch at most.
pub const BATCH: usize = 64;

/// Answers the SYNs of one batch after the other.
#[derive(Debug)]
pub struct Answers {
    lanes: Lanes,
    epoch: u64,
    v4: Messages<3>,
    v6: Messages<6>,
    /// By a hash of the options, and behind them one for each SYN of the batch that found its place in use.
    recipes: Box<[Recipe; 2 * BATCH]>,
    /// The batch that used a recipe last, and the current one.
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
pub enum Asked {
    /// It is answered when the cookies are made.
    Waiting(Ticket),
    /// It was answered at once, in so many bytes.
    Answered(usize),
    /// It is no sound segment.
    Refused,
}

/// What was understood of a SYN that waits: in one word, which passes through registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

impl Ticket {
    /// `tsval` is the client's, as it lies in memory.
    #[inline(always)]
    fn new(lane: u8, recipe: u8, l3: u8, tsval: u32) -> Self {
        let places = u32::from_le_bytes([lane, recipe, l3, 0]);
        Self(u64::from(places) | u64::from(tsval) << 32)
    }
}

/// Set in the lane of an IPv6 message.
const V6_LANE: u8 = 0x80;

impl Answers {
    /// No SYNs yet.
    pub fn new(lanes: Lanes) -> Self {
        Self {
            lanes,
            epoch: 0,
            v4: Messages::default(),
            v6: Messages::default(),
            recipes: Box::new([Recipe::none(); 2 * BATCH]),
            used: [0; 2 * BATCH],
            batch: 1,
        }
    }

    /// Begins a batch, whose cookies are of `epoch`.
    #[inline]
    pub fn begin(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.batch = self.batch.wrapping_add(1);
        self.v4.clear();
        self.v6.clear();
    }

    /// Takes a SYN at the start of `room`, which reaches beyond it: an answer can be longer. `key` is its
    /// service's for the epoch. What comes after the 64th of a batch is answered at once.
    #[inline]
    pub fn ask(&mut self, room: &mut [u8], at: Place, key: &Key, profile: &Profile) -> Asked {
        match self.ask_common(room, at, key, profile) {
            Some(ticket) => Asked::Waiting(ticket),
            None => self.answer_alone(room, at, key, profile),
        }
    }

    #[cold]
    #[inline(never)]
    fn answer_alone(&self, room: &mut [u8], at: Place, key: &Key, profile: &Profile) -> Asked {
        let (l3, l4) = (usize::from(at.l3), usize::from(at.l4));
        let length = answer::in_place(room, at.length, l3, l4, key, self.epoch, profile);
        length.map_or(Asked::Refused, Asked::Answered)
    }

    #[inline(always)]
    fn ask_common(
        &mut self,
        room: &[u8],
        at: Place,
        key: &Key,
        profile: &Profile,
    ) -> Option<Ticket> {
        let packet = room.get(usize::from(at.l3)..)?;
        let left = at.length.checked_sub(usize::from(at.l3))?;
        let first = packet.first()? >> 4;
        if first == 4 && usize::from(at.l4.wrapping_sub(at.l3)) == ipv4::LENGTH {
            let (ip, rest) = packet.split_first_chunk::<{ ipv4::LENGTH }>()?;
            let segment: &[u8; SEGMENT] = rest.first_chunk()?;
            let total = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
            let kind = kind(segment, ipv4::LENGTH, total, profile, true)?;
            if total > left {
                return None;
            }
            let (recipe, tail, tsval) = self.recipe(kind, segment, profile)?;
            let lane = self.v4.push(key, &[word(ip, 12), numbers(segment), tail])?;
            return Some(Ticket::new(lane as u8, recipe, at.l3, tsval));
        }
        if first == 6 && usize::from(at.l4.wrapping_sub(at.l3)) == ipv6::LENGTH {
            let (ip, rest) = packet.split_first_chunk::<{ ipv6::LENGTH }>()?;
            let segment: &[u8; SEGMENT] = rest.first_chunk()?;
            let total = ipv6::LENGTH + usize::from(u16::from_be_bytes([ip[4], ip[5]]));
            let kind = kind(segment, ipv6::LENGTH, total, profile, false)?;
            let [a, b, c, d] = [8, 16, 24, 32].map(|at| word(ip, at));
            // ::/64 holds the mapped IPv4 addresses, which mean another message.
            if total > left || a == 0 || c == 0 {
                return None;
            }
            let (recipe, tail, tsval) = self.recipe(kind, segment, profile)?;
            let lane = self.v6.push(key, &[a, b, c, d, numbers(segment), tail])?;
            return Some(Ticket::new(lane as u8 | V6_LANE, recipe, at.l3, tsval));
        }
        None
    }

    /// Finds the recipe for a segment, or makes one: its place, the message's tail and the client's TSval.
    #[inline(always)]
    fn recipe(
        &mut self,
        kind: Kind,
        segment: &[u8; SEGMENT],
        profile: &Profile,
    ) -> Option<(u8, u64, u32)> {
        let area: Area = [20, 28, 36].map(|at| word(segment, at));
        let last = raw(segment, tcp::LENGTH - 4 + kind.length())?;
        let mut place = kind.place(area[0] as u32, last) % BATCH;
        if !self.recipes[place].is_for(&kind, &area) {
            place = self.new_recipe(place, kind, &area, profile);
        }
        self.used[place] = self.batch;
        let recipe = &self.recipes[place];
        let tsval = match recipe.tsval_at {
            Some(at) => raw(segment, tcp::LENGTH + usize::from(at))?,
            None => 0,
        };
        Some((place as u8, recipe.tail, tsval))
    }

    /// Makes a recipe, at a place of its own if another SYN of this batch needs the one that is there.
    #[cold]
    #[inline(never)]
    fn new_recipe(&mut self, place: usize, kind: Kind, area: &Area, profile: &Profile) -> usize {
        let place = if self.used[place % BATCH] == self.batch {
            BATCH + (self.v4.count() + self.v6.count()) % BATCH
        } else {
            place % BATCH
        };
        self.recipes[place] = Recipe::new(kind, area, profile);
        place
    }

    /// Makes the cookies of all SYNs that wait.
    #[inline]
    pub fn make(&mut self) {
        self.lanes.hash_all(&mut self.v4);
        self.lanes.hash_all(&mut self.v6);
    }

    /// Writes the SYN-ACK over the SYN that waited, at the start of its room: the answer's length in bytes,
    /// or nothing if the room is too small.
    #[inline(always)]
    pub fn write(&self, ticket: Ticket, room: &mut [u8]) -> Option<usize> {
        let [lane, recipe, l3, ..] = ticket.0.to_le_bytes();
        let tsval = (ticket.0 >> 32) as u32;
        let recipe = &self.recipes[usize::from(recipe) % (2 * BATCH)];
        let (l3, is_v6) = (usize::from(l3), lane & V6_LANE != 0);
        let lane = usize::from(lane & !V6_LANE);
        turn_around(room.first_chunk_mut()?);
        let packet = room.get_mut(l3..)?;
        if !is_v6 {
            let packet: &mut [u8; V4] = packet.first_chunk_mut()?;
            packet.copy_from_slice(recipe.template.first_chunk::<V4>()?);
            let (ip, segment) = packet.split_first_chunk_mut::<{ ipv4::LENGTH }>()?;
            let [addresses, numbers, _] = self.v4.words(lane);
            set(ip, 12, addresses.rotate_left(32));
            let sum = pair(addresses);
            ip[10..12].copy_from_slice(&Sum(sum.0 + recipe.ip_sum.0).checksum());
            let cookie = recipe
                .terms
                .sign(self.v4.hash(lane), self.epoch, isn(numbers));
            number(
                segment.first_chunk_mut()?,
                recipe,
                cookie,
                numbers,
                tsval,
                sum,
            );
        } else {
            let packet: &mut [u8; V6] = packet.first_chunk_mut()?;
            packet.copy_from_slice(recipe.template.first_chunk::<V6>()?);
            let (ip, segment) = packet.split_first_chunk_mut::<{ ipv6::LENGTH }>()?;
            let [a, b, c, d, numbers, _] = self.v6.words(lane);
            let mut sum = Sum(0);
            for (at, word) in [(24, a), (32, b), (8, c), (16, d)] {
                set(ip, at, word);
                sum = Sum(sum.0 + pair(word).0);
            }
            let cookie = recipe
                .terms
                .sign(self.v6.hash(lane), self.epoch, isn(numbers));
            number(
                segment.first_chunk_mut()?,
                recipe,
                cookie,
                numbers,
                tsval,
                sum,
            );
        }
        Some(l3 + usize::from(recipe.answer_length))
    }
}

/// TCP header and the options that a recipe looks at.
const SEGMENT: usize = tcp::LENGTH + LONGEST;
/// TCP header and options of an answer.
const ANSWER: usize = tcp::LENGTH + 20;
/// A whole answer.
const V4: usize = ipv4::LENGTH + ANSWER;
const V6: usize = ipv6::LENGTH + ANSWER;

/// The kind of a SYN whose IP header has `ip` bytes and whose packet `total`; nothing if its TCP header
/// reaches beyond that, or has too many options.
#[inline(always)]
fn kind(
    segment: &[u8; SEGMENT],
    ip: usize,
    total: usize,
    profile: &Profile,
    v4: bool,
) -> Option<Kind> {
    let header = usize::from(segment[12] >> 4) * 4;
    let options = header.wrapping_sub(tcp::LENGTH);
    // No short-circuit: one branch.
    let sound = (options <= LONGEST) & (ip + header <= total);
    sound.then(|| Kind::new(profile, v4, segment[13], options as u8))
}

/// Puts ports, numbers and timestamps into the TCP header and options of an answer, and its checksum; `sum`
/// is that of both addresses.
#[inline(always)]
fn number(
    segment: &mut [u8; ANSWER],
    recipe: &Recipe,
    cookie: Cookie,
    numbers: u64,
    tsval: u32,
    sum: Sum,
) {
    let ports = (numbers as u32).rotate_left(16);
    let first = u64::from(ports) | u64::from(cookie.isn.swap_bytes()) << 32;
    let acknowledgement = isn(numbers).wrapping_add(1).swap_bytes();
    set(segment, 0, first);
    segment[8..12].copy_from_slice(&acknowledgement.to_le_bytes());
    let mut sum = recipe.tcp_sum.0 + sum.0 + pair(first).0 + u64::from(acknowledgement.to_le());
    if recipe.tsval_at.is_some() {
        let times = u64::from(cookie.tsval.swap_bytes()) | u64::from(tsval) << 32;
        set(segment, 28, times);
        sum += pair(times).0;
    }
    segment[16..18].copy_from_slice(&Sum(sum).checksum());
}

/// The client's ISN, from the word that holds it.
#[inline(always)]
fn isn(numbers: u64) -> u32 {
    (numbers >> 32) as u32
}

/// Sends a frame back where it came from: its first six bytes and the next six change places.
#[inline(always)]
fn turn_around(stations: &mut [u8; 12]) {
    let low = word(stations, 0);
    let high = u32::from_le_bytes([stations[8], stations[9], stations[10], stations[11]]);
    set(stations, 0, low >> 48 | u64::from(high) << 16 | low << 48);
    stations[8..].copy_from_slice(&((low >> 16) as u32).to_le_bytes());
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
    use synward_ebpf::layout::profile_flags;
    use synward_ebpf::options::NO_SCALE;

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
        for lanes in Lanes::all() {
            let mut random = Random(0x5eed);
            let mut answers = Answers::new(lanes);
            let (mut compared, mut alone) = (0, 0);
            for round in 0..FRAMES / BATCH as u32 {
                let epoch = u64::from(round);
                // Few kinds of SYNs, or many: recipes are found again, or driven out.
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
                    let scalar =
                        answer::in_place(&mut other, length, at, tcp, &key, epoch, &profile);
                    expected.push(scalar.map(|end| other[..end].to_vec()));
                    let room_length = room.len();
                    let at = Place { length, l3, l4 };
                    asked.push((answers.ask(room, at, &key, &profile), room_length));
                }
                answers.make();
                for ((room, (asked, end)), expected) in rooms.iter_mut().zip(asked).zip(expected) {
                    let length = match asked {
                        Asked::Waiting(ticket) => answers.write(ticket, &mut room[..end]),
                        Asked::Answered(length) => {
                            alone += 1;
                            Some(length)
                        }
                        Asked::Refused => None,
                    };
                    compared += usize::from(length.is_some());
                    let answer = length.map(|length| room[..length].to_vec());
                    assert_eq!(answer, expected, "{} {room:?}", lanes.name());
                }
            }
            // The test is of little use if nearly all frames were refused, or answered by the other code.
            assert!(compared > FRAMES as usize / 3 && alone < compared / 2);
        }
    }
}
