//! SYNs → SYN-ACKs, a batch at a time: all are read, then all cookies are made, then all are written.
//!
//! The bytes are those that [`answer::in_place`] makes from one SYN after the other; SYNs that are
//! unusual are left to it.

use synward_ebpf::cookie::Key;
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
    waiting: [Waiting; BATCH],
    count: usize,
    /// By a hash of the options, and one for each SYN of the batch that found its place in use.
    recipes: Box<[Recipe; 2 * BATCH]>,
    /// The batch that used a recipe last, and the current one.
    used: [u32; 2 * BATCH],
    batch: u32,
}

/// A SYN.
#[derive(Debug)]
pub struct Syn<'a> {
    /// Its frame and what lies behind it: the answer can be longer.
    pub room: &'a mut [u8],
    /// Bytes of the frame.
    pub length: usize,
    /// Where its IP header is.
    pub l3: u8,
    /// Where its TCP header is.
    pub l4: u8,
}

/// What became of a SYN that was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It is answered when the cookies are made.
    Waiting(Ticket),
    /// It was answered at once, in so many bytes.
    Answered(usize),
}

/// Where a SYN of the batch waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u8);

#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    lane: u8,
    recipe: u8,
    l3: u8,
    v4: bool,
    /// The client's TSval as it lies in memory.
    tsval: u32,
}

