//! Which opening or segment is displaced when there is no room.
//!
//! The biggest holder is sought among a few random openings. One that holds half of the room is missed once in 2^16 times, and
//! nobody can predict the choice.

use super::{Held, OpeningShares, ShareLimits};

/// Random openings among which the biggest holder is sought.
const SAMPLES: usize = 16;
/// The same where only those of one server count.
const SAMPLES_OF_SERVER: usize = 64;
/// A silent server has this part of `openings_per_server`.
const SILENT_PART: u32 = 8;

/// Why an opening is displaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its source has its maximum.
    SourceLimit,
    /// Its server has its maximum.
    ServerLimit,
    /// The worker has its maximum.
    Full,
}

/// An opening that is displaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Victim {
    /// The number of the opening.
    pub id: u32,
    /// Why.
    pub reason: Reason,
}

/// What the holders of an opening have, the widest first; compared in this order.
type Rank = [u32; 4];

impl OpeningShares {
    /// The opening that the one just added as `id` displaces, if there is no room; `id` itself if its own holder is the
    /// biggest.
    pub fn victim(&mut self, now: u64, id: u32, limits: ShareLimits) -> Option<Victim> {
        let source = self.opening(id)?.source;
        if self.sources.get(&source)?.held.openings > limits.per_source {
            return Some(Victim {
                id,
                reason: Reason::SourceLimit,
            });
        }
        let server = self.servers.get(&source.server)?;
        let limit = if server.is_silent(now) {
            limits.per_server.div_ceil(SILENT_PART)
        } else {
            limits.per_server
        };
        let (of_server, samples, reason) = if server.held.openings > limit {
            (true, SAMPLES_OF_SERVER, Reason::ServerLimit)
        } else if self.used as usize == self.openings.len() {
            (false, SAMPLES, Reason::Full)
        } else {
            return None;
        };
        let mut biggest = (self.rank(id, |held| held.openings), id);
        for _ in 0..samples {
            let other = self.next_random() as usize % self.openings.len();
            let holders = self.openings[other];
            if !holders.used || of_server && holders.source.server != source.server {
                continue;
            }
            let rank = self.rank(other as u32, |held| held.openings);
            if rank > biggest.0
                && let Some(share) = self.sources.get(&holders.source)
            {
                biggest = (rank, share.youngest);
            }
        }
        Some(Victim {
            id: biggest.1,
            reason,
        })
    }

    /// The opening that loses a segment to one of `id`, which is counted already; `id` itself if its own holder is the
    /// biggest. `sample` gives the opening of a segment, by a random number.
    pub fn victim_of_segment(&mut self, id: u32, sample: impl Fn(u64) -> u32) -> u32 {
        let mut biggest = (self.rank(id, |held| held.segments), id);
        for _ in 0..SAMPLES {
            let other = sample(self.next_random());
            let rank = self.rank(other, |held| held.segments);
            if rank > biggest.0 {
                biggest = (rank, other);
            }
        }
        biggest.1
    }

    fn rank(&self, id: u32, of: fn(&Held) -> u32) -> Rank {
        let Some(opening) = self.opening(id) else {
            return Rank::default();
        };
        let server = self
            .servers
            .get(&opening.source.server)
            .map_or(0, |server| of(&server.held));
        let source = self
            .sources
            .get(&opening.source)
            .map_or(0, |source| of(&source.held));
        let group = match self.silent.get(usize::from(opening.service)) {
            Some(group) if opening.silent => of(group),
            _ => server,
        };
        [group, server, source, opening.segments]
    }

    /// xorshift64 (Marsaglia 2003).
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}
