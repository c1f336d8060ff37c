//! ACKs with cookies, judged a batch at a time.
//!
//! The XDP program judges each ACK before it wakes a worker, so no worker needs this: it is what an
//! appliance would do whose XDP program hands ACKs on unjudged, and `bench engine` tells what that costs.

use synward_core::client_options::ClientOptions;
use synward_core::cookie::{AckFields, Age, Key, TAIL_BYTES};
use synward_core::wire::tcp_options::{Options, padded_timestamps};
use synward_core::wire::{ipv4, ipv6, tcp};

use super::cookie_message::{ports_and_sequence, read_word};
use super::received::Received;
use crate::siphash_simd::{HashBackend, Messages};

/// ACKs of one batch at most.
pub const BATCH: usize = 64;

/// A service's keys of the epochs that a claim can name, seen from the current one: the two before it,
/// itself, the next.
pub type Keys = [Key; 4];

/// What an ACK proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Its cookie is ours, for a client with these options.
    Valid(ClientOptions),
    /// It was ours, too long ago.
    Expired,
    /// It is none of ours.
    Invalid,
}

/// Judges the ACKs of one batch after the other.
#[derive(Debug)]
pub struct Proofs {
    backend: HashBackend,
    epoch: u64,
    v4: Messages<3>,
    v6: Messages<6>,
    /// What the ACK in each lane claims.
    v4_claims: [Claimed; BATCH],
    v6_claims: [Claimed; BATCH],
    /// What came of ACKs that are unusual.
    judged: [Proof; BATCH],
    judged_count: usize,
}

/// Where an ACK of the batch is: its lane, or its place among those that were judged at once, and what is
/// known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u32);

/// Set in tickets, above the lane.
mod known {
    pub(super) const V6: u32 = 1 << 8;
    pub(super) const TIMESTAMPS: u32 = 1 << 9;
    pub(super) const EXPIRED: u32 = 1 << 10;
    pub(super) const JUDGED: u32 = 1 << 11;
}

/// A claim but for the client's ISN, which the message has: nothing depends on it beside that.
#[derive(Clone, Copy, Debug, Default)]
struct Claimed {
    /// Our ISN minus the client's.
    layout: u32,
    /// TSecr, if there are timestamps.
    tsecr: u32,
}

impl Claimed {
    #[inline(always)]
    fn claim(self, timestamps: bool) -> AckFields {
        AckFields {
            client_isn: 0,
            isn: self.layout,
            tsecr: timestamps.then_some(self.tsecr),
        }
    }
}

impl Proofs {
    /// No ACKs yet.
    pub fn new(backend: HashBackend) -> Self {
        Self {
            backend,
            epoch: 0,
            v4: Messages::default(),
            v6: Messages::default(),
            v4_claims: [Claimed::default(); BATCH],
            v6_claims: [Claimed::default(); BATCH],
            judged: [Proof::Invalid; BATCH],
            judged_count: 0,
        }
    }

    /// Begins a batch, received in `epoch`.
    #[inline]
    pub fn begin(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.judged_count = 0;
        self.v4.clear();
        self.v6.clear();
    }

    /// Takes an ACK with its IP header at `l3` and its TCP header at `l4`. Nothing if it is no sound
    /// segment, or the batch is full.
    #[inline(always)]
    pub fn push(&mut self, frame: &[u8], l3: u8, l4: u8, keys: &Keys) -> Option<Ticket> {
        match self.push_common(frame, l3, l4, keys) {
            Some(ticket) => Some(ticket),
            None => self.judge_alone(frame, l3, l4, keys),
        }
    }

    #[cold]
    #[inline(never)]
    fn judge_alone(&mut self, frame: &[u8], l3: u8, l4: u8, keys: &Keys) -> Option<Ticket> {
        let place = self.judged_count;
        let room = self.judged.get_mut(place)?;
        *room = judge(frame, l3.into(), l4.into(), self.epoch, keys)?;
        self.judged_count = place + 1;
        Some(Ticket(place as u32 | known::JUDGED))
    }

    #[inline(always)]
    fn push_common(&mut self, frame: &[u8], l3: u8, l4: u8, keys: &Keys) -> Option<Ticket> {
        let packet = frame.get(usize::from(l3)..)?;
        let (start, rest) = packet.split_first_chunk::<{ ipv4::LENGTH }>()?;
        let (first, ip_length) = (start[0] >> 4, l4.wrapping_sub(l3));
        if first == 4 && usize::from(ip_length) == ipv4::LENGTH {
            let total = usize::from(u16::from_be_bytes([start[2], start[3]]));
            // Less than a header becomes more than there is.
            let segment = rest.get(..total.wrapping_sub(ipv4::LENGTH))?;
            let asked = Asked::read(segment)?;
            let tail = asked.tail | u64::from(16 + TAIL_BYTES) << 56;
            let (key, expired) = key_of(asked.claimed, self.epoch, keys);
            let message = [read_word(start, 12), asked.numbers(), tail];
            let lane = self.v4.push(key, &message)?;
            self.v4_claims[lane % BATCH] = asked.claimed;
            return Some(Ticket(lane as u32 | asked.known | expired));
        }
        if first == 6 && usize::from(ip_length) == ipv6::LENGTH {
            let (ip, rest) = packet.split_first_chunk::<{ ipv6::LENGTH }>()?;
            let segment = rest.get(..usize::from(u16::from_be_bytes([ip[4], ip[5]])))?;
            let [a, b, c, d] = [8, 16, 24, 32].map(|at| read_word(ip, at));
            // ::/64 holds the mapped IPv4 addresses, which mean another message.
            if a == 0 || c == 0 {
                return None;
            }
            let asked = Asked::read(segment)?;
            let tail = asked.tail | u64::from(40 + TAIL_BYTES) << 56;
            let (key, expired) = key_of(asked.claimed, self.epoch, keys);
            let lane = self.v6.push(key, &[a, b, c, d, asked.numbers(), tail])?;
            self.v6_claims[lane % BATCH] = asked.claimed;
            return Some(Ticket(lane as u32 | asked.known | expired | known::V6));
        }
        None
    }

