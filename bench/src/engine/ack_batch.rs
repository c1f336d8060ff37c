//! Verifies ACKs with cookies in batches.
//!
//! The XDP program verifies each ACK before it wakes a worker, so no worker needs this code. It is what a worker
//! would do if the XDP program redirected unverified ACKs, and `bench engine` measures its cost.

use synward::engine::Received;
use synward::engine::cookie_message::{ports_and_sequence, read_word};
use synward::siphash_simd::{HashBackend, Messages};
use synward_core::client_options::ClientOptions;
use synward_core::cookie::{AckFields, Age, Key, TAIL_BYTES};
use synward_core::wire::tcp_options::{Options, padded_timestamps};
use synward_core::wire::{ipv4, ipv6, tcp};

/// Maximum number of ACKs in a batch.
pub(super) const BATCH: usize = 64;

/// A service's keys of the epochs that an ACK can name, relative to the current epoch: the two before it,
/// the current one, the next.
pub(super) type Keys = [Key; 4];

/// The result of verifying an ACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AckCheck {
    /// The cookie is valid, for a client with these options.
    Valid(ClientOptions),
    /// The cookie has expired.
    Expired,
    /// The cookie is invalid.
    Invalid,
}

/// Verifies batches of ACKs, one batch at a time.
#[derive(Debug)]
pub(super) struct AckBatch {
    backend: HashBackend,
    epoch: u64,
    v4: Messages<3>,
    v6: Messages<6>,
    /// The acknowledged numbers of the ACK in each lane.
    v4_fields: [CookieFields; BATCH],
    v6_fields: [CookieFields; BATCH],
    /// Results of ACKs that the batch code does not handle.
    checked: [AckCheck; BATCH],
    checked_count: usize,
}

/// An ACK of the batch: its lane, or its index among those verified at once, and flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(u32);

/// Set in tickets, above the lane.
mod known {
    pub(super) const V6: u32 = 1 << 8;
    pub(super) const TIMESTAMPS: u32 = 1 << 9;
    pub(super) const EXPIRED: u32 = 1 << 10;
    pub(super) const CHECKED: u32 = 1 << 11;
}

/// The fields of an ACK that its cookie depends on, without the client's ISN: that is in the message.
#[derive(Clone, Copy, Debug, Default)]
struct CookieFields {
    /// Our ISN minus the client's.
    layout: u32,
    /// TSecr, if there are timestamps.
    tsecr: u32,
}

impl CookieFields {
    #[inline(always)]
    fn with_zero_isn(self, timestamps: bool) -> AckFields {
        AckFields {
            client_isn: 0,
            isn: self.layout,
            tsecr: timestamps.then_some(self.tsecr),
        }
    }
}

impl AckBatch {
    /// Creates an empty batch.
    pub(super) fn new(backend: HashBackend) -> Self {
        Self {
            backend,
            epoch: 0,
            v4: Messages::default(),
            v6: Messages::default(),
            v4_fields: [CookieFields::default(); BATCH],
            v6_fields: [CookieFields::default(); BATCH],
            checked: [AckCheck::Invalid; BATCH],
            checked_count: 0,
        }
    }

    /// Begins a batch, received in `epoch`.
    #[inline]
    pub(super) fn begin(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.checked_count = 0;
        self.v4.clear();
        self.v6.clear();
    }

    /// Adds an ACK with its IP header at `l3` and its TCP header at `l4`. Returns `None` if it is not a well-formed
    /// segment, or the batch is full.
    #[inline(always)]
    pub(super) fn push(&mut self, frame: &[u8], l3: u8, l4: u8, keys: &Keys) -> Option<Ticket> {
        match self.push_common(frame, l3, l4, keys) {
            Some(ticket) => Some(ticket),
            None => self.check_single_at_once(frame, l3, l4, keys),
        }
    }

    #[cold]
    #[inline(never)]
    fn check_single_at_once(
        &mut self,
        frame: &[u8],
        l3: u8,
        l4: u8,
        keys: &Keys,
    ) -> Option<Ticket> {
        let place = self.checked_count;
        let room = self.checked.get_mut(place)?;
        *room = check_single(frame, l3.into(), l4.into(), self.epoch, keys)?;
        self.checked_count = place + 1;
        Some(Ticket(place as u32 | known::CHECKED))
    }

    #[inline(always)]
    fn push_common(&mut self, frame: &[u8], l3: u8, l4: u8, keys: &Keys) -> Option<Ticket> {
        let packet = frame.get(usize::from(l3)..)?;
        let (start, rest) = packet.split_first_chunk::<{ ipv4::LENGTH }>()?;
        let (first, ip_length) = (start[0] >> 4, l4.wrapping_sub(l3));
        if first == 4 && usize::from(ip_length) == ipv4::LENGTH {
            let total = usize::from(u16::from_be_bytes([start[2], start[3]]));
            // A length below that of a header wraps to more than there is.
            let segment = rest.get(..total.wrapping_sub(ipv4::LENGTH))?;
            let ack = AckSegment::read(segment)?;
            let tail = ack.tail | u64::from(16 + TAIL_BYTES) << 56;
            let (key, expired) = key_of(ack.fields, self.epoch, keys);
            let message = [read_word(start, 12), ack.numbers(), tail];
            let lane = self.v4.push(key, &message)?;
            self.v4_fields[lane % BATCH] = ack.fields;
            return Some(Ticket(lane as u32 | ack.known | expired));
        }
        if first == 6 && usize::from(ip_length) == ipv6::LENGTH {
            let (ip, rest) = packet.split_first_chunk::<{ ipv6::LENGTH }>()?;
            let segment = rest.get(..usize::from(u16::from_be_bytes([ip[4], ip[5]])))?;
            let [a, b, c, d] = [8, 16, 24, 32].map(|at| read_word(ip, at));
            // ::/64 contains the mapped IPv4 addresses, whose cookie message has another layout.
            if a == 0 || c == 0 {
                return None;
            }
            let ack = AckSegment::read(segment)?;
            let tail = ack.tail | u64::from(40 + TAIL_BYTES) << 56;
            let (key, expired) = key_of(ack.fields, self.epoch, keys);
            let lane = self.v6.push(key, &[a, b, c, d, ack.numbers(), tail])?;
            self.v6_fields[lane % BATCH] = ack.fields;
            return Some(Ticket(lane as u32 | ack.known | expired | known::V6));
        }
        None
    }

