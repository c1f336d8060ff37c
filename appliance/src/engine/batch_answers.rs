//! Answers SYNs in batches: read all SYNs, compute all cookies, write all SYN-ACKs.
//!
//! The output is byte-identical to that of [`single_answer::answer_in_place`], which also answers the SYNs
//! that the batch code does not handle.

use synward_core::cookie::Key;
use synward_core::layout::Profile;
use synward_core::wire::{ethernet, ipv4, ipv6, tcp};

use super::cookie_message::{ports_and_sequence, read_word, sum_words, write_word};
use super::single_answer;
use super::template::{ANSWER, Area, FIXED, Kind, LONGEST, Template};
use crate::siphash_simd::{HashBackend, Messages};

/// Maximum number of SYNs in a batch.
pub const BATCH: usize = 64;

/// Answers batches of SYNs, one batch at a time.
#[derive(Debug)]
pub struct BatchAnswers {
    backend: HashBackend,
    epoch: u64,
    /// The epoch bits of our ISN.
    epoch_bits: u32,
    v4: Messages<3>,
    v6: Messages<6>,
    /// The first half is indexed by a hash of the options. The second half has one slot per SYN of the batch,
    /// for SYNs whose slot in the first half is in use by the same batch.
    templates: Box<[Template; 2 * BATCH]>,
    /// The last batch that used each template, and the number of the current batch.
    used: [u32; 2 * BATCH],
    batch: u32,
}

/// The position of a SYN in its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Length of the frame in bytes.
    pub length: usize,
    /// Offset of the IP header.
    pub l3: u8,
    /// Offset of the TCP header.
    pub l4: u8,
}

/// The result of pushing a SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queued {
    /// The SYN-ACK can be written once the cookies are computed.
    Waiting(Ticket),
    /// The SYN was answered at once; the length of the SYN-ACK in bytes.
    Answered(u32),
    /// The frame is not a well-formed segment.
    Refused,
}

/// What the batch knows about a waiting SYN: lane, template and offset of the IP header. One word, so that
/// it is passed in a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u32);

/// Set in tickets of IPv6 SYNs.
const V6: u32 = 1 << 24;

impl BatchAnswers {
    /// Creates an empty batch.
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

    /// Begins a batch with cookies of `epoch`.
    #[inline]
    pub fn begin(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.epoch_bits = (epoch as u32) << 30;
        self.batch = self.batch.wrapping_add(1);
        self.v4.clear();
        self.v6.clear();
    }

    /// Adds the SYN at the start of `room`. `room` extends beyond the SYN, because a SYN-ACK can be longer.
    /// `key` is the service's key for the epoch. SYNs beyond the 64th of a batch are answered at once.
    #[inline]
    pub fn push(&mut self, room: &mut [u8], at: Place, key: &Key, profile: &Profile) -> Queued {
        match self.push_common(room, at, key, profile) {
            Some(ticket) => Queued::Waiting(ticket),
            None => self.answer_single(room, at.length, at.l3, at.l4, key, profile),
        }
    }

    /// Takes the SYN's position in registers, so that the common path does not spill it to memory for this call.
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
            // ::/64 contains the mapped IPv4 addresses, whose cookie message has another layout.
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

    /// Finds the template for a segment, or creates one. Returns its index and the tail of the cookie message.
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
        if !self.templates[place].matches(&kind, &area) {
            place = self.new_template(place, segment, profile, kind) % (2 * BATCH);
        }
        self.used[place] = self.batch;
        Some((place as u32, self.templates[place].tail))
    }

    /// Creates a template. If another SYN of this batch uses the template in its slot, it goes to the second half.
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

    /// Computes the cookies of all waiting SYNs.
    #[inline]
    pub fn make_cookies(&mut self) {
        self.backend.hash_all(&mut self.v4);
        self.backend.hash_all(&mut self.v6);
    }

    /// Overwrites the waiting SYN at the start of `room` with its SYN-ACK. Returns the length of the SYN-ACK in
    /// bytes, or `None` if the room is too small.
    #[inline(always)]
    pub fn write(&self, ticket: Ticket, room: &mut [u8]) -> Option<usize> {
        let lane = (ticket.0 & 0xff) as usize;
        let template = &self.templates[(ticket.0 >> 8) as usize % (2 * BATCH)];
        let l3 = (ticket.0 >> 16 & 0xff) as usize;
        let l4 = l3 + usize::from(template.ip_length);
        // Check both ends of the room before writing the first byte.
        let segment: &[u8; SEGMENT] = room.get(l4..)?.first_chunk()?;
        let tsval = raw(segment, tcp::LENGTH + usize::from(template.tsval_at))?;
        swap_mac_addresses(room.first_chunk_mut()?);
        let packet = room.get_mut(l3..)?;
        let (hash, numbers, addresses) = if ticket.0 & V6 == 0 {
            let ip: &mut [u8; ipv4::LENGTH] = packet.first_chunk_mut()?;
            let [addresses, numbers, _] = self.v4.words(lane);
            let checksum = u16::from_le_bytes(sum_words(template.ip_sum.0, [addresses]).checksum());
            write_word(ip, 0, template.ip[0]);
            // Swap source and destination address.
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

    /// Writes TCP header and options of a SYN-ACK, each byte once. `addresses` is the contribution of both
    /// addresses to the checksum.
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

/// Length of the TCP header and the options that a template compares.
const SEGMENT: usize = tcp::LENGTH + LONGEST;

/// Whether the TCP header of a SYN is long enough and lies within its packet of `total` bytes, the options are
/// at most [`LONGEST`] bytes, and the packet lies within its frame.
#[inline(always)]
fn is_sound(kind: Kind, ip: usize, total: usize, l3: usize, length: usize) -> bool {
    let header = kind.header();
    let options = header.wrapping_sub(tcp::LENGTH);
    (options <= LONGEST) & (ip + header <= total) & (l3 + total <= length)
}

/// Swaps source and destination MAC address.
#[inline(always)]
fn swap_mac_addresses(header: &mut [u8; ethernet::LENGTH]) {
    const ADDRESS: u64 = 0xffff_ffff_ffff;
    let (to, from) = (read_word(header, 0), read_word(header, 6));
    write_word(header, 0, from);
    write_word(header, 6, to & ADDRESS | from & !ADDRESS);
}

/// The options of a segment.
#[inline(always)]
fn area(segment: &[u8; SEGMENT]) -> Area {
    [20, 28, 36].map(|at| read_word(segment, at))
}

/// Reads four bytes of a segment as a little-endian number.
#[inline(always)]
fn raw(segment: &[u8; SEGMENT], at: usize) -> Option<u32> {
    let bytes = segment.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests;