    /// Hashes for all ACKs that were taken.
    #[inline]
    pub fn hash_all(&mut self) {
        self.backend.hash_all(&mut self.v4);
        self.backend.hash_all(&mut self.v6);
    }

    /// What an ACK proves.
    #[inline(always)]
    pub fn proof(&self, ticket: Ticket) -> Proof {
        let Ticket(known) = ticket;
        let lane = known as usize % BATCH;
        if known & known::JUDGED != 0 {
            return self.judged[lane];
        }
        let age = if known & known::EXPIRED != 0 {
            Age::Expired
        } else {
            Age::Fresh
        };
        let timestamps = known & known::TIMESTAMPS != 0;
        let options = if known & known::V6 == 0 {
            let claim = self.v4_claims[lane].claim(timestamps);
            claim.check_mac(self.v4.hash(lane), true)
        } else {
            let claim = self.v6_claims[lane].claim(timestamps);
            claim.check_mac(self.v6.hash(lane), false)
        };
        Proof::of(options, age)
    }
}

impl Proof {
    #[inline(always)]
    fn of(options: Option<ClientOptions>, age: Age) -> Self {
        match (options, age) {
            (None, _) => Self::Invalid,
            (Some(_), Age::Expired) => Self::Expired,
            (Some(options), Age::Fresh) => Self::Valid(options),
        }
    }
}

/// Judges one ACK alone, as the XDP program does. Nothing if it is no sound segment.
pub fn judge(frame: &[u8], l3: usize, l4: usize, epoch: u64, keys: &Keys) -> Option<Proof> {
    let segment = Received::read(frame, l3, l4)?;
    let claim = AckFields {
        client_isn: segment.sequence.wrapping_sub(1),
        isn: segment.acknowledgement.wrapping_sub(1),
        tsecr: segment.options.timestamps().map(|(_, tsecr)| tsecr),
    };
    let (key, age) = key(&claim, epoch, keys);
    Some(Proof::of(claim.check(key, &segment.sent_by_client()), age))
}

/// What is read of a whole segment.
struct Asked<'a> {
    header: &'a [u8; tcp::LENGTH],
    claimed: Claimed,
    /// Whether it has timestamps, as in a ticket.
    known: u32,
    /// The last word of the cookie's message, without the length.
    tail: u64,
}

impl<'a> Asked<'a> {
    #[inline(always)]
    fn read(segment: &'a [u8]) -> Option<Self> {
        let (header, _) = segment.split_first_chunk::<{ tcp::LENGTH }>()?;
        let options = segment.get(tcp::LENGTH..tcp::Tcp(header).header_length())?;
        // Each way for itself, so that none asks again whether there are timestamps.
        if options.is_empty() {
            return Some(Self::plain(header));
        }
        if let Some((_, tsecr)) = options.as_array::<12>().and_then(padded_timestamps) {
            return Some(Self::with_timestamps(header, tsecr));
        }
        Some(match walked(options) {
            Some(tsecr) => Self::with_timestamps(header, tsecr),
            None => Self::plain(header),
        })
    }

    #[inline(always)]
    fn plain(header: &'a [u8; tcp::LENGTH]) -> Self {
        Self::new(header, 0, false)
    }

    #[inline(always)]
    fn with_timestamps(header: &'a [u8; tcp::LENGTH], tsecr: u32) -> Self {
        Self::new(header, tsecr, true)
    }

    #[inline(always)]
    fn new(header: &'a [u8; tcp::LENGTH], tsecr: u32, timestamps: bool) -> Self {
        let tcp = tcp::Tcp(header);
        let layout = tcp.acknowledgement().wrapping_sub(tcp.sequence());
        let claimed = Claimed { layout, tsecr };
        Self {
            header,
            claimed,
            known: if timestamps { known::TIMESTAMPS } else { 0 },
            tail: claimed.claim(timestamps).encoded_options().message_tail(),
        }
    }