impl Answers {
    /// No SYNs yet.
    pub fn new(lanes: Lanes) -> Self {
        Self {
            lanes,
            epoch: 0,
            v4: Messages::default(),
            v6: Messages::default(),
            waiting: [Waiting::default(); BATCH],
            count: 0,
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
        self.count = 0;
        self.v4.clear();
        self.v6.clear();
    }

    /// Takes a SYN; `key` is its service's for the epoch. Nothing if it is no sound segment.
    #[inline]
    pub fn ask(&mut self, syn: Syn<'_>, key: &Key, profile: &Profile) -> Option<Asked> {
        let ticket = match syn.room.get(usize::from(syn.l3)).map(|first| first >> 4) {
            Some(4) if syn.l4 == syn.l3 + ipv4::LENGTH as u8 => self.ask_v4(&syn, key, profile),
            Some(6) if syn.l4 == syn.l3 + ipv6::LENGTH as u8 => self.ask_v6(&syn, key, profile),
            _ => None,
        };
        match ticket {
            Some(ticket) => Some(Asked::Waiting(ticket)),
            None => self.answer_alone(syn, key, profile),
        }
    }

    #[cold]
    #[inline(never)]
    fn answer_alone(&self, syn: Syn<'_>, key: &Key, profile: &Profile) -> Option<Asked> {
        let (l3, l4) = (usize::from(syn.l3), usize::from(syn.l4));
        answer::in_place(syn.room, syn.length, l3, l4, key, self.epoch, profile)
            .map(Asked::Answered)
    }

    #[inline(always)]
    fn ask_v4(&mut self, syn: &Syn<'_>, key: &Key, profile: &Profile) -> Option<Ticket> {
        let packet: &[u8; ipv4::LENGTH + SEGMENT] =
            syn.room.get(usize::from(syn.l3)..)?.first_chunk()?;
        let (ip, segment) = packet.split_first_chunk::<{ ipv4::LENGTH }>()?;
        let segment: &[u8; SEGMENT] = segment.first_chunk()?;
        let total = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
        let room = total.checked_sub(ipv4::LENGTH)?;
        let kind = kind(syn, segment, total, room, profile, true)?;
        let (recipe, tail, tsval) = self.recipe(kind, segment, profile)?;
        let lane = self.v4.push(key, &[word(ip, 12), numbers(segment), tail])?;
        self.wait(Waiting {
            lane: lane as u8,
            recipe,
            l3: syn.l3,
            v4: true,
            tsval,
        })
    }

    #[inline(always)]
    fn ask_v6(&mut self, syn: &Syn<'_>, key: &Key, profile: &Profile) -> Option<Ticket> {
        let packet: &[u8; ipv6::LENGTH + SEGMENT] =
            syn.room.get(usize::from(syn.l3)..)?.first_chunk()?;
        let (ip, segment) = packet.split_first_chunk::<{ ipv6::LENGTH }>()?;
        let segment: &[u8; SEGMENT] = segment.first_chunk()?;
        let room = usize::from(u16::from_be_bytes([ip[4], ip[5]]));
        let addresses = [8, 16, 24, 32].map(|at| word(ip, at));
        // ::/64 holds the mapped IPv4 addresses, which mean another message.
        if addresses[0] == 0 || addresses[2] == 0 {
            return None;
        }
        let kind = kind(syn, segment, ipv6::LENGTH + room, room, profile, false)?;
        let (recipe, tail, tsval) = self.recipe(kind, segment, profile)?;
        let [a, b, c, d] = addresses;
        let lane = self.v6.push(key, &[a, b, c, d, numbers(segment), tail])?;
        self.wait(Waiting {
            lane: lane as u8,
            recipe,
            l3: syn.l3,
            v4: false,
            tsval,
        })
    }

    #[inline(always)]
    fn wait(&mut self, waiting: Waiting) -> Option<Ticket> {
        let ticket = self.count;
        *self.waiting.get_mut(ticket)? = waiting;
        self.count = ticket + 1;
        Some(Ticket(ticket as u8))
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
        let mut place = kind.place(&area) % BATCH;
        if !self.recipes[place].is_for(&kind, &area) {
            place = self.new_recipe(place, kind, &area, profile);
        }
        self.used[place] = self.batch;
        let recipe = &self.recipes[place];
        let tsval = match recipe.tsval_at {
            Some(at) => {
                let at = tcp::LENGTH + usize::from(at);
                let bytes = segment.get(at..at + 4)?.first_chunk()?;
                u32::from_ne_bytes(*bytes)
            }
            None => 0,
        };
        Some((place as u8, recipe.tail, tsval))
    }

    /// Makes a recipe, at a place of its own if another SYN of this batch needs the one that is there.
    #[cold]
    #[inline(never)]
    fn new_recipe(&mut self, place: usize, kind: Kind, area: &Area, profile: &Profile) -> usize {
        let place = if self.used[place % BATCH] == self.batch {
            BATCH + self.count % BATCH
        } else {
            place % BATCH
        };
        self.recipes[place] = Recipe::new(kind, area, profile);
        place
    }

    /// Makes the cookies of all SYNs that wait.
    #[inline]
    pub fn make(&mut self) {
        self.lanes.hash(&mut self.v4);
        self.lanes.hash(&mut self.v6);
    }

    /// Writes the SYN-ACK over the SYN that waited, at the start of its room: the answer's length in bytes,
    /// or nothing if the room is too small.
    #[inline]
    pub fn write(&self, ticket: Ticket, room: &mut [u8]) -> Option<usize> {
        let waiting = &self.waiting[usize::from(ticket.0) % BATCH];
        let recipe = &self.recipes[usize::from(waiting.recipe) % (2 * BATCH)];
        let (l3, lane) = (usize::from(waiting.l3), usize::from(waiting.lane));
        turn_around(room.first_chunk_mut()?);
        let packet = room.get_mut(l3..)?;
        if waiting.v4 {
            let packet: &mut [u8; V4] = packet.first_chunk_mut()?;
            let [addresses, numbers, _] = self.v4.words(lane);
            packet.copy_from_slice(recipe.template.first_chunk::<V4>()?);
            let (ip, tcp) = packet.split_first_chunk_mut::<{ ipv4::LENGTH }>()?;
            let sum = pair(addresses);
            set(ip, 12, addresses.rotate_left(32));
            let checksum = sum.update([ip[10], ip[11]]);
            ip[10..12].copy_from_slice(&checksum);
            let mac = self.v4.hash(lane);
            number(
                recipe,
                waiting,
                self.epoch,
                numbers,
                mac,
                sum,
                tcp.first_chunk_mut()?,
            );
        } else {
            let packet: &mut [u8; V6] = packet.first_chunk_mut()?;
            let [a, b, c, d, numbers, _] = self.v6.words(lane);
            packet.copy_from_slice(recipe.template.first_chunk::<V6>()?);
            let (ip, tcp) = packet.split_first_chunk_mut::<{ ipv6::LENGTH }>()?;
            let mut sum = Sum(0);
            for (at, word) in [(24, a), (32, b), (8, c), (16, d)] {
                set(ip, at, word);
                sum = Sum(sum.0 + pair(word).0);
            }
            let mac = self.v6.hash(lane);
            number(
                recipe,
                waiting,
                self.epoch,
                numbers,
                mac,
                sum,
                tcp.first_chunk_mut()?,
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

/// The kind of a SYN whose packet has `total` bytes and whose segment `room`; nothing if the lengths
/// contradict each other or there are too many options.
#[inline(always)]
fn kind(
    syn: &Syn<'_>,
    segment: &[u8; SEGMENT],
    total: usize,
    room: usize,
    profile: &Profile,
    v4: bool,
) -> Option<Kind> {
    let header = usize::from(segment[12] >> 4) * 4;
    let options = header.wrapping_sub(tcp::LENGTH);
    // No short-circuit: one branch.
    let sound =
        (options <= LONGEST) & (header <= room) & (usize::from(syn.l3) + total <= syn.length);
    sound.then(|| Kind::new(profile, v4, segment[13], options as u8))
}

/// Puts numbers, ports and timestamps into the TCP header and options of an answer; `sum` is that of both
/// addresses.
#[inline(always)]
fn number(
    recipe: &Recipe,
    waiting: &Waiting,
    epoch: u64,
    numbers: u64,
    mac: u64,
    sum: Sum,
    segment: &mut [u8; ANSWER],
) {
    let isn = (numbers >> 32) as u32;
    let cookie = recipe.terms.sign(mac, epoch, isn);
    let ports = (numbers as u32).rotate_left(16);
    let first = u64::from(ports) | u64::from(cookie.isn.swap_bytes()) << 32;
    let acknowledgement = isn.wrapping_add(1).swap_bytes();
    set(segment, 0, first);
    segment[8..12].copy_from_slice(&acknowledgement.to_le_bytes());
    let mut sum = Sum(sum.0 + pair(first).0 + u64::from(acknowledgement));
    if recipe.tsval_at.is_some() {
        let times = u64::from(cookie.tsval.swap_bytes()) | u64::from(waiting.tsval) << 32;
        set(segment, 28, times);
        sum = Sum(sum.0 + pair(times).0);
    }
    let checksum = sum.update([segment[16], segment[17]]);
    segment[16..18].copy_from_slice(&checksum);
}

/// Sends a frame back where it came from: its first six bytes and the next six change places.
#[inline(always)]
fn turn_around(stations: &mut [u8; 12]) {
    let low = word(stations, 0);
    let high = u32::from_le_bytes([stations[8], stations[9], stations[10], stations[11]]);
    set(stations, 0, low >> 48 | u64::from(high) << 16 | low << 48);
    stations[8..].copy_from_slice(&((low >> 16) as u32).to_le_bytes());
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
                    let syn = Syn {
                        room,
                        length,
                        l3,
                        l4,
                    };
                    asked.push((answers.ask(syn, &key, &profile), room_length));
                }
                answers.make();
                for ((room, (asked, end)), expected) in rooms.iter_mut().zip(asked).zip(expected) {
                    let length = match asked {
                        Some(Asked::Waiting(ticket)) => answers.write(ticket, &mut room[..end]),
                        Some(Asked::Answered(length)) => {
                            alone += 1;
                            Some(length)
                        }
                        None => None,
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