    /// Computes the hashes of all ACKs.
    #[inline]
    pub(super) fn hash_all(&mut self) {
        self.backend.hash_all(&mut self.v4);
        self.backend.hash_all(&mut self.v6);
    }

    /// The result of verifying an ACK.
    #[inline(always)]
    pub(super) fn check(&self, ticket: Ticket) -> AckCheck {
        let Ticket(known) = ticket;
        let lane = known as usize % BATCH;
        if known & known::CHECKED != 0 {
            return self.checked[lane];
        }
        let age = if known & known::EXPIRED != 0 {
            Age::Expired
        } else {
            Age::Fresh
        };
        let timestamps = known & known::TIMESTAMPS != 0;
        let options = if known & known::V6 == 0 {
            let fields = self.v4_fields[lane].with_zero_isn(timestamps);
            fields.check_mac(self.v4.hash(lane), true)
        } else {
            let fields = self.v6_fields[lane].with_zero_isn(timestamps);
            fields.check_mac(self.v6.hash(lane), false)
        };
        AckCheck::of(options, age)
    }
}

impl AckCheck {
    #[inline(always)]
    fn of(options: Option<ClientOptions>, age: Age) -> Self {
        match (options, age) {
            (None, _) => Self::Invalid,
            (Some(_), Age::Expired) => Self::Expired,
            (Some(options), Age::Fresh) => Self::Valid(options),
        }
    }
}

/// Verifies a single ACK, as the XDP program does. Returns `None` if it is not a well-formed segment.
pub(super) fn check_single(
    frame: &[u8],
    l3: usize,
    l4: usize,
    epoch: u64,
    keys: &Keys,
) -> Option<AckCheck> {
    let segment = Received::read(frame, l3, l4)?;
    let fields = AckFields {
        client_isn: segment.sequence.wrapping_sub(1),
        isn: segment.acknowledgement.wrapping_sub(1),
        tsecr: segment.options.timestamps().map(|(_, tsecr)| tsecr),
    };
    let (key, age) = key(&fields, epoch, keys);
    Some(AckCheck::of(
        fields.check(key, &segment.sent_by_client()),
        age,
    ))
}

/// The fields of a segment that verification needs.
struct AckSegment<'a> {
    header: &'a [u8; tcp::LENGTH],
    fields: CookieFields,
    /// Whether it has timestamps, as a ticket flag.
    known: u32,
    /// The last word of the cookie message, without the length.
    tail: u64,
}

impl<'a> AckSegment<'a> {
    #[inline(always)]
    fn read(segment: &'a [u8]) -> Option<Self> {
        let (header, _) = segment.split_first_chunk::<{ tcp::LENGTH }>()?;
        let options = segment.get(tcp::LENGTH..tcp::Tcp(header).header_length())?;
        // Separate calls, so that none tests again whether there are timestamps.
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
        let fields = CookieFields { layout, tsecr };
        Self {
            header,
            fields,
            known: if timestamps { known::TIMESTAMPS } else { 0 },
            tail: fields
                .with_zero_isn(timestamps)
                .encoded_options()
                .message_tail(),
        }
    }

    /// Ports and ISN of the SYN that this ACK follows.
    #[inline(always)]
    fn numbers(&self) -> u64 {
        let numbers = ports_and_sequence(self.header);
        numbers & 0xffff_ffff | u64::from(((numbers >> 32) as u32).wrapping_sub(1)) << 32
    }
}

/// TSecr in options other than the usual ones.
#[cold]
#[inline(never)]
fn walked(options: &[u8]) -> Option<u32> {
    Options::of(options).timestamps().map(|(_, tsecr)| tsecr)
}

/// The key of the epoch that an ACK names.
#[inline(always)]
fn key<'a>(fields: &AckFields, epoch: u64, keys: &'a Keys) -> (&'a Key, Age) {
    let (named, age) = fields.cookie_epoch(epoch);
    let since = named.wrapping_sub(epoch).wrapping_add(2);
    (&keys[since as usize % keys.len()], age)
}

/// The same without branches, and whether the cookie has expired, as a ticket flag.
#[inline(always)]
fn key_of(fields: CookieFields, epoch: u64, keys: &Keys) -> (&Key, u32) {
    let since = (fields.layout >> 30)
        .wrapping_sub(epoch as u32)
        .wrapping_add(2);
    let since = since as usize % keys.len();
    let expired = if since == 0 { known::EXPIRED } else { 0 };
    (&keys[since], expired)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests;