    /// Ports and ISN of the SYN that this ACK follows.
    #[inline(always)]
    fn numbers(&self) -> u64 {
        let numbers = ports_and_sequence(self.header);
        numbers & 0xffff_ffff | u64::from(((numbers >> 32) as u32).wrapping_sub(1)) << 32
    }
}

/// TSecr among options that are not the usual ones.
#[cold]
#[inline(never)]
fn walked(options: &[u8]) -> Option<u32> {
    Options::of(options).timestamps().map(|(_, tsecr)| tsecr)
}

/// The key of the epoch that a claim names.
#[inline(always)]
fn key<'a>(claim: &AckFields, epoch: u64, keys: &'a Keys) -> (&'a Key, Age) {
    let (named, age) = claim.cookie_epoch(epoch);
    let since = named.wrapping_sub(epoch).wrapping_add(2);
    (&keys[since as usize % keys.len()], age)
}

/// The same without branches, and whether it has expired, as in a ticket.
#[inline(always)]
fn key_of(claimed: Claimed, epoch: u64, keys: &Keys) -> (&Key, u32) {
    let since = (claimed.layout >> 30)
        .wrapping_sub(epoch as u32)
        .wrapping_add(2);
    let since = since as usize % keys.len();
    let expired = if since == 0 { known::EXPIRED } else { 0 };
    (&keys[since], expired)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;
    use crate::engine::single_answer;
    use synward_core::generated_segment::{HandshakeOptions, Segment, padded_timestamps};
    use synward_core::layout::Profile;
    use synward_core::wire::Address;
    use synward_core::wire::tcp::{Repr, flags};

    const KEYS: Keys = [[1, 2], [3, 4], [5, 6], [7, 8]];

    fn put(room: &mut [u8; 128], v4: bool, tcp: Repr, options: [u32; 5]) -> usize {
        let address = |last| match v4 {
            true => Address::v4(last),
            false => Address([9, last, 9, last]),
        };
        let segment = Segment {
            source: address(u32::from(tcp.source)),
            destination: address(7),
            tcp,
            options,
        };
        14 + segment.emit(&mut room[14..], &[]).unwrap()
    }

    /// The ACK for the answer to a SYN, made in `epoch`.
    fn ack(room: &mut [u8; 128], v4: bool, times: bool, source: u16, epoch: u64) -> usize {
        let (options, words) = HandshakeOptions {
            mss: 1460,
            sack: true,
            times: times.then_some((5, 0)),
            scale: Some(8),
        }
        .words();
        let mut tcp = Repr {
            source,
            destination: 443,
            sequence: u32::from(source) * 70_000,
            acknowledgement: 0,
            flags: flags::SYN,
            window: 1000,
            options: words * 4,
        };
        let length = put(room, v4, tcp, options);
        let l4 = if v4 { 34 } else { 54 };
        let key = &KEYS[(epoch - 98) as usize];
        let profile = Profile::default();
        let end =
            single_answer::answer_in_place(room, length, 14, l4, key, epoch, &profile).unwrap();
        let answer = Received::read(&room[..end], 14, l4).unwrap();
        let tsval = answer.options.timestamps().map(|(tsval, _)| tsval);
        tcp.sequence = tcp.sequence.wrapping_add(1);
        tcp.acknowledgement = answer.sequence.wrapping_add(1);
        tcp.flags = flags::ACK;
        let (options, words) = match tsval {
            Some(tsval) => padded_timestamps(6, tsval),
            None => ([0; 5], 0),
        };
        tcp.options = words * 4;
        put(room, v4, tcp, options)
    }

    /// Good, old and damaged ones: judged as one by one, and by every variant.
    #[test]
    fn a_batch_is_judged_like_the_scalar_code() {
        let rounds = if cfg!(debug_assertions) { 300 } else { 20_000 };
        for backend in HashBackend::available() {
            let mut proofs = Proofs::new(backend);
            let mut seen = [0; 4];
            for round in 0..rounds {
                proofs.begin(100);
                let mut expected = Vec::new();
                for number in 0..BATCH {
                    let mut room = [0u8; 128];
                    let at = round * BATCH + number;
                    let epoch = 98 + at as u64 / 3 % 4;
                    let v4 = at & 1 == 0;
                    let length = ack(&mut room, v4, at & 2 == 0, at as u16, epoch);
                    if at.is_multiple_of(5) {
                        room[14 + at / 5 % (length - 14)] ^= 1 << (at % 8);
                    }
                    let l4 = if v4 { 34 } else { 54 };
                    let alone = judge(&room[..length], 14, l4, 100, &KEYS);
                    let ticket = proofs.push(&room[..length], 14, l4 as u8, &KEYS);
                    assert_eq!(ticket.is_some(), alone.is_some());
                    seen[match alone {
                        Some(Proof::Valid(_)) => 0,
                        Some(Proof::Expired) => 1,
                        Some(Proof::Invalid) => 2,
                        None => 3,
                    }] += 1;
                    expected.extend(ticket.zip(alone));
                }
                proofs.hash_all();
                for (ticket, alone) in expected {
                    assert_eq!(proofs.proof(ticket), alone, "{}", backend.name());
                }
            }
            assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
        }
    }
}
